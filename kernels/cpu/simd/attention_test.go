package simd

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"headinfer/kernels"
)

// attention64 is the definition in float64: out [rows][G*HeadDim], lse [G][rows].
func attention64(a AttentionArgs, k, v []float64) (out [][]float64, lse [][]float64) {
	d := a.HeadDim
	keys := len(k) / d
	out, lse = make([][]float64, a.Rows), make([][]float64, a.G)
	for g := range lse {
		lse[g] = make([]float64, a.Rows)
	}
	for r := range a.Rows {
		out[r] = make([]float64, a.G*d)
		from, see := 0, keys
		if a.Causal {
			newest := keys - a.Total + a.RowOffset + r
			see = max(0, min(keys, newest+1))
			if a.Window > 0 {
				from = min(see, max(0, newest-a.Window+1))
			}
		}
		for g := range a.G {
			s := make([]float64, see-from)
			top := math.Inf(-1)
			for j := range s {
				for c := range d {
					s[j] += float64(a.Q[r*a.QStride+g*d+c]) * k[(from+j)*d+c]
				}
				s[j] *= float64(a.Scale)
				if limit := float64(a.SoftCap); limit > 0 {
					s[j] = limit * math.Tanh(s[j]/limit)
				}
				top = max(top, s[j])
			}
			sum := 0.0
			for j := range s {
				s[j] = math.Exp(s[j] - top)
				sum += s[j]
			}
			for j := range s {
				for c := range d {
					out[r][g*d+c] += s[j] / sum * v[(from+j)*d+c]
				}
			}
			lse[g][r] = top + math.Log(sum)
		}
	}
	return out, lse
}

type attentionCase struct {
	a    AttentionArgs
	k, v []float64
	// the keys as one piece, encoded as a.KVType
	kb, vb []byte
}

func randomAttention(r *rand.Rand, d, rows, g, keys int, causal bool, kv kernels.DType) attentionCase {
	c := attentionCase{kb: randomWeights(r, kv, keys*d), vb: randomWeights(r, kv, keys*d)}
	c.k, c.v = decoded64(c.kb, kv, keys*d), decoded64(c.vb, kv, keys*d)
	a := &c.a
	*a = AttentionArgs{
		Rows: rows, G: g, HeadDim: d, KVType: kv, Causal: causal, Total: rows,
		QStride: g*d + r.IntN(9), OutStride: g*d + r.IntN(9), LSEStride: rows + r.IntN(3),
		Scale: float32(1.5 / math.Sqrt(float64(d))),
	}
	if causal && r.IntN(2) == 0 {
		a.RowOffset = r.IntN(4)
		a.Total += a.RowOffset + r.IntN(4)
	}
	a.Q = poisoned((rows-1)*a.QStride + g*d)
	for i := range rows {
		copy(a.Q[i*a.QStride:][:g*d], normals(r, g*d))
	}
	a.Out, a.LSE = poisoned((rows-1)*a.OutStride+g*d), poisoned((g-1)*a.LSEStride+rows)
	return c
}

// restrict may give the case a cap and, with a causal mask, a window.
func (c *attentionCase) restrict(r *rand.Rand) {
	if r.IntN(2) == 0 {
		c.a.SoftCap = []float32{0.5, 3, 50}[r.IntN(3)]
	}
	if c.a.Causal && r.IntN(2) == 0 {
		c.a.Window = 1 + r.IntN([]int{4, 60, 700}[r.IntN(3)])
	}
}

// piece returns keys [from, to) in memory that ends where they end.
func (c *attentionCase) piece(from, to int) Piece {
	d := c.a.HeadDim
	p := Piece{Tokens: to - from}
	size := c.a.KVType.BlockBytes()
	k, v := c.kb[from*d*size:to*d*size], c.vb[from*d*size:to*d*size]
	if c.a.KVType != kernels.F32 {
		p.KRaw, p.VRaw = append([]byte(nil), k...), append([]byte(nil), v...)
		return p
	}
	p.K, p.V = make([]float32, (to-from)*d), make([]float32, (to-from)*d)
	for i := range p.K {
		p.K[i] = math.Float32frombits(binary.LittleEndian.Uint32(k[4*i:]))
		p.V[i] = math.Float32frombits(binary.LittleEndian.Uint32(v[4*i:]))
	}
	return p
}

