package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"headinfer/internal/shorten"
	"headinfer/kernels"
	"headinfer/model/tensor"
)

const (
	lengthBytes = 8           // of the header's length, before the header
	maxHeader   = 100_000_000 // bytes, by the format
	maxDims     = 8           // more than any model has; the format has no limit
	keyMetadata = "__metadata__"
)

var dtypes = map[string]kernels.DType{"F32": kernels.F32, "F16": kernels.F16, "BF16": kernels.BF16}

// entry is a tensor as the header gives it.
type entry struct {
	tensor.Tensor
	fp8      *[256]float32 // what its bytes stand for, if they are fp8
	file     string        // for errors
	at       int           // of the entry's end in the file, for errors
	from, to int           // bytes from the start of the data
}

// wrong is an error of what the header says of the tensor.
func (e *entry) wrong(kind error, format string, args ...any) error {
	return &FileError{e.file, e.at, fmt.Sprintf("tensor %q", shorten.Text(e.Name)), fmt.Sprintf(format, args...), kind}
}

// parse reads one file and returns its tensors in the order of their bytes.
func parse(name string, data []byte) ([]entry, error) {
	length, err := headerLength(name, data)
	if err != nil {
		return nil, err
	}
	start := lengthBytes + length
	doc, err := newDocument(name, lengthBytes, data[lengthBytes:start], "header")
	if err != nil {
		return nil, err
	}
	var entries []entry
	err = doc.object(func(key string) error {
		if key == keyMetadata {
			return doc.metadata()
		}
		doc.place = fmt.Sprintf("tensor %q", shorten.Text(key))
		e, err := doc.entry()
		if err != nil {
			return err
		}
		e.Name = key
		entries = append(entries, e)
		doc.place = "header"
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := doc.end(); err != nil {
		return nil, err
	}
	return place(name, entries, data, start)
}

func headerLength(name string, data []byte) (int, error) {
	fail := func(kind error, format string, args ...any) (int, error) {
		return 0, &FileError{name, 0, "header's length", fmt.Sprintf(format, args...), kind}
	}
	if bytes.HasPrefix(data, []byte("version https://git-lfs")) {
		return fail(ErrUnsupported, "this is a Git LFS pointer, not the file it stands for; run git lfs pull where it was cloned")
	}
	if len(data) < lengthBytes {
		return fail(ErrDamaged, "%d bytes, and the header's length alone takes %d; the file is cut or damaged", len(data), lengthBytes)
	}
	length := binary.LittleEndian.Uint64(data)
	if length > maxHeader {
		return fail(ErrDamaged, "a header of %d bytes, and the format allows %d; this is not a safetensors file, or it is damaged", length, maxHeader)
	}
	if length > uint64(len(data)-lengthBytes) {
		return fail(ErrDamaged, "a header of %d bytes passes the end of the file (%d bytes); the file is cut or damaged", length, len(data))
	}
	return int(length), nil
}

// metadata reads the writer's notes, which are strings and mean nothing here.
func (d *document) metadata() error {
	d.place = keyMetadata
	err := d.object(func(string) error {
		_, err := d.text()
		return err
	})
	if err == nil {
		d.place = "header"
	}
	return err
}

// entry reads what the header says of a tensor. Keys that the format does not
// have are passed over, as its first reader does.
func (d *document) entry() (entry, error) {
	var e entry
	var dtype string
	var offsets []int
	err := d.object(func(key string) error {
		var err error
		switch key {
		case "dtype":
			dtype, err = d.text()
		case "shape":
			e.Shape, err = d.numbers(maxDims)
		case "data_offsets":
			offsets, err = d.numbers(2)
		default:
			err = d.skip()
		}
		return err
	})
	if err != nil {
		return e, err
	}
	switch {
	case dtype == "":
		return e, d.damaged("no dtype; the file is damaged")
	case e.Shape == nil:
		return e, d.damaged("no shape; the file is damaged")
	case len(offsets) != 2 || offsets[0] > offsets[1]:
		return e, d.damaged("data_offsets %v, and they must be where the data begins and where it ends; the file is damaged", offsets)
	}
	e.file, e.at, e.from, e.to = d.file, d.at(), offsets[0], offsets[1]
	var ok bool
	if e.DType, ok = dtypes[dtype]; !ok {
		if e.fp8, ok = fp8Formats[dtype]; !ok {
			return e, &FileError{d.file, d.at(), d.place, fmt.Sprintf("dtype %s is not read, only F32, F16, BF16, F8_E4M3 and F8_E5M2; convert the tensor to one of these", shorten.Text(dtype)), ErrUnsupported}
		}
		e.DType = decodedFP8
	}
	size, err := tensor.Size(e.DType, e.Shape)
	if err != nil {
		return e, d.damaged("%v; the file is damaged", err)
	}
	if e.fp8 != nil {
		size /= decodedFP8.BlockBytes() // one byte an element
	}
	if size != e.to-e.from {
		return e, d.damaged("%s %s takes %d bytes, and data_offsets %v hold %d; the file is damaged", dtype, tensor.FormatShape(e.Shape), size, offsets, e.to-e.from)
	}
	return e, nil
}

// place gives the tensors their bytes, and fails unless together they are
// exactly the bytes after the header.
func place(name string, entries []entry, data []byte, start int) ([]entry, error) {
	slices.SortFunc(entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to), cmp.Compare(a.Name, b.Name))
	})
	body := data[start:]
	end := 0
	for i := range entries {
		e := &entries[i]
		fail := func(format string, args ...any) ([]entry, error) { return nil, e.wrong(ErrDamaged, format, args...) }
		switch {
		case e.from < end:
			return fail("data_offsets [%d %d] overlap the tensor %q, which ends at %d; the file is damaged", e.from, e.to, shorten.Text(entries[i-1].Name), end)
		case e.from > end:
			return fail("data_offsets [%d %d] leave %d bytes before them that are no tensor's; the file is damaged", e.from, e.to, e.from-end)
		case e.to > len(body):
			return fail("data_offsets [%d %d] pass the end of the data (%d bytes after a header of %d); the file is cut or damaged", e.from, e.to, len(body), start)
		}
		e.Data = body[e.from:e.to:e.to]
		end = e.to
	}
	if end != len(body) {
		return nil, &FileError{name, start + end, "end of the data", fmt.Sprintf("%d bytes follow that are no tensor's; the file is damaged", len(body)-end), ErrDamaged}
	}
	return entries, nil
}

// whole returns a token's value if it is a whole number that is not negative and
// fits in an int.
func whole(t json.Token) (int, bool) {
	number, ok := t.(json.Number)
	if !ok {
		return 0, false
	}
	v, err := strconv.Atoi(number.String())
	return v, err == nil && v >= 0
}
