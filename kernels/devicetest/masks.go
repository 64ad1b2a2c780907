package devicetest

import (
	"math"
	"testing"

	"headinfer/kernels"
)

// testMasks tries every mask with and without a cap, on a random choice of
// shapes.
func testMasks(t *testing.T, b *bench) {
	type rule struct{ causal, window, capped bool }
	var rules []rule
	for _, capped := range []bool{false, true} {
		rules = append(rules, rule{capped: capped}, rule{causal: true, capped: capped},
			rule{causal: true, window: true, capped: capped}, rule{causal: true, window: true, capped: capped})
	}
	headDims := []int{16, 64, 96, 128, 256}
	for i, rows := range []int{1, 5, 64, 300, 1, 5, 64} {
		b.rand.Shuffle(len(rules), func(i, j int) { rules[i], rules[j] = rules[j], rules[i] })
		b.rand.Shuffle(len(headDims), func(i, j int) { headDims[i], headDims[j] = headDims[j], headDims[i] })
		for j, r := range rules[:4] {
			hd := headDims[(i+j)%len(headDims)]
			shape := tile{
				rows: rows, kvHeads: 1 + b.rand.IntN(2), group: 1 + b.rand.IntN(3), hd: hd,
				causal: r.causal, scale: 1.5 / math.Sqrt(float64(hd)),
			}
			// Many rows cost the plain computation much, and few may have their keys
			// divided between workers, if there are many.
			shape.keys = rows + b.rand.IntN(300)
			if rows > 8 {
				shape.kvHeads = 1
			} else if b.rand.IntN(3) > 0 {
				shape.keys += 1200 + b.rand.IntN(1000)
			}
			if r.causal && b.rand.IntN(6) == 0 {
				shape.keys = 1 + b.rand.IntN(rows) // the first rows see none
			}
			if r.window {
				shape.window = 1 + b.rand.IntN([]int{rows, 150, shape.keys, shape.keys + 50}[b.rand.IntN(4)])
				if b.rand.IntN(3) == 0 {
					shape.always = b.rand.IntN(min(shape.keys, 70))
				}
			}
			if r.capped {
				shape.softCap = []float64{0.7, 5, 50}[b.rand.IntN(3)]
			}
			b.oneMask(shape)
			b.drop()
		}
	}
}

// oneMask attends in one call or, where some keys are seen always, in two that
// merge: sinks, and a window after them.
func (b *bench) oneMask(t tile) {
	b.t.Helper()
	q, k, v := b.numbers(t)
	want, wantLSE := t.attend(q, k, v)
	args := kernels.AttentionArgs{
		Q: b.put(q, t.rows, t.width()), Out: b.empty(t.rows, t.width()), LSE: b.floats(t.kvHeads*t.group, t.rows),
		Group: t.group, HeadDim: t.hd, Scale: float32(t.scale), SoftCap: float32(t.softCap),
	}
	if t.always > 0 {
		args.Out = b.floats(t.rows, t.width())
		args.KV = b.keys(t, k, v, 0, t.always)
		b.dev.Attention(b.stream, []kernels.AttentionArgs{args})
		args.Merge = true
	}
	args.KV, args.Causal, args.Window = b.keys(t, k, v, t.always, t.keys), t.causal, t.window
	b.dev.Attention(b.stream, []kernels.AttentionArgs{args})
	b.near(t.String()+", output", b.read(args.Out), want, 2e-5)
	b.near(t.String()+", log-sum-exp", b.read(args.LSE), wantLSE, 2e-5)
}

// keys puts a tile's keys and values [lo, hi) on the device, in some pieces.
func (b *bench) keys(t tile, k, v []float32, lo, hi int) []kernels.KV {
	b.t.Helper()
	return b.pieces(ofHeads(k, t.kvHeads, t.hd, t.keys, lo, hi), ofHeads(v, t.kvHeads, t.hd, t.keys, lo, hi), t.kvHeads, hi-lo, t.hd)
}