// pieces cuts [from, to) at random points.
func (c *attentionCase) pieces(r *rand.Rand, from, to int) []Piece {
	var out []Piece
	for from < to {
		n := min(to-from, 1+r.IntN(to-from))
		if r.IntN(4) == 0 {
			n = min(to-from, 1)
		}
		out = append(out, c.piece(from, from+n))
		from += n
	}
	return out
}

func (c *attentionCase) check(t *testing.T, what string) {
	t.Helper()
	a := c.a
	out, lse := attention64(a, c.k, c.v)
	for r := range a.Rows {
		for i, w := range out[r] {
			near(t, what+" out row "+fmt.Sprint(r), i, a.Out[r*a.OutStride+i], w, 1, 2e-5)
		}
		for g := range a.G {
			got, want := a.LSE[g*a.LSEStride+r], lse[g][r]
			if math.IsInf(want, -1) && math.IsInf(float64(got), -1) {
				continue
			}
			near(t, what+" lse row "+fmt.Sprint(r), g, got, want, math.Abs(want)+1, 2e-6)
		}
		if r+1 < a.Rows {
			for i := a.G * a.HeadDim; i < a.OutStride; i++ {
				if v := a.Out[r*a.OutStride+i]; v == v {
					t.Fatalf("%s wrote between rows", what)
				}
			}
		}
	}
}

func randomShape(r *rand.Rand) (d, rows, g, keys int, causal bool) {
	d = []int{32, 64, 96, 128, 256, 8, 40, 72}[r.IntN(8)]
	rows = []int{1, 1, 2, 3, 5, 8, 17, 40, 65}[r.IntN(9)]
	g = 1 + r.IntN(5)
	if r.IntN(8) == 0 {
		g = 8
	}
	keys = []int{r.IntN(4), 1 + r.IntN(40), 1 + r.IntN(700)}[r.IntN(3)]
	return d, rows, g, keys, r.IntN(2) == 0
}

func TestAttention(t *testing.T) {
	r := fresh(t)
	eachLevel(t, func(t *testing.T) {
		for range 60 {
			d, rows, g, keys, causal := randomShape(r)
			kv := []kernels.DType{kernels.F32, kernels.F32, kernels.F16, kernels.BF16}[r.IntN(4)]
			c := randomAttention(r, d, rows, g, keys, causal, kv)
			c.restrict(r)
			c.a.Pieces = c.pieces(r, 0, keys)
			Attention(c.a, poisoned(AttentionScratch(c.a)))
			c.check(t, fmt.Sprintf("d=%d rows=%d of %d+%d g=%d keys=%d causal=%v window=%d cap=%g %s",
				d, rows, c.a.RowOffset, c.a.Total, g, keys, causal, c.a.Window, c.a.SoftCap, kv))
		}
	})
}

// TestMergedSpans cuts the keys in spans, attends to each by itself and merges.
func TestMergedSpans(t *testing.T) {
	r := fresh(t)
	eachLevel(t, func(t *testing.T) {
		for range 30 {
			d, rows, g, keys, causal := randomShape(r)
			c := randomAttention(r, d, rows, g, keys, causal, kernels.F32)
			if r.IntN(2) == 0 {
				c.a.SoftCap = 2
			}
			what := fmt.Sprintf("d=%d rows=%d g=%d keys=%d causal=%v cap=%g", d, rows, g, keys, causal, c.a.SoftCap)
			// Of the newest span the causal rule is the same; the older ones are
			// seen whole, unless more queries than keys make them partly seen.
			newest := max(0, keys-rows-8)
			past := c.a
			past.Causal = false
			at := 0
			for at < newest {
				to := at + 1 + r.IntN(newest-at)
				past.Pieces = c.pieces(r, at, to)
				past.Merge = at > 0
				Attention(past, poisoned(AttentionScratch(past)))
				at = to
			}
			last := c.a
			last.Pieces = c.pieces(r, at, keys)
			last.Merge = at > 0
			Attention(last, poisoned(AttentionScratch(last)))
			c.check(t, what)
		}
	})
}

