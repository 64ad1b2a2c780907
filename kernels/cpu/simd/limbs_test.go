package simd

import (
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"headinfer/kernels"
)

// limbLevel selects a level with products of limbs.
func limbLevel(t *testing.T) {
	before := Level()
	t.Cleanup(func() {
		if err := Use(before); err != nil {
			t.Fatal(err)
		}
	})
	for _, s := range available {
		if s.limbBlock != nil {
			if err := Use(s.name); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Skip("this processor does not multiply bytes")
}

// unevenBlocks are numbers of which a few are far larger than those beside them, and
// some blocks are zero, tiny or huge.
func unevenBlocks(r *rand.Rand, n int) []float32 {
	x := normals(r, n)
	for b := 0; b < n; b += 32 {
		block := x[b:min(n, b+32)]
		scale := math.Exp2(float64(r.IntN(60) - 30))
		switch r.IntN(8) {
		case 0:
			scale = 0
		case 1:
			scale = math.Exp2(-140)
		case 2: // close to a power of two, where rounding could overflow
			block[0] = math.Nextafter32(8, 0)
		}
		for i := range block {
			block[i] *= float32(scale)
		}
		if r.IntN(2) == 0 {
			block[r.IntN(len(block))] *= 1e4
		}
	}
	return x
}

// limbTypes are the encodings that are multiplied with limbs.
func limbTypes() []kernels.DType {
	var types []kernels.DType
	for _, d := range kernels.DTypes() {
		if d.Quantized() {
			types = append(types, d)
		}
	}
	return types
}

// limb64 is element i of a vector in limbs, what one is worth there, and what is
// multiplied with the minimum, or the scale, of its block of 32 or group of 16.
func limb64(v Vector, i int) (x, worth, beside float64) {
	if v.limbs != nil {
		chunk := v.data[i/limbColumns*limbFloats:][:limbFloats]
		b := i / 32 % 4
		at := i % limbColumns
		if v.limbs.split {
			at = i%32/16*64 + b*16 + i%16
		}
		floats := chunk[limbScales/4:]
		return limbsAt(chunk, at) * float64(floats[2*b]), float64(floats[2*b]), float64(floats[2*b+1])
	}
	l := layouts[v.d-kernels.Q2K]
	chunk := v.data[i/superBlock*limbSuperFloats:][:limbSuperFloats]
	floats := chunk[2*limbScales/4:]
	i %= superBlock
	run, half := -1, 0
	for place := range superBlock / 32 {
		if int(l.order[64*(place/2)+8*(place%2)])/32 == i/32 {
			run, half = place/2, place%2
		}
	}
	at := run%2*64 + half*32 + i%32
	g := i / 16
	if l.group == 32 {
		g = i / 32
		worth, beside = float64(floats[g]), float64(floats[24+g])
	} else {
		worth, beside = float64(floats[g]), float64(floats[16+g])
	}
	return limbsAt(chunk[run/2*limbScales/4:], at) * worth, worth, beside
}

func limbsAt(chunk []float32, at int) float64 {
	bytes := unsafe.Slice((*int8)(unsafe.Pointer(&chunk[0])), limbScales)
	return 65536*float64(bytes[2*limbColumns+at]) + 256*float64(bytes[limbColumns+at]) + float64(bytes[at])
}

// TestLimbs checks that limbs stand for numbers as exactly as they promise, each at
// the place of its code, and that the sums beside them are theirs.
func TestLimbs(t *testing.T) {
	limbLevel(t)
	r := fresh(t)
	// What sums are multiplied with, and over how many elements they are.
	by := map[kernels.DType]float64{
		kernels.Q8_0: -128, kernels.Q4_0: -8, kernels.Q4_1: 1, kernels.Q5_0: -16, kernels.Q5_1: 1, kernels.IQ4NL: -128,
		kernels.Q2K: -1, kernels.Q3K: -4, kernels.Q4K: -1, kernels.Q5K: -1, kernels.Q6K: -32,
	}
	over := map[kernels.DType]int{kernels.Q2K: 16, kernels.Q3K: 16, kernels.Q6K: 16}
	for _, d := range limbTypes() {
		n := max(32, d.Block()) * (1 + r.IntN(13))
		x := unevenBlocks(r, n)
		v := Lay(x, d, poisoned(LayFloats(n)))
		group := max(over[d], 16)
		if over[d] == 0 {
			group = 32
		}
		var most, sum, norm float64
		for i, xi := range x {
			got, worth, beside := limb64(v, i)
			if off := math.Abs(got - float64(xi)); off > worth/2 {
				t.Fatalf("%s element %d: %g became %g, %g off where one is %g", d, i, xi, got, off, worth)
			}
			most, sum, norm = max(most, math.Abs(float64(xi))), sum+got, norm+math.Abs(got)
			if i%32 == 31 {
				if most > math.Exp2(-103) && worth > most*math.Exp2(-21.99) {
					t.Errorf("%s element %d: one is %g, and the largest %g", d, i, worth, most)
				}
				most = 0
			}
			if i%group == group-1 {
				if off := math.Abs(beside - by[d]*sum); off > 2e-7*math.Abs(by[d])*norm {
					t.Errorf("%s element %d: %g beside it, want %g", d, i, beside, by[d]*sum)
				}
				sum, norm = 0, 0
			}
		}
	}
}

// TestLimbProducts holds products to the bound that the package promises, and those of
// numbers of a size to that of float32 arithmetic.
func TestLimbProducts(t *testing.T) {
	limbLevel(t)
	r := fresh(t)
	const ulp = 1.0 / (1 << 24)
	for _, d := range limbTypes() {
		unit := max(32, d.Block())
		for trial := range 20 {
			n, k := 1+r.IntN(9), unit*(1+r.IntN(2048/unit))
			even := trial%2 == 0
			x := normals(r, k)
			if !even {
				x = unevenBlocks(r, k)
			}
			w := randomWeights(r, d, n*k)
			w64 := decoded64(w, d, n*k)
			y := poisoned(n)
			GEMV(y, Lay(x, d, poisoned(LayFloats(k))), w)
			for i, got := range y {
				want, terms, magnitude, limbs := limbBound(w64[i*k:][:k], x)
				off := math.Abs(float64(got) - want)
				if bound := limbs + (float64(k/128)+9)*ulp*magnitude; !(off <= bound) {
					t.Fatalf("%s k=%d row %d: %g, want %g: %.3g off, and the bound is %.3g", d, k, i, got, want, off, bound)
				}
				if bound := (float64(k/32) + 7) * ulp * terms; even && k >= 512 && !(off <= bound) {
					t.Fatalf("%s k=%d row %d: %g, want %g: %.3g off, and float32's bound is %.3g", d, k, i, got, want, off, bound)
				}
			}
		}
	}
}

// limbBound returns a product, what its terms add up to without their signs, the same
// where codes count from their least, and by how much limbs may be off. A group's random
// codes differ so much that none is further from zero than 16 times the largest weight.
func limbBound(w []float64, x []float32) (product, terms, magnitude, off float64) {
	for b := 0; b < len(w); b += 32 {
		var most, sum float64
		for i, v := range w[b : b+32] {
			most, sum = max(most, math.Abs(float64(x[b+i]))), sum+math.Abs(v)
		}
		off += sum * max(most*math.Exp2(-22.99), math.Exp2(-127))
		for g := b; g < b+32; g += 16 {
			var zero float64
			for _, v := range w[g : g+16] {
				zero = max(zero, 16*math.Abs(v))
			}
			for i, v := range w[g : g+16] {
				xi := float64(x[g+i])
				product += v * xi
				terms += math.Abs(v * xi)
				magnitude += (math.Abs(v) + 2*zero) * math.Abs(xi)
			}
		}
	}
	return product, terms, magnitude, off
}

// TestLimbsOfNoNumber: what is not a finite number is not lost.
func TestLimbsOfNoNumber(t *testing.T) {
	limbLevel(t)
	r := fresh(t)
	for _, d := range limbTypes() {
		unit := max(32, d.Block())
		for _, odd := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
			n, k := 5, unit*(1+r.IntN(5))
			x, y := normals(r, k), make([]float32, n)
			x[r.IntN(k)] = float32(odd)
			GEMV(y, Lay(x, d, poisoned(LayFloats(k))), randomWeights(r, d, n*k))
			for i, v := range y {
				if v == v {
					t.Errorf("%s: row %d with %g gave %g", d, i, odd, v)
				}
			}
		}
	}
}

// BenchmarkLay is what a product with limbs begins with.
func BenchmarkLay(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	const k = 4096
	x, scratch := normals(r, k), make([]float32, LayFloats(k))
	for _, d := range []kernels.DType{kernels.Q8_0, kernels.Q4_1, kernels.Q4K} {
		b.Run(d.String(), func(b *testing.B) {
			for b.Loop() {
				Lay(x, d, scratch)
			}
			b.ReportMetric(k*float64(b.N)/b.Elapsed().Seconds()/1e9, "Gelements/s")
		})
	}
}
