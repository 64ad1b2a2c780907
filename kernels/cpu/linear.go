package cpu

import (
	"fmt"

	"headinfer/kernels"
	"headinfer/kernels/cpu/simd"
)

const (
	// vectorRows is up to how many rows of x a weight is read anew for each
	// row, which beats decoding it into panels first.
	vectorRows = 3
	// panels is how many of GEMM's panels of a weight one worker takes at a time.
	panels = 2
	// stripe is the most for a matrix–vector product, whose rows are divided
	// into a few parts a worker.
	stripe         = 1024
	partsPerWorker = 4
)

// Linear multiplies by a weight in its own encoding.
func (d *Device) Linear(s kernels.Stream, out, x, w kernels.Tensor, accumulate bool) {
	compute(s, "linear", func(d *Device) error {
		if err := want(x.Rows, w.Cols, map[string]kernels.Tensor{"x": x}); err != nil {
			return err
		}
		if err := want(x.Rows, w.Rows, map[string]kernels.Tensor{"out": out}); err != nil {
			return err
		}
		if !w.Contiguous() {
			return fmt.Errorf("weight %s has gaps between its rows", w)
		}
		if x.Rows <= vectorRows {
			return d.vectorLinear(out, x, w, accumulate)
		}
		return d.matrixLinear(out, x, w, accumulate)
	})
}

func (d *Device) vectorLinear(out, x, w kernels.Tensor, accumulate bool) error {
	if err := d.scratch.each(stripe, "sums of a matrix–vector product"); err != nil {
		return err
	}
	laid, err := d.scratch.common(vectorRows*simd.LayFloats(w.Cols), "activations of a matrix–vector product")
	if err != nil {
		return err
	}
	var vectors [vectorRows]simd.Vector
	for r := range x.Rows {
		vectors[r] = simd.Lay(floats(x, r), w.DType, laid[r*simd.LayFloats(w.Cols):])
	}
	step := (w.Rows + d.pool.workers*partsPerWorker - 1) / (d.pool.workers * partsPerWorker)
	step = min((step+3)&^3, stripe) // the kernels take four rows at a time
	d.pool.spread((w.Rows+step-1)/step, func(worker, i int) {
		lo, hi := i*step, min(w.Rows, (i+1)*step)
		part := allBytes(w.RowRange(lo, hi))
		for r, v := range vectors[:x.Rows] {
			y := floats(out, r)[lo:hi]
			if !accumulate {
				simd.GEMV(y, v, part)
				continue
			}
			sums := d.scratch.workers[worker][:hi-lo]
			simd.GEMV(sums, v, part)
			simd.AddInto(y, sums)
		}
	})
	return nil
}

func (d *Device) matrixLinear(out, x, w kernels.Tensor, accumulate bool) error {
	if err := d.scratch.each(simd.GEMMScratch(w.Cols), "decoded weight panel"); err != nil {
		return err
	}
	packed, err := d.scratch.pack(x)
	if err != nil {
		return err
	}
	step := panels * simd.PanelRows()
	d.pool.run((w.Rows+step-1)/step, func(worker, i int) {
		lo, hi := i*step, min(w.Rows, (i+1)*step)
		y := out.ColRange(lo, hi)
		simd.GEMM(allFloats(y), out.Stride, packed, allBytes(w.RowRange(lo, hi)), w.DType, hi-lo, accumulate, d.scratch.workers[worker])
	})
	return nil
}