// TestBeforeTheWindow: keys that no query's window reaches are not read, so
// that a window costs no more however long the text.
func TestBeforeTheWindow(t *testing.T) {
	r := fresh(t)
	eachLevel(t, func(t *testing.T) {
		for range 40 {
			d, rows, g, _, _ := randomShape(r)
			keys := rows + 300 + r.IntN(600)
			c := randomAttention(r, d, rows, g, keys, true, kernels.F32)
			c.restrict(r)
			c.a.Window = 1 + r.IntN(200)
			c.a.Pieces = c.pieces(r, 0, keys)
			unread := c.a.reach(0, keys) * d
			for _, p := range c.a.Pieces {
				n := min(unread, len(p.K))
				copy(p.K, poisoned(n))
				copy(p.V, poisoned(n))
				unread -= n
			}
			Attention(c.a, poisoned(AttentionScratch(c.a)))
			c.check(t, fmt.Sprintf("d=%d rows=%d of %d+%d g=%d keys=%d window=%d cap=%g", d, rows, c.a.RowOffset, c.a.Total, g, keys, c.a.Window, c.a.SoftCap))
		}
	})
}

func TestAttentionRefuses(t *testing.T) {
	r := fresh(t)
	for name, change := range map[string]func(a *AttentionArgs){
		"a window without a causal mask": func(a *AttentionArgs) { a.Causal, a.Window = false, 5 },
		"a negative window":              func(a *AttentionArgs) { a.Window = -1 },
		"a negative cap":                 func(a *AttentionArgs) { a.SoftCap = -1 },
		"a cap that is no number":        func(a *AttentionArgs) { a.SoftCap = float32(math.NaN()) },
	} {
		c := randomAttention(r, 32, 3, 2, 10, true, kernels.F32)
		c.a.Pieces = c.pieces(r, 0, 10)
		change(&c.a)
		if !panics(func() { Attention(c.a, poisoned(AttentionScratch(c.a))) }) {
			t.Errorf("attention took %s", name)
		}
	}
	for _, window := range []int{0, 5} {
		c := randomAttention(r, 32, 3, 2, 10, true, kernels.F32)
		c.a.Pieces = c.pieces(r, 0, 10)
		c.a.Window, c.a.SoftCap = window, float32(5-window)
		if !panics(func() { AttentionMass(make([]float32, 10), c.a, poisoned(MassScratch(c.a))) }) {
			t.Errorf("attention mass took a window of %d and a cap of %g", c.a.Window, c.a.SoftCap)
		}
	}
}

func panics(f func()) (did bool) {
	defer func() { did = recover() != nil }()
	f()
	return false
}

