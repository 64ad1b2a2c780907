package cpu

import (
	"fmt"
	"math"
	"unsafe"

	"headinfer/kernels"
	"headinfer/kernels/cpu/simd"
)

// floats views row r of an f32 tensor.
func floats(t kernels.Tensor, r int) []float32 {
	return unsafe.Slice((*float32)(unsafe.Add(t.Data, r*t.StepBytes())), t.Cols)
}

// allFloats views an f32 tensor from its first element to its last, gaps included.
func allFloats(t kernels.Tensor) []float32 {
	if t.Rows == 0 {
		return nil
	}
	return unsafe.Slice((*float32)(t.Data), (t.Rows-1)*t.Stride+t.Cols)
}

func rowBytes(t kernels.Tensor, r int) []byte {
	return unsafe.Slice((*byte)(unsafe.Add(t.Data, r*t.StepBytes())), t.RowBytes())
}

func allBytes(t kernels.Tensor) []byte {
	return unsafe.Slice((*byte)(t.Data), t.Bytes())
}

// want fails unless the tensors are f32 and have the shape.
func want(rows, cols int, named map[string]kernels.Tensor) error {
	for name, t := range named {
		if t.DType != kernels.F32 || t.Rows != rows || t.Cols != cols {
			return fmt.Errorf("%s is %s, not f32 [%d, %d]", name, t, rows, cols)
		}
	}
	return nil
}

func copyTensor(s kernels.Stream, op string, dst, src kernels.Tensor) {
	s.(*stream).enqueue(op, func() {
		if dst.Rows != src.Rows || dst.RowBytes() != src.RowBytes() {
			panic(fmt.Errorf("%s into %s", src, dst))
		}
		if dst.Contiguous() && src.Contiguous() {
			copy(allBytes(dst), allBytes(src))
			return
		}
		for r := range src.Rows {
			copy(rowBytes(dst, r), rowBytes(src, r))
		}
	})
}

// CopyIn copies host to device.
func (d *Device) CopyIn(s kernels.Stream, dst, hostSrc kernels.Tensor) {
	copyTensor(s, "copy in", dst, hostSrc)
}

// CopyOut copies device to host.
func (d *Device) CopyOut(s kernels.Stream, hostDst, src kernels.Tensor) {
	copyTensor(s, "copy out", hostDst, src)
}

// CopyWithin copies device to device.
func (d *Device) CopyWithin(s kernels.Stream, dst, src kernels.Tensor) {
	copyTensor(s, "copy within", dst, src)
}

// Scatter copies device to device.
func (d *Device) Scatter(s kernels.Stream, dst, src []kernels.Tensor) {
	if len(dst) != len(src) {
		d.fail(fmt.Errorf("scatter: %d copies to %d places", len(src), len(dst)))
		return
	}
	for i := range src {
		copyTensor(s, "scatter", dst[i], src[i])
	}
}

// Embed decodes the rows that ids name, and scales them.
func (d *Device) Embed(s kernels.Stream, out, table kernels.Tensor, ids []int32, scale float32) {
	compute(s, "embed", func(*Device) error {
		if err := want(len(ids), table.Cols, map[string]kernels.Tensor{"out": out}); err != nil {
			return err
		}
		for i, id := range ids {
			if id < 0 || int(id) >= table.Rows {
				return fmt.Errorf("token id %d is outside the vocabulary of %d", id, table.Rows)
			}
			row := floats(out, i)
			if err := simd.Dequantize(row, rowBytes(table, int(id)), table.DType); err != nil {
				return err
			}
			if scale != 1 {
				simd.Scale(row, row, scale)
			}
		}
		return nil
	})
}

// RMSNorm normalises rows.
func (d *Device) RMSNorm(s kernels.Stream, out, x, weight kernels.Tensor, eps float32, accumulate bool) {
	compute(s, "rmsnorm", func(d *Device) error {
		if err := want(out.Rows, out.Cols, map[string]kernels.Tensor{"out": out, "x": x}); err != nil {
			return err
		}
		if err := want(1, out.Cols, map[string]kernels.Tensor{"weight": weight}); err != nil {
			return err
		}
		norm := simd.RMSNorm
		if accumulate {
			norm = simd.AddRMSNorm
		}
		d.rows(out.Rows, func(r int) { norm(floats(out, r), floats(x, r), floats(weight, 0), eps) })
		return nil
	})
}

// rowsAtATime is how many rows of an element-wise operator one worker takes.
const rowsAtATime = 16

func (d *Device) rows(n int, f func(r int)) {
	d.pool.run((n+rowsAtATime-1)/rowsAtATime, func(_, block int) {
		for r := block * rowsAtATime; r < min(n, (block+1)*rowsAtATime); r++ {
			f(r)
		}
	})
}

// RotaryTable fills the table of sines and cosines.
func (d *Device) RotaryTable(s kernels.Stream, cos, sin kernels.Tensor, positions []int32, frequencies []float64, scale float64) {
	compute(s, "rotary table", func(d *Device) error {
		if err := want(len(positions), len(frequencies), map[string]kernels.Tensor{"cos": cos, "sin": sin}); err != nil {
			return err
		}
		d.rows(len(positions), func(r int) {
			c, sn := floats(cos, r), floats(sin, r)
			for i, f := range frequencies {
				y, x := math.Sincos(float64(positions[r]) * f)
				c[i], sn[i] = float32(scale*x), float32(scale*y)
			}
		})
		return nil
	})
}

// Convert copies rows: activations are f32 here.
func (d *Device) Convert(s kernels.Stream, out, x kernels.Tensor) {
	compute(s, "convert", func(*Device) error {
		if err := want(x.Rows, x.Cols, map[string]kernels.Tensor{"out": out, "x": x}); err != nil {
			return err
		}
		for r := range x.Rows {
			copy(floats(out, r), floats(x, r))
		}
		return nil
	})
}

// GLU applies a gated linear unit.
func (d *Device) GLU(s kernels.Stream, out, gateUp kernels.Tensor, act kernels.Activation) {
	compute(s, "glu", func(d *Device) error {
		glu := simd.SwiGLU
		switch act {
		case kernels.SiLU:
		case kernels.GELUTanh:
			glu = simd.GeGLU
		default:
			return fmt.Errorf("activation %d is not known", act)
		}
		if err := want(out.Rows, 2*out.Cols, map[string]kernels.Tensor{"gateUp": gateUp}); err != nil {
			return err
		}
		d.rows(out.Rows, func(r int) {
			g := floats(gateUp, r)
			glu(floats(out, r), g[:out.Cols], g[out.Cols:])
		})
		return nil
	})
}
