// Package safetensors reads and writes safetensors, the checkpoint format of
// Hugging Face: a JSON header that names, shapes and places tensors, then their
// bytes.
//
// A checkpoint is one file, or a directory with model.safetensors, or with
// model.safetensors.index.json and the files (shards) that it gives tensors to.
// A Set is any of these. Shapes are outermost dimension first, as in the file:
// a linear layer is [rows, cols].
//
// A matrix in fp8 (F8_E4M3 or F8_E5M2) must come with a tensor of scales, of the
// same name and _scale_inv or _scale at its end: one for all of it, one a row, or
// one for each block of 128 × 128. Its DType is bf16, and its Decode gives what
// frameworks compute with when they decode such weights: byte times scale in
// float32, rounded to bf16.
//
// A Set owns the memory maps of its files. Tensor.Data aliases them, is
// read-only, may begin at any address and is valid until Close. A Set does not
// change after it is made, so any number of goroutines may read it.
//
// A file is not trusted: every length and offset, and every product of
// dimensions, is compared with the bytes that are there. Tensors cover the data
// of their file exactly, without gap or overlap, and no name occurs twice.
// Shards are files beside their index; a name that leads elsewhere is refused,
// but a symbolic link of a proper name is followed, for that is how Hugging
// Face's cache stores a model.
package safetensors

import (
	"errors"
	"fmt"

	"headinfer/model/mapped"
	"headinfer/model/tensor"
)

// What a caller may test for with errors.Is.
var (
	// ErrDamaged is a file that contradicts itself or ends too soon, or an
	// index that contradicts its shards.
	ErrDamaged = errors.New("damaged safetensors checkpoint")
	// ErrUnsupported is a file that may be sound and that this package does
	// not read: another format or element type.
	ErrUnsupported = errors.New("unsupported safetensors checkpoint")
	// ErrNotFound is a directory without a safetensors checkpoint.
	ErrNotFound = errors.New("no safetensors checkpoint")
)

// FileError says what is wrong with a file and where.
type FileError struct {
	File   string // as given to Open or Parse, or the path of the shard or index
	Offset int    // bytes from the start of the file
	Place  string // what is written there, such as `tensor "a.weight"`
	Reason string // what was found, what was expected, and what to change
	Kind   error  // ErrDamaged or ErrUnsupported
}

// Error writes "file: at byte 1234 (place): reason".
func (e *FileError) Error() string {
	return fmt.Sprintf("%s: at byte %d (%s): %s", e.File, e.Offset, e.Place, e.Reason)
}

// Unwrap returns Kind.
func (e *FileError) Unwrap() error { return e.Kind }

// Set is the tensors of a checkpoint, whatever files they are in.
type Set struct {
	name     string
	entries  []entry
	index    map[string]int // into entries
	mappings []*mapped.File // none if made by Parse
}

// Parse reads one file that is in memory already; name stands for it in errors,
// each of which is a *FileError. Tensors alias data.
func Parse(name string, data []byte) (*Set, error) {
	entries, err := parse(name, data)
	if err != nil {
		return nil, err
	}
	s := &Set{name: name, index: map[string]int{}}
	for _, e := range entries {
		s.add(e)
	}
	if err := s.scale(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Set) add(e entry) {
	s.index[e.Name] = len(s.entries)
	s.entries = append(s.entries, e)
}

// Close gives the memory maps back. The tensors' data is invalid afterwards.
func (s *Set) Close() error {
	var err error
	for _, m := range s.mappings {
		err = errors.Join(err, m.Close())
	}
	return err
}

// Name returns the path or name that the set was opened by.
func (s *Set) Name() string { return s.name }

// Tensors returns every tensor, in the order of their bytes within a file, and
// of the files by name.
func (s *Set) Tensors() []tensor.Tensor {
	all := make([]tensor.Tensor, len(s.entries))
	for i, e := range s.entries {
		all[i] = e.Tensor
	}
	return all
}

// Tensor returns the tensor of that name.
func (s *Set) Tensor(name string) (tensor.Tensor, bool) {
	i, ok := s.index[name]
	if !ok {
		return tensor.Tensor{}, false
	}
	return s.entries[i].Tensor, true
}
