//go:build cuda && cgo && linux

package cuda

import (
	"fmt"

	"headinfer/kernels"
	"headinfer/kernels/cuda/driver"
)

const (
	// vectorRows is up to how many rows the matrix–vector kernel takes: it reads
	// a weight once for all of them, in its own encoding.
	vectorRows = 16
	// vectorWeights is how many weights of one encoding it takes at a time.
	vectorWeights = 3
	// vectorColumns of the result are a block's.
	vectorColumns = 16
	// vectorShared is its shared memory, through which weights come.
	vectorShared = 65536
)

// Flags of the matrix–vector kernel.
const (
	gemvAdd   = 1
	gemvFloat = 2
)

// Linear multiplies by weights in their own encodings: a few rows by a kernel
// that decodes as it reads, and takes several weights; many by cuBLASLt, a
// decoded part at a time.
func (d *Device) Linear(on kernels.Stream, out, x kernels.Tensor, w []kernels.Tensor, accumulate bool) {
	d.enqueue(on, "linear", func(s *stream) error {
		if err := checkLinear(out, x, w); err != nil {
			return err
		}
		if x.Rows == 0 || out.Cols == 0 {
			return nil
		}
		for at := 0; len(w) > 0; {
			n, step := 1, d.matrix
			if x.Rows <= vectorRows {
				n, step = oneEncoding(w), d.vector
			}
			next := at
			for _, one := range w[:n] {
				next += one.Rows
			}
			if err := step(s, out.ColRange(at, next), x, w[:n], accumulate); err != nil {
				return err
			}
			at, w = next, w[n:]
		}
		return nil
	})
}

// checkLinear fails unless the operands fit together.
func checkLinear(out, x kernels.Tensor, w []kernels.Tensor) error {
	columns := 0
	for _, one := range w {
		if err := want("x", x, activations, x.Rows, one.Cols); err != nil {
			return fmt.Errorf("%w, for a weight %s", err, one)
		}
		columns += one.Rows
	}
	if out.Rows != x.Rows || out.Cols != columns || out.DType != activations && out.DType != kernels.F32 {
		return fmt.Errorf("out is %s, for x %s and weights of %d rows together", out, x, columns)
	}
	return nil
}

// oneEncoding is how many weights, from the first on, the matrix–vector kernel takes
// together.
func oneEncoding(w []kernels.Tensor) int {
	n := 1
	for n < min(len(w), vectorWeights) && w[n].DType == w[0].DType {
		n++
	}
	return n
}

// vector multiplies up to vectorRows rows by weights of one encoding.
func (d *Device) vector(s *stream, out, x kernels.Tensor, w []kernels.Tensor, accumulate bool) error {
	flags := uint64(0)
	if accumulate {
		flags |= gemvAdd
	}
	if out.DType == kernels.F32 {
		flags |= gemvFloat
	}
	y, i := view(out), view(x)
	args, blocks := []uint64{y[0], y[1], i[0], i[1], integer(x.Rows), integer(x.Cols), flags}, 0
	for n := range vectorWeights {
		var one kernels.Tensor // none, of no rows
		if n < len(w) {
			one = w[n]
		}
		m := view(one)
		args = append(args, m[0], m[1], integer(one.Rows))
		blocks += ceil(one.Rows, vectorColumns)
	}
	block := 128
	if w[0].DType.Block() > 1 {
		block = 256
	}
	return d.launchEarly(s, weightKernel("gemv", w[0].DType), driver.Dim{X: blocks, Y: 1, Z: 1}, block, vectorShared, args...)
}

// matrix multiplies any number of rows by one weight.
func (d *Device) matrix(s *stream, out, x kernels.Tensor, w []kernels.Tensor, accumulate bool) error {
	if w[0].DType == activations {
		return d.product(s, out, x, w[0], accumulate)
	}
	return d.decoded(s, out, x, w[0], accumulate)
}

// decoded decodes w part by part into the workspace and multiplies by each.
func (d *Device) decoded(s *stream, out, x, w kernels.Tensor, accumulate bool) error {
	if err := d.atLeast(&d.work.tile, tileBytes, "decoded part of a weight"); err != nil {
		return err
	}
	rowBytes := w.Cols * activations.BlockBytes()
	step := int(d.work.tile.Bytes) / rowBytes
	if step == 0 {
		return fmt.Errorf("a row of %d elements does not fit in %d bytes", w.Cols, d.work.tile.Bytes)
	}
	for lo := 0; lo < w.Rows; lo += step {
		part := w.RowRange(lo, min(lo+step, w.Rows))
		tile := kernels.Matrix(d.work.tile.Data, activations, part.Rows, part.Cols)
		if err := d.dequantise(s, tile, part); err != nil {
			return err
		}
		if err := d.product(s, out.ColRange(lo, lo+part.Rows), x, tile, accumulate); err != nil {
			return err
		}
	}
	return nil
}

// Convert rounds f32 to the activations' type.
func (d *Device) Convert(on kernels.Stream, out, x kernels.Tensor) {
	d.enqueue(on, "convert", func(s *stream) error {
		if err := want("x", x, kernels.F32, out.Rows, out.Cols); err != nil {
			return err
		}
		if err := want("out", out, activations, x.Rows, x.Cols); err != nil {
			return err
		}
		return d.dequantise(s, out, x)
	})
}

// dequantise decodes w [rows, cols], in any encoding, to out.
func (d *Device) dequantise(s *stream, out, w kernels.Tensor) error {
	o, i := view(out), view(w)
	return d.launch(s, weightKernel("dequantise", w.DType),
		driver.Dim{X: ceil(w.Cols, 1024), Y: min(w.Rows, 65535), Z: 1}, 128, 0,
		o[0], o[1], i[0], i[1], integer(w.Rows), integer(w.Cols))
}

func (d *Device) product(s *stream, out, x, w kernels.Tensor, accumulate bool) error {
	if err := d.atLeast(&d.work.blas, blasBytes, "workspace of cuBLASLt"); err != nil {
		return err
	}
	yType := driver.BF16
	if out.DType == kernels.F32 {
		yType = driver.F32
	}
	return d.blas.Multiply(s.Stream, driver.Product{
		M: x.Rows, N: w.Rows, K: w.Cols,
		X: pointer(x.Data), W: pointer(w.Data), Y: pointer(out.Data),
		XStride: x.Stride, WStride: w.Stride, YStride: out.Stride,
		Type: driver.BF16, YType: yType, Accumulate: accumulate,
		Workspace: pointer(d.work.blas.Data), WorkspaceBytes: d.work.blas.Bytes,
	})
}
