package gguf

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"headinfer/internal/shorten"
	"headinfer/kernels"
	"headinfer/model/tensor"
)

// entry is a tensor as the file lists it, before its bytes are found.
type entry struct {
	tensor.Tensor
	index  int    // in the file's list
	at     int    // of the listed offset, for errors
	offset uint64 // bytes from the start of the data
	size   int    // bytes
}

func (f *File) readTensors(r *reader, count int) error {
	var entries []entry
	for i := range count {
		r.enter("tensor", i)
		e, err := r.entry()
		if err != nil {
			return err
		}
		if _, twice := f.index[e.Name]; twice {
			return r.damaged(e.at, "the name occurs twice; the file is damaged, or its converter is wrong")
		}
		f.index[e.Name] = i
		e.index = i
		entries = append(entries, e)
	}
	if len(entries) == 0 {
		return nil // and no padding is needed after the metadata
	}
	start := roundUp(uint64(r.at), uint64(r.alignment))
	f.tensors = make([]tensor.Tensor, len(entries))
	for i, e := range entries {
		r.enter("tensor", i)
		r.name = e.Name
		from := start + e.offset
		if end := from + uint64(e.size); from < start || end < from || end > uint64(len(r.data)) {
			return r.pastEnd(e.at, fmt.Sprintf("%s %s, %d bytes at %d + %d,", e.DType, tensor.FormatShape(e.Shape), e.size, start, e.offset))
		}
		e.Data = r.data[from : from+uint64(e.size) : from+uint64(e.size)]
		f.tensors[i] = e.Tensor
	}
	return r.checkOverlap(entries)
}

// entry reads what the file lists of a tensor.
func (r *reader) entry() (entry, error) {
	var e entry
	at := r.at
	name, err := r.text("name")
	if err != nil {
		return e, err
	}
	if len(name) == 0 {
		return e, r.damaged(at, "the name is empty; the file is damaged")
	}
	e.Name = string(name)
	r.name = e.Name
	if e.Shape, err = r.shape(); err != nil {
		return e, err
	}
	at = r.at
	number, err := r.uint32("the encoding")
	if err != nil {
		return e, err
	}
	if e.DType, err = r.encoding(at, number); err != nil {
		return e, err
	}
	if e.size, err = tensor.Size(e.DType, e.Shape); err != nil {
		return e, r.damaged(at, "%v; the file is damaged", err)
	}
	e.at = r.at
	if e.offset, err = r.uint64("the offset"); err != nil {
		return e, err
	}
	if e.offset%uint64(r.alignment) != 0 {
		return e, r.damaged(e.at, "an offset of %d, and it must be a multiple of the file's alignment of %d bytes; the file is damaged", e.offset, r.alignment)
	}
	return e, nil
}

// shape reads the dimensions, which the file has innermost first.
func (r *reader) shape() ([]int, error) {
	at := r.at
	n, err := r.uint32("the number of dimensions")
	if err != nil {
		return nil, err
	}
	if n > maxDims {
		return nil, r.damaged(at, "%d dimensions, and the format has at most %d; the file is damaged", n, maxDims)
	}
	shape := make([]int, n)
	for i := range shape {
		at = r.at
		dim, err := r.uint64("a dimension")
		if err != nil {
			return nil, err
		}
		if dim == 0 || dim > math.MaxInt {
			return nil, r.damaged(at, "dimension %d is %d, and it must be from 1 to %d; the file is damaged", i, dim, math.MaxInt)
		}
		shape[i] = int(dim)
	}
	slices.Reverse(shape)
	return shape, nil
}

func (r *reader) encoding(at int, number uint32) (kernels.DType, error) {
	if d, ok := encodings[number]; ok {
		return d, nil
	}
	if name, ok := otherEncodings[number]; ok {
		return 0, r.unsupported(at, "encoding %s (type %d) is not read, only %s; quantise the model to one of these with llama.cpp's llama-quantize", name, number, supported())
	}
	return 0, r.unsupported(at, "encoding type %d is unknown; what is read is %s", number, supported())
}

// checkOverlap fails if two tensors share a byte.
func (r *reader) checkOverlap(entries []entry) error {
	slices.SortFunc(entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.offset, b.offset), cmp.Compare(a.index, b.index))
	})
	for i := 1; i < len(entries); i++ {
		before, e := entries[i-1], entries[i]
		if before.offset+uint64(before.size) > e.offset {
			r.enter("tensor", e.index)
			r.name = e.Name
			return r.damaged(e.at, "the data begins inside that of tensor %d, %q; the file is damaged", before.index, shorten.Text(before.Name))
		}
	}
	return nil
}
