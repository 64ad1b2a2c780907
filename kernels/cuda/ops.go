//go:build cuda && cgo && linux

package cuda

import (
	"fmt"

	"headinfer/kernels"
	"headinfer/kernels/cuda/driver"
)

// Embed decodes the rows that ids name.
func (d *Device) Embed(on kernels.Stream, out, table kernels.Tensor, ids []int32, scale float32) {
	d.enqueue(on, "embed", func(s *stream) error {
		if err := want("out", out, activations, len(ids), table.Cols); err != nil {
			return err
		}
		for _, id := range ids {
			if id < 0 || int(id) >= table.Rows {
				return fmt.Errorf("token id %d is outside the vocabulary of %d", id, table.Rows)
			}
		}
		at, err := upload(d, s, &d.work.ids, ids, "token ids")
		if err != nil {
			return err
		}
		o, t := view(out), view(table)
		return d.launchEarly(s, weightKernel("embed", table.DType), driver.Dim{X: len(ids), Y: 1, Z: 1}, 128, 0,
			o[0], o[1], t[0], t[1], at, integer(len(ids)), integer(table.Cols), integer(table.Rows), real(float64(scale)))
	})
}

// RMSNorm normalises rows.
func (d *Device) RMSNorm(on kernels.Stream, out, x, weight kernels.Tensor, eps float32, accumulate bool) {
	d.enqueue(on, "rmsnorm", func(s *stream) error {
		if err := want("out", out, activations, x.Rows, x.Cols); err != nil {
			return err
		}
		if err := want("weight", weight, kernels.F32, 1, x.Cols); err != nil {
			return err
		}
		flags := uint64(0)
		if accumulate {
			flags = 1
		}
		o, i := view(out), view(x)
		return d.launchEarly(s, "rmsnorm_"+suffix, driver.Dim{X: x.Rows, Y: 1, Z: 1}, 256, 0,
			o[0], o[1], i[0], i[1], word(weight.Data), integer(x.Rows), integer(x.Cols), real(float64(eps)), flags)
	})
}

// RotaryTable fills the table of sines and cosines.
func (d *Device) RotaryTable(on kernels.Stream, cos, sin kernels.Tensor, positions []int32, frequencies []float64, scale float64) {
	d.enqueue(on, "rotary table", func(s *stream) error {
		rows, half := len(positions), len(frequencies)
		for _, err := range []error{want("cos", cos, kernels.F32, rows, half), want("sin", sin, kernels.F32, rows, half)} {
			if err != nil {
				return err
			}
		}
		at, err := upload(d, s, &d.work.positions, positions, "positions")
		if err != nil {
			return err
		}
		f, err := upload(d, s, &d.work.frequencies, frequencies, "rotary frequencies")
		if err != nil {
			return err
		}
		c, n := view(cos), view(sin)
		return d.launch(s, "rotary_table", driver.Dim{X: ceil(rows*half, 128), Y: 1, Z: 1}, 128, 0,
			c[0], c[1], n[0], n[1], at, f, integer(rows), integer(half), real(scale))
	})
}

// GLU applies a gated linear unit.
func (d *Device) GLU(on kernels.Stream, out, gateUp kernels.Tensor, act kernels.Activation) {
	d.enqueue(on, "glu", func(s *stream) error {
		if act > kernels.GELUTanh {
			return fmt.Errorf("activation %d is not known; 0 (SiLU) and 1 (GELU with tanh) are", act)
		}
		if err := want("gateUp", gateUp, activations, out.Rows, 2*out.Cols); err != nil {
			return err
		}
		o, g := view(out), view(gateUp)
		return d.launchEarly(s, "glu_"+suffix, driver.Dim{X: out.Rows, Y: ceil(out.Cols, 1024), Z: 1}, 128, 0,
			o[0], o[1], g[0], g[1], integer(out.Rows), integer(out.Cols), integer(int(act)))
	})
}

// Random fills a matrix with normal numbers.
func (d *Device) Random(on kernels.Stream, out kernels.Tensor, seed uint64, mean, deviation float64) {
	d.enqueue(on, "random", func(s *stream) error {
		switch out.DType {
		case kernels.F32, kernels.F16, kernels.BF16:
		default:
			return fmt.Errorf("out is %s, not f32, f16 or bf16", out)
		}
		o := view(out)
		// A block of the grid's second dimension takes every 65,535th row.
		err := d.launch(s, "random_"+out.DType.String(), driver.Dim{X: ceil(out.Cols, 256), Y: min(out.Rows, 65535), Z: 1}, 128, 0,
			o[0], o[1], integer(out.Rows), integer(out.Cols), seed, real(mean), real(deviation))
		s.wrote.Store(true)
		return err
	})
}
