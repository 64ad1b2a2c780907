package kernels

import (
	"fmt"
	"unsafe"
)

// Tensor is a row-major matrix somewhere in memory: a view that owns nothing.
// Whether Data may be followed by the host depends on who made it; operators
// take tensors of their own device only.
type Tensor struct {
	Data   unsafe.Pointer
	DType  DType
	Rows   int
	Cols   int
	Stride int // elements between the starts of two rows; a whole number of DType blocks
}

// Matrix views contiguous memory at data as [rows, cols].
func Matrix(data unsafe.Pointer, d DType, rows, cols int) Tensor {
	return Tensor{Data: data, DType: d, Rows: rows, Cols: cols, Stride: cols}
}

// HostMatrix views host bytes as [rows, cols], or says why they do not hold that.
func HostMatrix(data []byte, d DType, rows, cols int) (Tensor, error) {
	row, err := d.RowBytes(cols)
	if err != nil {
		return Tensor{}, err
	}
	if rows < 0 || len(data) < rows*row {
		return Tensor{}, fmt.Errorf("[%d, %d] in %s takes %d bytes, and %d are there", rows, cols, d, rows*row, len(data))
	}
	return Matrix(unsafe.Pointer(unsafe.SliceData(data)), d, rows, cols), nil
}

// RowRange views rows [lo, hi).
func (t Tensor) RowRange(lo, hi int) Tensor {
	t.Data = unsafe.Add(t.Data, lo*t.rowStep())
	t.Rows = hi - lo
	return t
}

// ColRange views columns [lo, hi), which must fall on block borders.
func (t Tensor) ColRange(lo, hi int) Tensor {
	t.Data = unsafe.Add(t.Data, lo/t.DType.Block()*t.DType.BlockBytes())
	t.Cols = hi - lo
	return t
}

// RowBytes returns the bytes of one row's elements.
func (t Tensor) RowBytes() int { return t.Cols / t.DType.Block() * t.DType.BlockBytes() }

// Bytes returns the bytes of all elements, without the gaps between rows.
func (t Tensor) Bytes() int64 { return int64(t.Rows) * int64(t.RowBytes()) }

func (t Tensor) rowStep() int { return t.Stride / t.DType.Block() * t.DType.BlockBytes() }

// StepBytes returns the bytes between the starts of two rows.
func (t Tensor) StepBytes() int { return t.rowStep() }

// Contiguous reports whether there are no gaps between rows.
func (t Tensor) Contiguous() bool { return t.Stride == t.Cols || t.Rows <= 1 }

// String describes the shape, such as "f32 [512, 576]".
func (t Tensor) String() string { return fmt.Sprintf("%s [%d, %d]", t.DType, t.Rows, t.Cols) }

// KV views the keys and values of a run of tokens for some KV heads, each
// [heads, tokens, head_dim] with contiguous tokens within a head.
//
// In one of KVCodes, a head is a run of records of as many tokens as a block
// has codes. A record of keys has a block for each channel in turn, with the
// codes of that channel's tokens (keys are scaled by channel); a record of
// values has the blocks of each token in turn, of so many neighbouring channels
// each (values are scaled by token), so that head_dim must be a whole number of
// blocks. Both take the same bytes, and a run of records is a run of tokens
// like any other: it can be cut at their borders, and copied (KIVI, Liu et al.
// 2024).
type KV struct {
	K, V       unsafe.Pointer
	DType      DType
	Heads      int
	Tokens     int
	HeadDim    int
	HeadStride int // elements between two heads' first tokens
}

// HeadRange views heads [lo, hi).
func (kv KV) HeadRange(lo, hi int) KV {
	step := lo * kv.HeadStride / kv.DType.Block() * kv.DType.BlockBytes()
	kv.K, kv.V = unsafe.Add(kv.K, step), unsafe.Add(kv.V, step)
	kv.Heads = hi - lo
	return kv
}

// TokenRange views tokens [lo, hi) of every head; in an encoding with blocks,
// both are whole numbers of them.
func (kv KV) TokenRange(lo, hi int) KV {
	step := lo * kv.HeadDim / kv.DType.Block() * kv.DType.BlockBytes()
	kv.K, kv.V = unsafe.Add(kv.K, step), unsafe.Add(kv.V, step)
	kv.Tokens = hi - lo
	return kv
}

// Keys and Values view one side as a matrix with a row a head, for copies:
// [heads, tokens*head_dim].
func (kv KV) Keys() Tensor { return kv.side(kv.K) }

// Values is Keys for the values.
func (kv KV) Values() Tensor { return kv.side(kv.V) }

func (kv KV) side(p unsafe.Pointer) Tensor {
	return Tensor{Data: p, DType: kv.DType, Rows: kv.Heads, Cols: kv.Tokens * kv.HeadDim, Stride: kv.HeadStride}
}
