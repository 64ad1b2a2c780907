package simd

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// eachPairs runs f under every level that multiplies pairs, if there is one.
func eachPairs(t *testing.T, f func(t *testing.T)) {
	before := Level()
	defer func() {
		if err := Use(before); err != nil {
			t.Fatal(err)
		}
	}()
	some := false
	for _, name := range Levels() {
		if err := Use(name); err != nil {
			t.Fatal(err)
		}
		if CanPairs() == nil {
			some = true
			t.Run(name, f)
		}
	}
	if !some {
		t.Skip(ErrNoPairs)
	}
}

// bf16Bits are random bf16: numbers around one and, of any, some bits, but for
// infinities and those that are not numbers.
func bf16Bits(r *rand.Rand, any bool) uint16 {
	if !any || r.IntN(4) > 0 {
		return uint16(math.Float32bits(float32(r.NormFloat64())) >> 16)
	}
	for {
		if b := uint16(r.Uint32()); b&0x7f80 != 0x7f80 {
			return b
		}
	}
}

// flushed is a number, or a zero of its sign if it is below the normal ones.
func flushed(f float32) float32 {
	if b := math.Float32bits(f); b&0x7f800000 == 0 {
		return math.Float32frombits(b & 0x80000000)
	}
	return f
}

// fused returns a·b + c, rounded once, where a·b has at most 16 bits: as a sum in
// float64 whose last bit says whether there was more (rounding to odd), it rounds to
// a float32 as the exact one does.
func fused(a, b, c float32) float32 {
	p, q := float64(flushed(a))*float64(flushed(b)), float64(flushed(c))
	s := p + q
	v := s - p
	if rest := (p - (s - v)) + (q - v); rest != 0 && math.Float64bits(s)&1 == 0 {
		s = math.Nextafter(s, math.Copysign(math.Inf(1), rest))
	}
	return flushed(float32(s))
}

// dotPairs is the plain one: the odd column of each pair first.
func dotPairs(x []float32, w []uint16) float32 {
	sum := float32(0)
	for c := 0; c < len(w); c += 2 {
		sum = fused(rounded(x[c+1]), bf16(w[c+1]), sum)
		sum = fused(rounded(x[c]), bf16(w[c]), sum)
	}
	return sum
}

func bf16(b uint16) float32 { return math.Float32frombits(uint32(b) << 16) }

func rounded(f float32) float32 { return bf16(roundBF16(f)) }

// TestRoundPairs compares with rounding in float64, whichever part of a row it is in.
func TestRoundPairs(t *testing.T) {
	r := fresh(t)
	special := []uint32{0, 1 << 31, 1, 0x7fffff, 0x800000, 0x80800000, 0x7f7fffff, 0x7f7f7fff, 0x7f7f8000, 0x7f800000, 0xff800000, 0x7f800001, 0x7fffffff, 0xffc00000,
		0x3f808000, 0x3f818000, 0x3f808001, 0x3f817fff}
	eachPairs(t, func(t *testing.T) {
		for range 200 {
			k := 2 * (1 + r.IntN(80))
			x := make([]float32, k)
			for i := range x {
				x[i] = math.Float32frombits(r.Uint32())
				if r.IntN(3) == 0 {
					x[i] = math.Float32frombits(special[r.IntN(len(special))])
				}
			}
			var p Packed
			p.BeginPairs(1, k)
			p.PackPairs(x, k, 0, 1)
			for i, f := range x {
				got := bf16(uint16(math.Float32bits(p.data[i/2]) >> (16 * (i % 2))))
				want := float64(flushed(f))
				if _, e := math.Frexp(want); want != 0 && !math.IsInf(want, 0) {
					want = math.Ldexp(math.RoundToEven(math.Ldexp(want, 8-e)), e-8)
				}
				if want == want != (got == got) || want == want && (float32(want) != got || math.Signbit(want) != math.Signbit(float64(got))) {
					t.Fatalf("%g (%#x) of %d is rounded to %g, want %g", f, math.Float32bits(f), k, got, want)
				}
			}
			for i, f := range p.data[k/2:] {
				if math.Float32bits(f) != 0 {
					t.Fatalf("element %d behind %d columns is %g", i, k, f)
				}
			}
		}
	})
}

