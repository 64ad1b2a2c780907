package simd

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
)

// sizes are around the vectors' lengths, and a model's.
var sizes = []int{1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 100, 576, 1536}

func TestExp(t *testing.T) {
	r := fresh(t)
	inf := float32(math.Inf(1))
	eachLevel(t, func(t *testing.T) {
		for range 200 {
			x := make([]float32, 1+r.IntN(1000))
			for i := range x {
				x[i] = float32(r.Float64()*176 - 87.3)
				if r.IntN(4) == 0 {
					x[i] = float32(r.NormFloat64())
				}
			}
			y := poisoned(len(x) + 1)
			Exp(y[:len(x)], x)
			for i, v := range x {
				want := math.Exp(float64(v))
				if want > math.MaxFloat32 {
					continue
				}
				w := float32(want)
				ulp := float64(math.Nextafter32(w, inf) - w)
				if d := math.Abs(float64(y[i]) - want); d > 2*ulp {
					t.Fatalf("exp(%g) = %g, want %g: %.2f ulp", v, y[i], want, d/ulp)
				}
			}
			if v := y[len(x)]; v == v {
				t.Fatal("wrote past y")
			}
		}
		x := []float32{-inf, inf, float32(math.NaN()), 0, -1000, 1000, -3e38, 3e38}
		x = slices.Concat(x, x)
		y := make([]float32, len(x))
		Exp(y, x)
		for i := range y {
			want := []float32{0, inf, 0, 1, 0, inf, 0, inf}[i%8]
			if i%8 == 2 {
				if y[i] == y[i] {
					t.Errorf("exp(NaN) = %g", y[i])
				}
				continue
			}
			if math.Abs(float64(y[i]-want)) > 1e-37 { // a subnormal is as good as 0
				t.Errorf("exp(%g) = %g, want %g", x[i], y[i], want)
			}
		}
	})
}

func TestRMSNorm(t *testing.T) {
	r := fresh(t)
	eachLevel(t, func(t *testing.T) {
		for _, n := range sizes {
			x, w, add := normals(r, n), normals(r, n), normals(r, n)
			y := poisoned(n + 1)
			RMSNorm(y[:n], x, w, 1e-5)
			check := func(what string, y, x []float32) {
				sum := 0.0
				for _, v := range x {
					sum += float64(v) * float64(v)
				}
				scale := 1 / math.Sqrt(sum/float64(n)+1e-5)
				for i, v := range x {
					want := float64(v) * scale * float64(w[i])
					near(t, what, i, y[i], want, math.Abs(want)+1e-3, 2e-6)
				}
			}
			check("rmsnorm", y, x)
			if y[n] == y[n] {
				t.Fatal("wrote past y")
			}
			y = append(slices.Clone(add), float32(math.NaN()))
			AddRMSNorm(y[:n], x, w, 1e-5)
			alone := poisoned(n)
			RMSNorm(alone, x, w, 1e-5)
			for i, v := range alone {
				want := float64(add[i]) + float64(v)
				near(t, "adding rmsnorm", i, y[i], want, math.Abs(float64(add[i]))+math.Abs(float64(v)), 1e-6)
			}
			if y[n] == y[n] {
				t.Fatal("wrote past y")
			}
			sum := slices.Clone(x)
			AddInto(sum, add)
			for i := range sum {
				if sum[i] != x[i]+add[i] {
					t.Fatalf("sum[%d] = %g, want %g", i, sum[i], x[i]+add[i])
				}
			}
			RMSNorm(sum, sum, w, 1e-5) // in place
			for i := range x {
				x[i] += add[i]
			}
			check("rmsnorm in place", sum, x)
		}
		RMSNorm(nil, nil, nil, 1e-5)
		AddRMSNorm(nil, nil, nil, 1e-5)
	})
}

func TestSwiGLU(t *testing.T) {
	r := fresh(t)
	eachLevel(t, func(t *testing.T) {
		for _, n := range sizes {
			gate, up, y := normals(r, n), normals(r, n), poisoned(n+1)
			for i := range gate {
				gate[i] *= 8
			}
			gate[0] = -200 // exp(200) is no float32
			gate[n-1] = 200
			SwiGLU(y[:n], gate, up)
			for i, v := range gate {
				want := float64(v) / (1 + math.Exp(-float64(v))) * float64(up[i])
				near(t, "swiglu", i, y[i], want, math.Abs(want)+1e-20, 1e-6)
			}
			if y[n] == y[n] {
				t.Fatal("wrote past y")
			}
		}
	})
}

