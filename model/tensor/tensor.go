// Package tensor is a named weight of a checkpoint, as both checkpoint readers
// give it.
//
// A shape is written outermost dimension first: a linear layer's weight is
// [rows, cols] = [outputs, inputs], and a row's elements are consecutive in
// Data. Data is little-endian, is owned by whoever made the tensor, is not to
// be written to, and may begin at any address: a reader of whole words must
// allow for that.
package tensor

import (
	"fmt"
	"math/bits"
	"strings"

	"headinfer/kernels"
)

// Tensor is one weight. len(Data) is Size(DType, Shape) in every tensor that a
// checkpoint reader returns, but for those with Decode. An empty Shape is a
// single element.
type Tensor struct {
	Name  string
	DType kernels.DType
	Shape []int
	Data  []byte
	// Decode, if set, makes the elements, and Data is only what it makes them
	// from: it writes rows [from, to) of a matrix, in DType, to dst, which has just
	// their bytes. Any number of goroutines may call it.
	Decode func(dst []byte, from, to int)
}

// String describes the tensor without its data, such as
// "blk.0.attn_q.weight q4_1 [576, 576]".
func (t Tensor) String() string {
	return fmt.Sprintf("%s %s %s", t.Name, t.DType, FormatShape(t.Shape))
}

// FormatShape writes a shape as "[576, 1536]".
func FormatShape(shape []int) string {
	dims := make([]string, len(shape))
	for i, d := range shape {
		dims[i] = fmt.Sprint(d)
	}
	return "[" + strings.Join(dims, ", ") + "]"
}

// Size returns the bytes of a contiguous tensor. It fails on a negative
// dimension, on a row that is not a whole number of d's blocks, and where the
// elements or bytes pass what an int counts, so a caller may multiply the
// shape's dimensions afterwards without checking again.
func Size(d kernels.DType, shape []int) (int, error) {
	row := 1
	if len(shape) > 0 {
		row = shape[len(shape)-1]
	}
	bytes, err := d.RowBytes(row)
	if err != nil {
		return 0, fmt.Errorf("shape %s: %w", FormatShape(shape), err)
	}
	if row > 0 && bytes/d.BlockBytes() != row/d.Block() {
		return 0, tooLarge(d, shape)
	}
	// Empty dimensions count as one until the end: the others must be
	// representable together all the same.
	elements, empty := max(row, 1), row == 0
	bytes = max(bytes, 1)
	for _, dim := range shape[:max(len(shape)-1, 0)] {
		if dim < 0 {
			return 0, fmt.Errorf("shape %s has a negative dimension", FormatShape(shape))
		}
		empty = empty || dim == 0
		var fits, bytesFit bool
		elements, fits = product(elements, max(dim, 1))
		bytes, bytesFit = product(bytes, max(dim, 1))
		if !fits || !bytesFit {
			return 0, tooLarge(d, shape)
		}
	}
	if empty {
		return 0, nil
	}
	return bytes, nil
}

func tooLarge(d kernels.DType, shape []int) error {
	return fmt.Errorf("shape %s in %s is larger than this machine's address space", FormatShape(shape), d)
}

// product multiplies two numbers that are not negative, and reports whether an
// int holds the result.
func product(a, b int) (int, bool) {
	high, low := bits.Mul(uint(a), uint(b))
	return int(low), high == 0 && int(low) >= 0
}
