package devicetest

import (
	"math"
	"testing"

	"headinfer/kernels"
)

// testAttentionLists attends to tiles of different shapes in one call, up to
// more than a device may take at once.
func testAttentionLists(t *testing.T, b *bench) {
	headDims := []int{32, 64, 96, 128, 256}
	b.rand.Shuffle(len(headDims), func(i, j int) { headDims[i], headDims[j] = headDims[j], headDims[i] })
	for i, count := range []int{0, 1, 2 + b.rand.IntN(4), 5 + b.rand.IntN(12), 65 + b.rand.IntN(20)} {
		var shapes []tile
		for range count {
			shapes = append(shapes, b.listed(headDims[i%len(headDims)], 40000/count))
		}
		if count > 1 {
			shapes[b.rand.IntN(count)].hd = headDims[b.rand.IntN(len(headDims))]
		}
		b.lists(shapes)
		b.drop()
	}
}

// listed draws a tile with up to so many pairs of a query and a key.
func (b *bench) listed(hd, pairs int) tile {
	s := tile{
		rows: 1 + b.rand.IntN([]int{1, 4, 16}[b.rand.IntN(3)]), kvHeads: 1 + b.rand.IntN(3), group: 1 + b.rand.IntN(4), hd: hd,
		causal: b.rand.IntN(2) == 0, scale: 1 / math.Sqrt(float64(hd)), softCap: float64(b.rand.IntN(4)/3) * 5,
	}
	if b.rand.IntN(8) == 0 {
		s.rows = 60 + b.rand.IntN(20)
	}
	s.keys = s.rows + b.rand.IntN(max(1, min(5000, pairs/(s.rows*s.kvHeads*s.group))))
	if s.causal && b.rand.IntN(4) == 0 {
		s.window = 1 + b.rand.IntN(s.keys+10)
	}
	return s
}

// lists attends to tiles in one call; then to the keys before a place in each, in
// another, and to the others in a third, which merges.
func (b *bench) lists(shapes []tile) {
	b.t.Helper()
	var whole, first, rest []kernels.AttentionArgs
	var checks []func()
	for _, t := range shapes {
		q, k, v := b.numbers(t)
		want, wantLSE := t.attend(q, k, v)
		args := kernels.AttentionArgs{
			Q: b.put(q, t.rows, t.width()), Group: t.group, HeadDim: t.hd, Scale: float32(t.scale), SoftCap: float32(t.softCap),
		}
		result := func(how string, out kernels.Tensor) {
			lse := b.floats(t.kvHeads*t.group, t.rows)
			args.Out, args.LSE = out, lse
			checks = append(checks, func() {
				b.near(t.String()+how+", output", b.read(out), want, 2e-5)
				b.near(t.String()+how+", log-sum-exp", b.read(lse), wantLSE, 2e-5)
			})
		}
		masked := func(from int) kernels.AttentionArgs {
			a := args
			a.KV, a.Causal, a.Window = b.keys(t, k, v, from, t.keys), t.causal, t.window
			return a
		}
		result("", b.empty(t.rows, t.width()))
		whole = append(whole, masked(0))
		if t.keys == t.rows || t.window > 0 {
			continue // no place has only keys before it that all queries see
		}
		place := 1 + b.rand.IntN(t.keys-t.rows)
		result(", merged", b.floats(t.rows, t.width()))
		args.KV = b.keys(t, k, v, 0, place)
		first = append(first, args)
		args.Merge = true
		rest = append(rest, masked(place))
	}
	for _, tiles := range [][]kernels.AttentionArgs{whole, first, rest} {
		b.dev.Attention(b.stream, tiles)
		for _, a := range tiles {
			clear(a.KV)
		}
		clear(tiles)
	}
	for _, check := range checks {
		check()
	}
}