func TestMergeLSE(t *testing.T) {
	r := fresh(t)
	eachLevel(t, func(t *testing.T) {
		rows, n, ld, ld2 := 9, 37, 40, 38
		o1, o2 := normals(r, rows*ld), normals(r, rows*ld2)
		l1, l2 := normals(r, rows), normals(r, rows)
		inf := float32(math.Inf(-1))
		l1[1], l2[2], l1[3], l2[3] = inf, inf, inf, inf
		l1[4], l2[5] = 3e4, -3e4 // far apart: no overflow
		for c := range n {
			o1[1*ld+c], o2[2*ld2+c] = float32(math.NaN()), float32(math.NaN()) // "nothing" is not read
		}
		got, lse := append([]float32(nil), o1...), append([]float32(nil), l1...)
		MergeLSE(got, ld, lse, o2, ld2, l2, n)
		for i := range rows {
			top := math.Max(float64(l1[i]), float64(l2[i]))
			if math.IsInf(top, -1) {
				if !math.IsInf(float64(lse[i]), -1) || got[i*ld] != 0 || got[i*ld+n-1] != 0 {
					t.Fatalf("row %d saw nothing: out %g, lse %g", i, got[i*ld], lse[i])
				}
				continue
			}
			e1, e2 := math.Exp(float64(l1[i])-top), math.Exp(float64(l2[i])-top)
			near(t, "lse", i, lse[i], top+math.Log(e1+e2), math.Abs(top)+1, 1e-6)
			for c := range n {
				want := 0.0
				if e1 > 0 {
					want += e1 / (e1 + e2) * float64(o1[i*ld+c])
				}
				if e2 > 0 {
					want += e2 / (e1 + e2) * float64(o2[i*ld2+c])
				}
				near(t, "out", c, got[i*ld+c], want, 1, 1e-5)
			}
		}
	})
}

// TestManyKeys: over 300,000 keys of equal weight, the outputs are the values'
// mean and the log-sum-exp is the keys' logarithm. Sums that lose digits as they
// grow would show.
func TestManyKeys(t *testing.T) {
	if testing.Short() {
		t.Skip("300,000 keys take a second in plain Go")
	}
	r := fresh(t)
	const d, keys = 8, 300_000
	k, v := make([]float32, keys*d), make([]float32, keys*d)
	mean := make([]float64, d)
	for i := range v {
		v[i] = 1 + r.Float32()
		mean[i%d] += float64(v[i]) / keys
	}
	eachLevel(t, func(t *testing.T) {
		for _, rows := range []int{1, 20} {
			c := randomAttention(r, d, rows, 1, 1, false, kernels.F32)
			c.a.Pieces = []Piece{{K: k, V: v, Tokens: keys}}
			Attention(c.a, poisoned(AttentionScratch(c.a)))
			for i := range rows {
				near(t, "lse", i, c.a.LSE[i], math.Log(keys), 1, 5e-6)
				for j, w := range mean {
					near(t, "out", j, c.a.Out[i*c.a.OutStride+j], w, w, 2e-5)
				}
			}
		}
	})
}

// TestNoAllocation: these run for every tile of every token.
func TestNoAllocation(t *testing.T) {
	r := fresh(t)
	eachLevel(t, func(t *testing.T) {
		for _, rows := range []int{1, 40} {
			c := randomAttention(r, 64, rows, 3, 70, true, kernels.BF16)
			c.a.Pieces = c.pieces(r, 0, 70)
			scratch := make([]float32, AttentionScratch(c.a))
			if n := testing.AllocsPerRun(3, func() { Attention(c.a, scratch) }); n != 0 {
				t.Errorf("attention of %d rows allocates %g times", rows, n)
			}
			mass := make([]float32, 70)
			if n := testing.AllocsPerRun(3, func() { AttentionMass(mass, c.a, scratch) }); n != 0 {
				t.Errorf("attention mass of %d rows allocates %g times", rows, n)
			}
		}
		const m, n, k = 5, 50, 96
		w, x, y := randomWeights(r, kernels.Q4_1, n*k), normals(r, m*k), make([]float32, m*n)
		scratch := make([]float32, GEMMScratch(k))
		var p Packed
		Pack(&p, x, k, m, k)
		for name, f := range map[string]func(){
			"pack":    func() { Pack(&p, x, k, m, k) },
			"gemm":    func() { GEMM(y, n, &p, w, kernels.Q4_1, n, false, scratch) },
			"gemv":    func() { GEMV(y[:n], Lay(x[:k], kernels.Q4_1, scratch), w) },
			"rmsnorm": func() { RMSNorm(x[:k], x[:k], x[:k], 1e-5) },
		} {
			if n := testing.AllocsPerRun(3, f); n != 0 {
				t.Errorf("%s allocates %g times", name, n)
			}
		}
	})
}
