package cpu

import (
	"math"
	"math/rand/v2"
	"testing"

	"headinfer/kernels"
	"headinfer/kernels/cpu/simd"
)

func TestLogarithmAndCosine(t *testing.T) {
	near := func(what string, x, got, want, limit float64) {
		t.Helper()
		if !(math.Abs(got-want) <= limit) {
			t.Errorf("%s of %g is %.12g, want %.12g", what, x, got, want)
		}
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 200_000 {
		u := float32(math.Ldexp(r.Float64(), -r.IntN(33)))
		if u == 0 {
			continue
		}
		want := math.Log(float64(u))
		near("logarithm", float64(u), logarithm(u), want, 1e-10*math.Abs(want))
		turn := 2 * r.Float64()
		near("cosine", turn, cosine(turn), math.Cos(math.Pi*turn), 1e-9)
	}
	for _, u := range []float32{0x1p-33, 0x1p-32, 0.5, math.Nextafter32(1, 0), float32(math.Sqrt2 / 2), 1} {
		want := math.Log(float64(u))
		near("logarithm", float64(u), logarithm(u), want, 1e-10*math.Abs(want))
	}
	for _, turn := range []float64{0, 0.5, 1, 1.5, 2} {
		near("cosine", turn, cosine(turn), math.Cos(math.Pi*turn), 1e-9)
	}
}

// TestRoundingToHalf goes through every finite f16 and the points between it
// and the next.
func TestRoundingToHalf(t *testing.T) {
	for h := uint16(0); h < 0x7bff; h++ {
		low, high := float64(simd.HalfToFloat(h)), float64(simd.HalfToFloat(h+1))
		middle := float32((low + high) / 2)
		even := h + h&1
		for _, c := range []struct {
			x    float32
			want uint16
		}{
			{float32(low), h},
			{math.Nextafter32(middle, 0), h}, {middle, even}, {math.Nextafter32(middle, math.MaxFloat32), h + 1},
		} {
			if got := toF16(c.x); got != c.want {
				t.Fatalf("%g became %#04x, want %#04x", c.x, got, c.want)
			}
			if got := toF16(-c.x); got != c.want|0x8000 && c.x != 0 {
				t.Fatalf("%g became %#04x, want %#04x", -c.x, got, c.want|0x8000)
			}
		}
	}
	if got := toF16(65519.996); got != 0x7bff {
		t.Errorf("what rounds down to the largest became %#04x", got)
	}
	if got := toF16(-65520); got != 0xfc00 {
		t.Errorf("what rounds past the largest became %#04x", got)
	}
}

func TestRoundingToBF16(t *testing.T) {
	for _, c := range []struct {
		bits uint32
		want uint16
	}{
		{0x3f800000, 0x3f80}, {0x3f807fff, 0x3f80}, {0x3f808000, 0x3f80}, {0x3f808001, 0x3f81},
		{0x3f818000, 0x3f82}, {0xbf818000, 0xbf82}, {0x3fffffff, 0x4000}, {0, 0},
	} {
		if got := toBF16(math.Float32frombits(c.bits)); got != c.want {
			t.Errorf("%#x became %#x, want %#x", c.bits, got, c.want)
		}
	}
}

func TestRandomRefuses(t *testing.T) {
	d := Open(1<<20, 1)
	defer func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}()
	w, err := d.NewWeight("test", kernels.Q8_0, 2, 32)
	if err != nil {
		t.Fatal(err)
	}
	s := d.NewStream("test")
	d.Random(s, w, 1, 0, 1)
	if err := s.Synchronize(); err == nil {
		t.Error("random numbers were written to a quantised matrix")
	}
}

func BenchmarkRandom(b *testing.B) {
	d := Open(1<<30, 0)
	defer func() {
		if err := d.Close(); err != nil {
			b.Error(err)
		}
	}()
	const rows, cols = 4096, 4096
	w, err := d.NewWeight("test", kernels.BF16, rows, cols)
	if err != nil {
		b.Fatal(err)
	}
	s := d.NewStream("test")
	for b.Loop() {
		d.Random(s, w, 1, 0, 0.02)
		if err := s.Synchronize(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(rows*cols*float64(b.N)/b.Elapsed().Seconds()/1e6, "M/s")
}
