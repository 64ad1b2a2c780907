package devicetest

import (
	"fmt"
	"math"
	"testing"

	"headinfer/kernels"
)

// turns are the angles of a pass, [rows, half], and what multiplies their
// cosines and sines.
type turns struct {
	positions   []int32
	frequencies []float64
	scale       float64
	interleaved bool
}

// of rotates the first channels of a head of row r.
func (t turns) of(x []float64, r int) {
	half := len(t.frequencies)
	for i, f := range t.frequencies {
		lo, hi := i, i+half
		if t.interleaved {
			lo, hi = 2*i, 2*i+1
		}
		s, c := math.Sincos(float64(t.positions[r]) * f)
		x[lo], x[hi] = t.scale*(x[lo]*c-x[hi]*s), t.scale*(x[lo]*s+x[hi]*c)
	}
}

// table fills the device's table of the turns, and checks it.
func (b *bench) table(t turns) (cos, sin kernels.Tensor) {
	b.t.Helper()
	rows, half := len(t.positions), len(t.frequencies)
	cos, sin = b.floats(rows, half), b.floats(rows, half)
	b.dev.RotaryTable(b.stream, cos, sin, t.positions, t.frequencies, t.scale)
	cosines, sines := b.read(cos), b.read(sin)
	for r, p := range t.positions {
		for i, f := range t.frequencies {
			s, c := math.Sincos(float64(p) * f)
			c, s = t.scale*c, t.scale*s
			if at := r*half + i; math.Abs(float64(cosines[at])-c) > 1e-6 || math.Abs(float64(sines[at])-s) > 1e-6 {
				b.t.Fatalf("position %d times %g: %g and %g times the cosine and sine are %g and %g, want %g and %g",
					p, f, t.scale, t.scale, cosines[at], sines[at], c, s)
			}
		}
	}
	return cos, sin
}

func testRotary(t *testing.T, b *bench) {
	headDims := []int{16, 64, 96, 128, 256}
	b.rand.Shuffle(len(headDims), func(i, j int) { headDims[i], headDims[j] = headDims[j], headDims[i] })
	for i := range 16 {
		hd := headDims[i%len(headDims)]
		r := rotation{rows: 1 + b.rand.IntN(40), kvHeads: 1 + b.rand.IntN(3), hd: hd}
		r.heads = r.kvHeads * (1 + b.rand.IntN(3))
		switch i % 4 {
		case 0, 1: // all channels turn
			r.half = hd / 2
		case 2: // some do, and 3: none
			r.half = 1 + b.rand.IntN(hd/2)
		}
		some := func() bool { return b.rand.IntN(2) == 0 }
		r.interleaved, r.qBias, r.kBias, r.vBias = i%8 > 3, some(), some(), some()
		r.qNorm, r.kNorm = some(), some()
		b.oneRotation(r)
		b.drop()
	}
}

// rotation is a case: sizes, how many pairs of a head turn, and what else is done.
type rotation struct {
	rows, heads, kvHeads, hd, half int
	interleaved                    bool
	qBias, kBias, vBias            bool
	qNorm, kNorm                   bool
}

func (b *bench) oneRotation(c rotation) {
	b.t.Helper()
	t := turns{positions: make([]int32, c.rows), frequencies: make([]float64, c.half), scale: 1, interleaved: c.interleaved}
	for i := range t.frequencies {
		t.frequencies[i] = math.Pow(10000, -float64(i)/float64(c.half))
	}
	for i := range t.positions {
		t.positions[i] = int32(b.rand.IntN(4 << 20))
	}
	if b.rand.IntN(2) == 0 {
		t.scale = 1 + b.rand.Float64()/2
	}
	const eps = 1e-5
	qs, ks, vs := c.project(b, c.heads, c.qBias, c.qNorm), c.project(b, c.kvHeads, c.kBias, c.kNorm), c.project(b, c.kvHeads, c.vBias, false)
	kv := b.emptyKV(c.kvHeads, c.rows, c.hd)
	args := kernels.RotateArgs{
		Q: qs.x, K: ks.x, V: vs.x, QBias: qs.bias, KBias: ks.bias, VBias: vs.bias, QNorm: qs.norm, KNorm: ks.norm,
		NormEps: eps, NewKV: kv, HeadDim: c.hd, Interleaved: c.interleaved,
	}
	if c.half > 0 {
		args.Cos, args.Sin = b.table(t)
	}
	b.dev.RotateSplit(b.stream, args)
	name := fmt.Sprintf("%+v, ", c)
	b.near(name+"queries", b.read(qs.x), qs.want(c.hd, eps, t), 1e-5)
	b.near(name+"keys", b.read(kv.Keys()), byHead(ks.want(c.hd, eps, t), c.rows, c.kvHeads, c.hd), 1e-5)
	share := 0.0
	if c.vBias {
		share = 1e-6
	}
	b.near(name+"values", b.read(kv.Values()), byHead(vs.want(c.hd, eps, turns{}), c.rows, c.kvHeads, c.hd), share)
}

// projection is one of a pass's projections, and what is added to it and
// multiplies its heads.
type projection struct {
	x, bias, norm                kernels.Tensor
	numbers, biases, normWeights []float32
	width                        int
}

func (c rotation) project(b *bench, heads int, bias, norm bool) projection {
	b.t.Helper()
	p := projection{width: heads * c.hd}
	p.numbers = b.normal(c.rows * p.width)
	p.x = b.put(p.numbers, c.rows, p.width)
	if bias {
		p.biases = b.normal(p.width)
		p.bias = b.weight(bytesOf(p.biases), kernels.F32, 1, p.width)
	}
	if norm {
		p.normWeights = b.normal(c.hd)
		p.norm = b.weight(bytesOf(p.normWeights), kernels.F32, 1, c.hd)
	}
	return p
}

// want is what becomes of the projection: biases, then norms, then turns.
func (p projection) want(hd int, eps float64, t turns) []float64 {
	out := doubles(p.numbers)
	for i := range out {
		if p.biases != nil {
			out[i] += float64(p.biases[i%p.width])
		}
	}
	for at := 0; at < len(out); at += hd {
		head := out[at : at+hd]
		if p.normWeights != nil {
			copy(head, normed(head, p.normWeights, eps))
		}
		t.of(head, at/p.width)
	}
	return out
}

// byHead turns [rows, heads, hd] into [heads, rows, hd].
func byHead(x []float64, rows, heads, hd int) []float64 {
	out := make([]float64, 0, len(x))
	for h := range heads {
		for r := range rows {
			out = append(out, x[(r*heads+h)*hd:][:hd]...)
		}
	}
	return out
}
