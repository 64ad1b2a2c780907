package gguf

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
	"strings"

	"headinfer/internal/shorten"
)

// reader walks the bytes before the tensors' data. what and index, key and
// element name the place for errors; they are put together only when one
// happens.
type reader struct {
	file string
	data []byte
	at   int
	// alignment of the tensors' data in bytes, from the metadata.
	alignment uint32

	what    string // "header", "metadata" or "tensor"
	index   int
	name    string // key or tensor name, once it is read
	element int    // of an array, or -1
}

func (r *reader) enter(what string, index int) {
	r.what, r.index, r.name, r.element = what, index, "", -1
}

func (r *reader) place() string {
	if r.what == "" {
		return "header"
	}
	label := "key"
	if r.what == "tensor" {
		label = "name"
	}
	s := fmt.Sprintf("%s %d", r.what, r.index)
	if r.name != "" {
		s += fmt.Sprintf(", %s %q", label, shorten.Text(r.name))
	}
	if r.element >= 0 {
		s += fmt.Sprintf(", element %d", r.element)
	}
	return s
}

func (r *reader) damaged(at int, format string, args ...any) error {
	return &FileError{r.file, at, r.place(), fmt.Sprintf(format, args...), ErrDamaged}
}

func (r *reader) unsupported(at int, format string, args ...any) error {
	return &FileError{r.file, at, r.place(), fmt.Sprintf(format, args...), ErrUnsupported}
}

// maxHead is how many bytes before the tensors' data are read: fifteen times what
// the largest vocabularies take. A file may claim to be far larger than the disk
// it is on.
const maxHead = 256 << 20

func (r *reader) left() int { return min(len(r.data), maxHead) - r.at }

// short is the error of something before the data that begins at a byte and does
// not fit.
func (r *reader) short(at int, what string) error {
	if len(r.data) > maxHead {
		return r.unsupported(at, "%s passes the first %d bytes of the file, and no more are read as metadata and list of tensors; the file is damaged, or holds something else than a model", what, maxHead)
	}
	return r.pastEnd(at, what)
}

// pastEnd is the error of something that the file is too short for.
func (r *reader) pastEnd(at int, what string) error {
	return r.damaged(at, "%s passes the end of the file (%d bytes); the file is cut or damaged", what, len(r.data))
}

// take returns the next n bytes; what names them if they are not there.
func (r *reader) take(n int, what string) ([]byte, error) {
	if n > r.left() {
		return nil, r.short(r.at, what)
	}
	b := r.data[r.at : r.at+n]
	r.at += n
	return b, nil
}

func (r *reader) uint32(what string) (uint32, error) {
	b, err := r.take(4, what)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(b), nil
}

func (r *reader) uint64(what string) (uint64, error) {
	b, err := r.take(8, what)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(b), nil
}

// count reads how many things of at least least bytes each follow.
func (r *reader) count(what string, least int) (int, error) {
	at := r.at
	n, err := r.uint64("the number of " + what)
	if err != nil {
		return 0, err
	}
	high, total := bits.Mul64(n, uint64(least))
	if high != 0 || total > uint64(r.left()) {
		return 0, r.short(at, fmt.Sprintf("a list of %d %s of at least %d bytes each", n, what, least))
	}
	return int(n), nil
}

// text reads a length and that many bytes, which alias the file.
func (r *reader) text(what string) ([]byte, error) {
	// Words are put together on the way out only: a vocabulary comes here a
	// hundred thousand times.
	at := r.at
	if r.left() < leastString {
		return nil, r.short(at, "the length of a "+what)
	}
	n := binary.LittleEndian.Uint64(r.data[at:])
	if n > uint64(r.left()-leastString) {
		return nil, r.short(at, fmt.Sprintf("%s of %d bytes", what, n))
	}
	from := at + leastString
	r.at = from + int(n)
	return r.data[from:r.at], nil
}

// The least bytes that a thing of each kind takes in a file.
const (
	leastString   = 8                       // its length
	leastMetadata = leastString + 1 + 4 + 1 // a key of one byte, a type, a value of one byte
	leastTensor   = leastString + 1 + 4 + 4 + 8
)

type header struct {
	tensors, metadata int // how many of each follow
}

func (r *reader) header() (header, error) {
	r.enter("", 0)
	found := r.data[:min(len(r.data), len(magic))]
	if string(found) != magic {
		if bytes.HasPrefix(r.data, []byte("version https://git-lfs")) {
			return header{}, r.unsupported(0, "this is a Git LFS pointer, not the file it stands for; run git lfs pull where it was cloned")
		}
		if strings.HasPrefix(magic, string(found)) {
			return header{}, r.short(0, "the mark "+magic)
		}
		return header{}, r.unsupported(0, "found %q where a GGUF file has %q; give a .gguf file, or a directory for safetensors", found, magic)
	}
	r.at = len(magic)
	at := r.at
	version, err := r.uint32("the version")
	if err != nil {
		return header{}, err
	}
	switch {
	case version == 2 || version == 3:
	case version == 1:
		return header{}, r.unsupported(at, "GGUF version 1 is not read, only 2 and 3; convert the model again with a llama.cpp of today")
	case version&0xffff == 0 && version != 0:
		return header{}, r.unsupported(at, "a big-endian GGUF file (version %d) is not read, only little-endian; convert it with gguf-py's gguf_convert_endian", bits.ReverseBytes32(version))
	default:
		return header{}, r.unsupported(at, "GGUF version %d is not read, only 2 and 3; convert the model again, or use a newer headinfer", version)
	}
	var h header
	// The tensors come last, so their number is checked against all that is
	// left here, and again, in effect, by each that is read.
	if h.tensors, err = r.count("tensors", leastTensor); err != nil {
		return header{}, err
	}
	h.metadata, err = r.count("metadata entries", leastMetadata)
	return h, err
}
