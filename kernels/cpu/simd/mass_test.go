package simd

import (
	"fmt"
	"math"
	"testing"

	"headinfer/kernels"
)

// mass64 is the definition in float64, for log-sum-exps [G][Rows].
func mass64(a AttentionArgs, k []float64, lse [][]float64) []float64 {
	mass := make([]float64, len(k)/a.HeadDim)
	for j := range mass {
		for r := range a.Rows {
			if j >= a.visible(r, len(mass)) {
				continue
			}
			for g := range a.G {
				s := 0.0
				for c := range a.HeadDim {
					s += float64(a.Q[r*a.QStride+g*a.HeadDim+c]) * k[j*a.HeadDim+c]
				}
				mass[j] += math.Exp(s*float64(a.Scale) - lse[g][r])
			}
		}
	}
	return mass
}

func TestAttentionMass(t *testing.T) {
	r := fresh(t)
	eachLevel(t, func(t *testing.T) {
		for i := range 60 {
			d, rows, g, keys, causal := randomShape(r)
			if i == 0 { // more than are transposed at a time
				d, rows, g, keys, causal = 32, 50, 2, massKeys+200, true
			}
			kv := []kernels.DType{kernels.F32, kernels.F32, kernels.F16, kernels.BF16}[r.IntN(4)]
			c := randomAttention(r, d, rows, g, keys, causal, kv)
			c.a.Pieces = c.pieces(r, 0, keys)
			_, lse := attention64(c.a, c.k, c.v)
			for h := range g {
				for row := range rows { // of queries that see nothing it is -Inf
					c.a.LSE[h*c.a.LSEStride+row] = float32(lse[h][row])
				}
			}
			before := normals(r, keys)
			mass := append(append([]float32(nil), before...), float32(math.NaN()))
			AttentionMass(mass[:keys], c.a, poisoned(MassScratch(c.a)))
			what := fmt.Sprintf("d=%d rows=%d of %d+%d g=%d keys=%d causal=%v %s mass", d, rows, c.a.RowOffset, c.a.Total, g, keys, causal, kv)
			for j, w := range mass64(c.a, c.k, lse) {
				near(t, what, j, mass[j], float64(before[j])+w, math.Abs(float64(before[j]))+w, 2e-5)
			}
			if v := mass[keys]; v == v {
				t.Fatalf("%s: wrote past the keys", what)
			}
		}
	})
}

// TestMassScratch: what a device takes ahead for attention is enough for this.
func TestMassScratch(t *testing.T) {
	for d := 8; d <= 512; d += 8 {
		for rows := 1; rows <= 70; rows++ {
			for g := 1; g <= 9; g++ {
				a := AttentionArgs{HeadDim: d, Rows: rows, G: g}
				if n, have := MassScratch(a), AttentionScratch(a); n > have {
					t.Fatalf("%d rows of %d heads of %d take %d floats, attention %d", rows, g, d, n, have)
				}
			}
		}
	}
}
