package simd

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"headinfer/kernels"
)

func TestDequantize(t *testing.T) {
	r := fresh(t)
	eachLevel(t, func(t *testing.T) {
		for _, d := range kernels.DTypes() {
			for _, blocks := range []int{1, 2, 3, 7, 33} {
				n := blocks * d.Block()
				src := randomWeights(r, d, n)
				got, want := poisoned(n+1), decoded64(src, d, n)
				if err := Dequantize(got[:n], src, d); err != nil {
					t.Fatal(err)
				}
				for i, w := range want {
					near(t, d.String(), i, got[i], w, math.Abs(w)+1, 1e-6)
				}
				if got[n] == got[n] {
					t.Fatalf("%s: wrote past %d elements", d, n)
				}
			}
		}
	})
	if err := Dequantize(make([]float32, 31), make([]byte, 100), kernels.Q4_0); err == nil {
		t.Error("part of a block was decoded")
	}
	if err := Dequantize(make([]float32, 64), make([]byte, 35), kernels.Q4_0); err == nil {
		t.Error("a short source was decoded")
	}
}

func TestHalfToFloat(t *testing.T) {
	for h := range 1 << 16 {
		e, f := h>>10&31, float64(h&1023)
		want := math.Ldexp(1024+f, max(e, 1)-25)
		switch {
		case e == 0:
			want = math.Ldexp(f, -24)
		case e == 31 && f == 0:
			want = math.Inf(1)
		case e == 31:
			want = math.NaN()
		}
		got := float64(HalfToFloat(uint16(h)))
		if math.Signbit(got) != (h>>15 == 1) || !(math.Abs(got) == want || got != got && want != want) {
			t.Fatalf("%#04x gives %g, want ±%g", h, got, want)
		}
	}
}

// dots64 returns W·x row by row, and the norms that an error is relative to.
func dots64(w []float64, x []float32, n int) (dots, norms []float64) {
	dots, norms = make([]float64, n), make([]float64, n)
	for i := range n {
		for c, v := range x {
			p := w[i*len(x)+c] * float64(v)
			dots[i] += p
			norms[i] += p * p
		}
		norms[i] = math.Sqrt(norms[i])
	}
	return dots, norms
}

func TestGEMV(t *testing.T) {
	r := fresh(t)
	eachLevel(t, func(t *testing.T) {
		for _, d := range kernels.DTypes() {
			for range 12 {
				n, k := 1+r.IntN(70), (1+r.IntN(20))*max(32, d.Block())
				if !d.Quantized() {
					k += r.IntN(32) - 31
				}
				w, x := randomWeights(r, d, n*k), normals(r, k)
				want, norm := dots64(decoded64(w, d, n*k), x, n)
				y := poisoned(n + 1)
				GEMV(y[:n], Lay(x, d, poisoned(LayFloats(k))), w)
				for i := range want {
					near(t, fmt.Sprintf("%s n=%d k=%d", d, n, k), i, y[i], want[i], norm[i], 1e-5)
				}
				if y[n] == y[n] {
					t.Fatal("wrote past y")
				}
			}
		}
	})
}

func TestGEMM(t *testing.T) {
	r := fresh(t)
	eachLevel(t, func(t *testing.T) {
		for _, d := range kernels.DTypes() {
			for i := range 8 {
				unit := max(32, d.Block())
				m, n, k := 1+r.IntN(40), 1+r.IntN(130), (1+r.IntN(12))*unit
				if i == 0 {
					k = 4*1024 + r.IntN(1280/unit)*unit // more than one block of k
				}
				if !d.Quantized() {
					k -= r.IntN(32)
				}
				testGEMM(t, r, d, m, n, k, r.IntN(2) == 0)
			}
		}
	})
}

func testGEMM(t *testing.T, r *rand.Rand, d kernels.DType, m, n, k int, accumulate bool) {
	t.Helper()
	ldx, ldy := k+r.IntN(5), n+r.IntN(5)
	w, x := randomWeights(r, d, n*k), poisoned(m*ldx)
	y, before := poisoned(m*ldy), normals(r, m*ldy)
	for i := range m {
		copy(x[i*ldx:][:k], normals(r, k))
		if accumulate {
			copy(y[i*ldy:][:n], before[i*ldy:])
		}
	}
	var p Packed
	Pack(&p, x[:(m-1)*ldx+k], ldx, m, k)
	GEMM(y[:(m-1)*ldy+n], ldy, &p, w, d, n, accumulate, poisoned(GEMMScratch(k)))
	w64 := decoded64(w, d, n*k)
	for i := range m {
		want, norm := dots64(w64, x[i*ldx:][:k], n)
		for j := range want {
			if accumulate {
				want[j] += float64(before[i*ldy+j])
				norm[j] += math.Abs(float64(before[i*ldy+j]))
			}
			near(t, fmt.Sprintf("%s m=%d n=%d k=%d row %d", d, m, n, k, i), j, y[i*ldy+j], want[j], norm[j], 1e-5)
		}
		for j := n; j < ldy; j++ {
			if v := y[i*ldy+j]; v == v {
				t.Fatalf("%s m=%d n=%d k=%d wrote between rows", d, m, n, k)
			}
		}
	}
}

func TestShortSlicesPanic(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		var p Packed
		Pack(&p, make([]float32, 64), 32, 2, 32)
		for name, f := range map[string]func(){
			"gemv w":     func() { GEMV(make([]float32, 2), Lay(make([]float32, 32), kernels.Q4_0, nil), make([]byte, 35)) },
			"gemv block": func() { GEMV(make([]float32, 1), Lay(make([]float32, 33), kernels.Q4_0, nil), make([]byte, 99)) },
			"gemm y": func() {
				GEMM(make([]float32, 7), 4, &p, make([]byte, 72), kernels.Q4_0, 4, false, make([]float32, GEMMScratch(32)))
			},
			"gemm scratch": func() { GEMM(make([]float32, 8), 4, &p, make([]byte, 72), kernels.Q4_0, 4, false, nil) },
			"pack":         func() { Pack(&p, make([]float32, 63), 32, 2, 32) },
		} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%s: a short slice was taken", name)
					}
				}()
				f()
			}()
		}
	})
}
