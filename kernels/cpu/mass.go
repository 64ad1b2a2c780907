package cpu

import (
	"fmt"

	"headinfer/kernels"
	"headinfer/kernels/cpu/simd"
)

// massKeys is how many keys of a head one worker takes, for all queries: a
// multiple of what simd lays out at a time.
const massKeys = 384

// AttentionMass adds up what each key has received.
func (d *Device) AttentionMass(s kernels.Stream, mass kernels.Tensor, a kernels.AttentionArgs) {
	a.KV = append([]kernels.KV(nil), a.KV...) // the caller may use its slice again
	compute(s, "attention mass", func(d *Device) error {
		a.Out = a.Q // has the shape that is asked for, and nothing is written
		heads, err := checkAttention(a)
		if err != nil || heads == 0 || a.Q.Rows == 0 {
			return err
		}
		if a.Window != 0 || a.SoftCap != 0 {
			return fmt.Errorf("a window of %d keys and a cap of %g, and neither is taken into account: set both to 0", a.Window, a.SoftCap)
		}
		keys := countKeys(a.KV)
		if err := want(heads, keys, map[string]kernels.Tensor{"mass": mass}); err != nil {
			return err
		}
		if err := d.scratch.each(simd.MassScratch(headArgs(a, 0)), "attention mass"); err != nil {
			return err
		}
		parts := (keys + massKeys - 1) / massKeys
		d.pool.run(heads*parts, func(worker, i int) {
			// The first keys are seen by the most queries: begin with them.
			head, lo := i%heads, i/heads*massKeys
			hi := min(keys, lo+massKeys)
			one := headArgs(a, head)
			one.Pieces = cut(one.Pieces[:0], a.KV, head, lo, hi)
			one.Total = a.Q.Rows - (keys - hi) // keeps the mask where it was
			simd.AttentionMass(floats(mass, head)[lo:hi], one, d.scratch.workers[worker])
		})
		return nil
	})
}