// TestGEMMPairs compares to the bit with the plain one and, within float32's error,
// with float64 sums of the rounded numbers.
func TestGEMMPairs(t *testing.T) {
	r := fresh(t)
	eachPairs(t, func(t *testing.T) {
		for i := range 60 {
			m, n, k := 1+r.IntN(40), 1+r.IntN(130), 2*(1+r.IntN(200))
			if i == 0 {
				k = 4*1024 + 2*r.IntN(1280) // more than one panel
			}
			testGEMMPairs(t, r, m, n, k, r.IntN(2) == 0, i%2 == 1)
		}
	})
}

func testGEMMPairs(t *testing.T, r *rand.Rand, m, n, k int, accumulate, any bool) {
	t.Helper()
	what := fmt.Sprintf("m=%d n=%d k=%d accumulate=%t", m, n, k, accumulate)
	ldx, ldy := k+r.IntN(5), n+r.IntN(5)
	x, y, before := poisoned(m*ldx), poisoned(m*ldy), normals(r, m*ldy)
	w, data := make([]uint16, n*k), make([]byte, 2*n*k)
	for i := range w {
		w[i] = bf16Bits(r, any)
		binary.LittleEndian.PutUint16(data[2*i:], w[i])
	}
	for row := range m {
		for c := range k {
			x[row*ldx+c] = float32(r.NormFloat64())
			if any && r.IntN(8) == 0 {
				x[row*ldx+c] = bf16(bf16Bits(r, true))
			}
		}
		if accumulate {
			copy(y[row*ldy:][:n], before[row*ldy:])
		}
	}
	x, y = x[:(m-1)*ldx+k], y[:(m-1)*ldy+n]
	p := Packed{data: poisoned(2 * PackedFloats(m, k))}
	p.BeginPairs(m, k)
	for lo := 0; lo < m; lo += 7 {
		p.PackPairs(x, ldx, lo, min(m, lo+7))
	}
	GEMMPairs(y, ldy, &p, data, n, accumulate, poisoned(GEMMScratch(k)))
	for row := range m {
		for j := range n {
			got, from, weights := y[row*ldy+j], x[row*ldx:][:k], w[j*k:][:k]
			if k <= 2*panelCols {
				want := dotPairs(from, weights)
				if accumulate {
					want += before[row*ldy+j]
				}
				if math.Float32bits(want) != math.Float32bits(got) && (want == want || got == got) {
					t.Fatalf("%s: row %d, output %d is %g (%#x), the plain one %g (%#x)", what, row, j, got, math.Float32bits(got), want, math.Float32bits(want))
				}
			}
			if any {
				continue // of numbers of all sizes a sum has no bound worth the name
			}
			var want, norm float64
			for c := range from {
				term := float64(rounded(from[c])) * float64(bf16(weights[c]))
				want += term
				norm += term * term
			}
			norm = math.Sqrt(norm)
			if accumulate {
				want += float64(before[row*ldy+j])
				norm += math.Abs(float64(before[row*ldy+j]))
			}
			near(t, what, row*n+j, got, want, norm, 4e-6)
		}
		for j := n; j < ldy && row*ldy+j < len(y); j++ {
			if v := y[row*ldy+j]; v == v {
				t.Fatalf("%s: wrote between rows", what)
			}
		}
	}
}

func TestShortSlicesOfPairsPanic(t *testing.T) {
	eachPairs(t, func(t *testing.T) {
		var p Packed
		p.BeginPairs(2, 32)
		p.PackPairs(make([]float32, 64), 32, 0, 2)
		scratch := make([]float32, GEMMScratch(32))
		for name, f := range map[string]func(){
			"x":       func() { p.PackPairs(make([]float32, 63), 32, 0, 2) },
			"y":       func() { GEMMPairs(make([]float32, 7), 4, &p, make([]byte, 256), 4, false, scratch) },
			"w":       func() { GEMMPairs(make([]float32, 8), 4, &p, make([]byte, 255), 4, false, scratch) },
			"scratch": func() { GEMMPairs(make([]float32, 8), 4, &p, make([]byte, 256), 4, false, nil) },
		} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("a short %s was taken", name)
					}
				}()
				f()
			}()
		}
	})
}
