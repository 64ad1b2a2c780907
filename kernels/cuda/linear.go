//go:build cuda && cgo && linux

package cuda

import (
	"fmt"

	"headinfer/kernels"
	"headinfer/kernels/cuda/driver"
)

// vectorRows is up to how many rows the matrix–vector kernel takes: it reads
// a weight once for all of them, in its own encoding.
const vectorRows = 16

// Flags of the matrix–vector kernel.
const (
	gemvAdd   = 1
	gemvFloat = 2
)

// Linear multiplies by a weight in its own encoding: a few rows by a kernel
// that decodes as it reads, many by cuBLASLt, a decoded part at a time.
func (d *Device) Linear(on kernels.Stream, out, x, w kernels.Tensor, accumulate bool) {
	d.enqueue(on, "linear", func(s *stream) error {
		if err := want("x", x, activations, x.Rows, w.Cols); err != nil {
			return err
		}
		if out.Rows != x.Rows || out.Cols != w.Rows || out.DType != activations && out.DType != kernels.F32 {
			return fmt.Errorf("out is %s, for x %s and a weight %s", out, x, w)
		}
		if x.Rows <= vectorRows {
			return d.vector(s, out, x, w, accumulate)
		}
		if w.DType == activations {
			return d.product(s, out, x, w, accumulate)
		}
		return d.decoded(s, out, x, w, accumulate)
	})
}

func (d *Device) vector(s *stream, out, x, w kernels.Tensor, accumulate bool) error {
	flags := uint64(0)
	if accumulate {
		flags |= gemvAdd
	}
	if out.DType == kernels.F32 {
		flags |= gemvFloat
	}
	y, i, m := view(out), view(x), view(w)
	return d.launch(s, weightKernel("gemv", w.DType), driver.Dim{X: ceil(w.Rows, 16), Y: 1, Z: 1}, 256, 0,
		y[0], y[1], i[0], i[1], m[0], m[1], integer(x.Rows), integer(w.Cols), integer(w.Rows), flags)
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
