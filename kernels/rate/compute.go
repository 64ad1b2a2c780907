package rate

import (
	"math"

	"headinfer/kernels"
)

const (
	// leastFLOP is what the first trial computes: little for any processor.
	leastFLOP = 1 << 27
	mostRead  = 512 << 20
)

// product is [rows, cols] by [outs, cols]ᵀ.
type product struct{ rows, cols, outs int }

func (p product) flop() float64 { return 2 * float64(p.rows) * float64(p.cols) * float64(p.outs) }

func (p product) bytes(d kernels.DType) int64 {
	return int64(p.rows*p.cols+p.outs*p.cols+p.rows*p.outs) * int64(d.BlockBytes())
}

// within returns a smaller product, if need be, of at most so much work and
// memory, as far as halving keeps it a product of matrices.
func (p product) within(flop float64, bytes int64, d kernels.DType) product {
	for p.flop() > flop || p.bytes(d) > bytes {
		switch {
		case p.outs > 512:
			p.outs = half(p.outs)
		case p.rows > fewestRows:
			p.rows = half(p.rows)
		case p.outs > 64:
			p.outs = half(p.outs)
		default:
			return p
		}
	}
	return p
}

// half halves a size of more than 64 to a multiple of 64.
func half(n int) int { return (n/2 + 63) / 64 * 64 }

// linear returns the rate of the feed-forward layer's products.
func (m *meter) linear(s Shape) (float64, error) {
	d := m.dev.Info().Activations
	whole := product{rows: s.Rows, cols: s.Hidden, outs: s.FFN}
	room := m.dev.Ledger().Left()
	flop, err := grow(computing, leastFLOP, whole.within(math.Inf(1), room, d).flop(), func(work float64) (float64, error) {
		return m.product(whole.within(work, room, d), m.trial)
	})
	if err != nil {
		return 0, err
	}
	p := whole.within(flop, room, d)
	t, err := m.product(p, m.time)
	return p.flop() / t, err
}

// product returns the seconds of a product.
func (m *meter) product(p product, clock func(func()) (float64, error)) (float64, error) {
	defer m.release()
	d := m.dev.Info().Activations
	x, err := m.matrix(d, p.rows, p.cols, "activations")
	if err != nil {
		return 0, err
	}
	weights := d
	if to := m.dev.Info().Products; to != 0 && p.rows > 1 {
		weights = to
	}
	w, err := m.matrix(weights, p.outs, p.cols, "a weight")
	if err != nil {
		return 0, err
	}
	out, err := m.matrix(d, p.rows, p.outs, "activations")
	if err != nil {
		return 0, err
	}
	return clock(func() { m.dev.Linear(m.stream, out, x, []kernels.Tensor{w}, false) })
}

// read returns the rate of reading a large weight for one row.
func (m *meter) read(s Shape) (float64, error) {
	d := m.dev.Info().Activations
	row := float64(s.Hidden * d.BlockBytes())
	of := func(bytes float64) product {
		return product{rows: 1, cols: s.Hidden, outs: max(1, int(bytes/row))}
	}
	// Of the room, a part is left for the row's own results.
	most := max(min(mostRead, float64(m.dev.Ledger().Left())*3/4), leastBytes)
	bytes, err := grow(moving, leastBytes, most, func(bytes float64) (float64, error) {
		return m.product(of(bytes), m.trial)
	})
	if err != nil {
		return 0, err
	}
	p := of(bytes)
	t, err := m.product(p, m.time)
	return float64(p.outs) * row / t, err
}

// tile is attention of rows tokens, in heads of group query heads, to keys.
type tile struct{ rows, heads, group, dim, keys int }

func (t tile) flop() float64 {
	return 4 * float64(t.rows) * float64(t.heads*t.group) * float64(t.keys) * float64(t.dim)
}

func (t tile) bytes(d kernels.DType) int64 {
	queries, keys := 2*t.rows*t.heads*t.group*t.dim, 2*t.heads*t.keys*t.dim
	return int64(queries+keys)*int64(d.BlockBytes()) + 4*int64(t.heads*t.group*t.rows)
}

// within is product.within's counterpart.
func (t tile) within(flop float64, bytes int64, d kernels.DType) tile {
	for t.flop() > flop || t.bytes(d) > bytes {
		switch {
		case t.keys > 1024:
			t.keys = half(t.keys)
		case t.heads > 1:
			t.heads /= 2
		case t.rows > fewestRows:
			t.rows = half(t.rows)
		case t.keys > 64:
			t.keys = half(t.keys)
		default:
			return t
		}
	}
	return t
}

// attention returns the rate of attention without a mask.
func (m *meter) attention(s Shape) (float64, error) {
	d := m.dev.Info().Activations
	whole := tile{rows: s.Rows, heads: s.KVHeads, group: s.Group, dim: s.HeadDim, keys: s.Keys}
	room := m.dev.Ledger().Left()
	flop, err := grow(computing, leastFLOP, whole.within(math.Inf(1), room, d).flop(), func(work float64) (float64, error) {
		return m.attend(whole.within(work, room, d), m.trial)
	})
	if err != nil {
		return 0, err
	}
	t := whole.within(flop, room, d)
	took, err := m.attend(t, m.time)
	return t.flop() / took, err
}

// attend returns the seconds of a tile.
func (m *meter) attend(t tile, clock func(func()) (float64, error)) (float64, error) {
	defer m.release()
	d := m.dev.Info().Activations
	a := kernels.AttentionArgs{Group: t.group, HeadDim: t.dim, Scale: float32(1 / math.Sqrt(float64(t.dim)))}
	var k, v kernels.Tensor
	width, run := t.heads*t.group*t.dim, t.keys*t.dim
	for _, part := range []struct {
		to         *kernels.Tensor
		d          kernels.DType
		rows, cols int
		what       string
	}{
		{&a.Q, d, t.rows, width, "queries"}, {&a.Out, d, t.rows, width, "attention's output"},
		{&a.LSE, kernels.F32, t.heads * t.group, t.rows, "attention's sums"},
		{&k, d, t.heads, run, "keys"}, {&v, d, t.heads, run, "values"},
	} {
		var err error
		if *part.to, err = m.matrix(part.d, part.rows, part.cols, part.what); err != nil {
			return 0, err
		}
	}
	a.KV = []kernels.KV{{K: k.Data, V: v.Data, DType: d, Heads: t.heads, Tokens: t.keys, HeadDim: t.dim, HeadStride: run}}
	return clock(func() { m.dev.Attention(m.stream, []kernels.AttentionArgs{a}) })
}
