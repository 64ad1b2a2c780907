package cpu

import (
	"fmt"
	"slices"

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

// Linear multiplies by weights in their own encodings. The rows of all of them
// are shared out together.
func (d *Device) Linear(s kernels.Stream, out, x kernels.Tensor, w []kernels.Tensor, accumulate bool) {
	w = slices.Clone(w) // the caller's again when this returns
	compute(s, "linear", func(d *Device) error {
		rows := 0
		for _, one := range w {
			if err := want(x.Rows, one.Cols, map[string]kernels.Tensor{"x": x}); err != nil {
				return err
			}
			if !one.Contiguous() {
				return fmt.Errorf("weight %s has gaps between its rows", one)
			}
			rows += one.Rows
		}
		if err := want(x.Rows, rows, map[string]kernels.Tensor{"out": out}); err != nil || rows == 0 || x.Rows == 0 {
			return err
		}
		if x.Rows > vectorRows {
			return d.matrixLinear(out, x, w, accumulate)
		}
		for at := 0; len(w) > 0; {
			n, next := together(w, x.Rows), at
			for _, one := range w[:n] {
				next += one.Rows
			}
			if err := d.vectorLinear(out.ColRange(at, next), x, w[:n], accumulate); err != nil {
				return err
			}
			at, w = next, w[n:]
		}
		return nil
	})
}

// together is how many weights, from the first on, are multiplied at once: x's rows
// are laid out anew for each encoding, and there is room for vectorRows.
func together(w []kernels.Tensor, rows int) int {
	encodings := map[kernels.DType]bool{}
	for i, one := range w {
		if encodings[one.DType] = true; len(encodings) > 1 && len(encodings)*rows > vectorRows {
			return i
		}
	}
	return len(w)
}

// overWeights calls body for parts of up to step rows of every weight, with the
// part, the columns of out that it makes, and which weight it is of.
func (d *Device) overWeights(out kernels.Tensor, w []kernels.Tensor, step int, body func(worker, which int, part, y kernels.Tensor)) {
	parts := 0
	for _, one := range w {
		parts += (one.Rows + step - 1) / step
	}
	d.pool.spread(parts, func(worker, i int) {
		which, first := 0, 0
		for {
			n := (w[which].Rows + step - 1) / step
			if i < n {
				break
			}
			i, first, which = i-n, first+w[which].Rows, which+1
		}
		lo, hi := i*step, min(w[which].Rows, (i+1)*step)
		body(worker, which, w[which].RowRange(lo, hi), out.ColRange(first+lo, first+hi))
	})
}

func (d *Device) vectorLinear(out, x kernels.Tensor, w []kernels.Tensor, accumulate bool) error {
	if err := d.scratch.each(stripe, "sums of a matrix–vector product"); err != nil {
		return err
	}
	vectors, err := d.lay(x, w)
	if err != nil {
		return err
	}
	step := (out.Cols + d.pool.workers*partsPerWorker - 1) / (d.pool.workers * partsPerWorker)
	step = min((step+3)&^3, stripe) // the kernels take four rows at a time
	d.overWeights(out, w, step, func(worker, which int, part, to kernels.Tensor) {
		data := allBytes(part)
		for r, v := range vectors[which][:x.Rows] {
			y := floats(to, r)
			if !accumulate {
				simd.GEMV(y, v, data)
				continue
			}
			sums := d.scratch.workers[worker][:part.Rows]
			simd.GEMV(sums, v, data)
			simd.AddInto(y, sums)
		}
	})
	return nil
}

// lay makes x's rows ready for each weight, once for those of one encoding.
func (d *Device) lay(x kernels.Tensor, w []kernels.Tensor) ([][vectorRows]simd.Vector, error) {
	size := simd.LayFloats(x.Cols)
	laid, err := d.scratch.common(vectorRows*size, "activations of a matrix–vector product")
	if err != nil {
		return nil, err
	}
	vectors := make([][vectorRows]simd.Vector, len(w))
	for i, one := range w {
		if same := slices.IndexFunc(w[:i], func(other kernels.Tensor) bool { return other.DType == one.DType }); same >= 0 {
			vectors[i] = vectors[same]
			continue
		}
		for r := range x.Rows {
			vectors[i][r] = simd.Lay(floats(x, r), one.DType, laid)
			laid = laid[size:]
		}
	}
	return vectors, nil
}

func (d *Device) matrixLinear(out, x kernels.Tensor, w []kernels.Tensor, accumulate bool) error {
	if err := d.scratch.each(simd.GEMMScratch(x.Cols), "decoded weight panel"); err != nil {
		return err
	}
	if err := d.scratch.room(x.Rows, x.Cols); err != nil {
		return err
	}
	packed, from := &d.scratch.packed, allFloats(x)
	if d.inPairs(x, w) {
		packed.BeginPairs(x.Rows, x.Cols)
		d.rows(x.Rows, func(r int) { packed.PackPairs(from, x.Stride, r, r+1) })
		d.overWeights(out, w, panels*simd.PanelRows(), func(worker, _ int, part, y kernels.Tensor) {
			simd.GEMMPairs(allFloats(y), out.Stride, packed, allBytes(part), part.Rows, accumulate, d.scratch.workers[worker])
		})
		return nil
	}
	packed.Begin(x.Rows, x.Cols)
	d.rows(x.Rows, func(r int) { packed.PackRows(from, x.Stride, r, r+1) })
	d.overWeights(out, w, panels*simd.PanelRows(), func(worker, _ int, part, y kernels.Tensor) {
		simd.GEMM(allFloats(y), out.Stride, packed, allBytes(part), part.DType, part.Rows, accumulate, d.scratch.workers[worker])
	})
	return nil
}

// inPairs reports whether a product is one of those that RoundProducts is about.
func (d *Device) inPairs(x kernels.Tensor, w []kernels.Tensor) bool {
	return d.rounds && x.Rows > kernels.ExactRows && x.Cols%2 == 0 &&
		!slices.ContainsFunc(w, func(one kernels.Tensor) bool { return one.DType != kernels.BF16 })
}