func TestGeGLU(t *testing.T) {
	r := fresh(t)
	eachLevel(t, func(t *testing.T) {
		for _, n := range sizes {
			gate, up, y := normals(r, n), normals(r, n), poisoned(n+1)
			for i := range gate {
				gate[i] *= 3
			}
			gate[0], gate[n/2], gate[n-1] = -200, 1e30, 200
			if n > 8 {
				gate[5] = -1e30
			}
			GeGLU(y[:n], gate, up)
			for i, v := range gate {
				x := float64(v)
				z := math.Sqrt(2/math.Pi) * (x + 0.044715*x*x*x)
				want := x / (1 + math.Exp(-2*z)) * float64(up[i]) // what x/2·(1+tanh z) is, to the last digit
				near(t, fmt.Sprintf("geglu of %g", v), i, y[i], want, math.Abs(want)+1e-20, 2e-5)
			}
			if y[n] == y[n] {
				t.Fatal("wrote past y")
			}
		}
		y := poisoned(20)
		GeGLU(y, poisoned(20), normals(r, 20))
		for i, v := range y {
			if v == v {
				t.Fatalf("geglu of no number is %g at %d", v, i)
			}
		}
	})
}

// TestCap: small scores keep all their digits, and large ones come up to the
// limit and no further.
func TestCap(t *testing.T) {
	r := fresh(t)
	eachLevel(t, func(t *testing.T) {
		lanes := current.Load().lanes
		for range 200 {
			limit := float32(math.Exp(r.Float64()*8 - 3))
			x := normals(r, 3*lanes)
			for i := range x {
				x[i] *= limit * float32(math.Exp(r.Float64()*20-15))
			}
			x[0], x[1], x[2] = 0, 1e30, -1e30
			y := append(slices.Clone(x), float32(math.NaN()))
			c := attention{kernelSet: current.Load(), AttentionArgs: AttentionArgs{SoftCap: limit}}
			c.bound(y[:len(x)])
			for i, v := range x {
				want := float64(limit) * math.Tanh(float64(v)/float64(limit))
				near(t, fmt.Sprintf("%g capped at %g", v, limit), i, y[i], want, math.Abs(want)+1e-30, 5e-7)
				if y[i] > limit || y[i] < -limit {
					t.Fatalf("%g capped at %g is %g", v, limit, y[i])
				}
			}
		}
		y := poisoned(lanes)
		c := attention{kernelSet: current.Load(), AttentionArgs: AttentionArgs{SoftCap: 1}}
		c.bound(y)
		if y[0] == y[0] || y[lanes-1] == y[lanes-1] {
			t.Fatal("a cap made a number of none")
		}
	})
}

func TestRoPE(t *testing.T) {
	r := fresh(t)
	eachLevel(t, func(t *testing.T) {
		for _, half := range []int{4, 8, 16, 20, 32, 48, 64, 128} {
			for _, interleaved := range []bool{false, true} {
				x, cos, sin := normals(r, 2*half+3), make([]float32, half), make([]float32, half)
				for i := range cos {
					s, c := math.Sincos(r.Float64() * 100)
					cos[i], sin[i] = float32(c), float32(s)
				}
				got := slices.Clone(x)
				RoPE(got, cos, sin, interleaved)
				for i := range half {
					p, q := i, i+half
					if interleaved {
						p, q = 2*i, 2*i+1
					}
					a, b, c, s := float64(x[p]), float64(x[q]), float64(cos[i]), float64(sin[i])
					near(t, "first", i, got[p], a*c-b*s, math.Hypot(a, b), 1e-6)
					near(t, "second", i, got[q], a*s+b*c, math.Hypot(a, b), 1e-6)
				}
				if !slices.Equal(got[2*half:], x[2*half:]) {
					t.Fatal("turned what is past the rotated part")
				}
			}
		}
	})
}

func TestLevels(t *testing.T) {
	before := Level()
	if want := os.Getenv("HEADINFER_SIMD"); want == "" && before != Levels()[0] {
		t.Errorf("level %s in use, the fastest is %s", before, Levels()[0])
	}
	if err := Use("sse9"); err == nil || !strings.Contains(err.Error(), "go") || Level() != before {
		t.Errorf("Use of an unknown level: error %v, level %s", err, Level())
	}
	if !slices.Contains(Levels(), "go") {
		t.Errorf("levels %v lack go", Levels())
	}
}

func TestMeasurePeak(t *testing.T) {
	buf := make([]byte, 8<<20)
	for i := range buf {
		buf[i] = 1
	}
	eachLevel(t, func(t *testing.T) {
		if testing.Short() && Level() == "go" {
			t.Skip("a slow loop")
		}
		if p := MeasurePeak(buf); !(p.FLOPPerSecond > 1e7 && p.BytesPerSecond > 1e7) {
			t.Errorf("measured %+v", p)
		}
	})
}
