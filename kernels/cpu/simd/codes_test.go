package simd

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"headinfer/kernels"
)

// randomCodes makes blocks of random codes, scales of any exponent that f16 has
// (subnormal ones too) and minima that go with them.
func randomCodes(r *rand.Rand, d kernels.DType, blocks int) []byte {
	b := make([]byte, blocks*d.BlockBytes())
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	for at := 0; at < len(b); at += d.BlockBytes() {
		scale := uint16(r.Uint32N(0x5000)) // up to 32
		binary.LittleEndian.PutUint16(b[at:], scale)
		binary.LittleEndian.PutUint16(b[at+2:], FloatToHalf(float32(200*r.NormFloat64())*HalfToFloat(scale)))
	}
	return b
}

// decodedCodes is the documented layout of a block, in float64.
func decodedCodes(block []byte, n, i int) float64 {
	half := func(at int) float64 { return float64(HalfToFloat(binary.LittleEndian.Uint16(block[at:]))) }
	code := block[4+i%(len(block)-4)]
	switch {
	case len(block)-4 == n:
	case i < n/2:
		code &= 15
	default:
		code >>= 4
	}
	return half(0)*float64(code) + half(2)
}

func TestDequantizeCodes(t *testing.T) {
	r := fresh(t)
	eachLevel(t, func(t *testing.T) {
		for _, d := range kernels.KVCodes() {
			n, size := d.Block(), d.BlockBytes()
			for _, blocks := range []int{1, 2, 3, 8, 17} {
				src, got := randomCodes(r, d, blocks), poisoned(blocks*n+1)
				if err := Dequantize(got[:blocks*n], src, d); err != nil {
					t.Fatal(err)
				}
				for i, v := range got[:blocks*n] {
					want := decodedCodes(src[i/n*size:][:size], n, i%n)
					near(t, d.String(), i, v, want, math.Abs(want)+spread(src[i/n*size:], d), 1e-6)
				}
				if v := got[blocks*n]; v == v {
					t.Fatalf("%s: wrote past %d blocks", d, blocks)
				}
			}
			for _, headDim := range []int{64, 128, 192, 256, 32 * (1 + r.IntN(8))} {
				if headDim%n != 0 {
					continue
				}
				testKeys(t, r, d, headDim, 1+r.IntN(3))
			}
		}
	})
	if err := Dequantize(make([]float32, 32), make([]byte, 68), kernels.Int8G64); err == nil {
		t.Error("half a block was decoded")
	}
}

// spread is what lies between a block's least number and its largest.
func spread(block []byte, d kernels.DType) float64 {
	return float64(HalfToFloat(binary.LittleEndian.Uint16(block))) * float64(int(1)<<codeBits(d))
}

func testKeys(t *testing.T, r *rand.Rand, d kernels.DType, headDim, records int) {
	t.Helper()
	n, size := d.Block(), d.BlockBytes()
	src, got := randomCodes(r, d, records*headDim), poisoned(records*n*headDim+1)
	DequantizeKeys(got[:len(got)-1], src, d, headDim)
	for i, v := range got[:len(got)-1] {
		token, c := i/headDim, i%headDim
		block := src[(token/n*headDim+c)*size:][:size]
		want := decodedCodes(block, n, token%n)
		near(t, d.String()+" keys", i, v, want, math.Abs(want)+spread(block, d), 1e-6)
	}
	if v := got[len(got)-1]; v == v {
		t.Fatalf("%s: wrote past %d records of keys", d, records)
	}
}

func TestQuantize(t *testing.T) {
	r := fresh(t)
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, d := range kernels.KVCodes() {
		n, most := d.Block(), int(1)<<codeBits(d)-1
		for i, make := range []func(i int) float32{
			func(int) float32 { return float32(r.NormFloat64()) },
			func(int) float32 { return float32(-3 - r.Float64()) },
			func(int) float32 { return -1.7 },
			func(i int) float32 { return []float32{0, float32(math.Copysign(0, -1))}[i%2] },
			func(int) float32 { return float32(r.NormFloat64() * 1e-6) }, // f16 has no such scale
			func(int) float32 { return float32(r.NormFloat64() * 1e-9) },
			func(i int) float32 { return float32(r.NormFloat64()) * []float32{1, 300}[i%8/7] },
			func(int) float32 { return float32(r.NormFloat64() * 1e30) },
			func(i int) float32 { return []float32{-math.MaxFloat32, math.MaxFloat32}[i%2] },
			func(i int) float32 { return []float32{-inf, 1, inf}[i%3] },
		} {
			x, block := poisoned(n), poisonedBytes(d.BlockBytes()+1)
			for j := range x {
				x[j] = make(j)
			}
			if err := Quantize(block[:d.BlockBytes()], x, d); err != nil {
				t.Fatal(err)
			}
			if block[d.BlockBytes()] != 0xa5 {
				t.Fatalf("%s: wrote past the block", d)
			}
			block = block[:d.BlockBytes()]
			if w := wrongCode(block, x, d); w >= 0 {
				t.Errorf("%s, numbers of kind %d: %g became %g in steps of %g", d, i, x[w], decodedCodes(block, n, w), spread(block, d)/float64(most+1))
			}
		}
		x, block := normals(r, n), make([]byte, d.BlockBytes())
		x[r.IntN(n)] = []float32{nan, -nan}[r.IntN(2)]
		if err := Quantize(block, x, d); err != nil {
			t.Errorf("%s with a NaN: %v", d, err)
		}
		for i := range n {
			if v := decodedCodes(block, n, i); v == v {
				t.Errorf("%s with a NaN: number %d is %g", d, i, v)
			}
		}
		if err := Quantize(make([]byte, 2*d.BlockBytes()), x[:n-1], d); err == nil {
			t.Errorf("%s: part of a block was encoded", d)
		}
	}
}

func poisonedBytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = 0xa5
	}
	return b
}

// wrongCode returns the first of x that a block does not hold as its nearest
// code, or -1.
func wrongCode(block []byte, x []float32, d kernels.DType) int {
	top := float64(int(1)<<codeBits(d) - 1)
	scale, least := halfAt(block, 0), halfAt(block, 2)
	for i, v := range x {
		got := decodedCodes(block, len(x), i)
		want := math.Max(float64(least), math.Min(float64(v), float64(least)+top*float64(scale)))
		if !(math.Abs(got-want) <= 0.501*float64(scale)) || math.IsInf(got, 0) {
			return i
		}
	}
	return -1
}

func TestWrongCodesPanic(t *testing.T) {
	for name, f := range map[string]func(){
		"weights as keys": func() { DequantizeKeys(make([]float32, 64*64), make([]byte, 1<<14), kernels.Q4_1, 64) },
		"weights":         func() { _ = Quantize(make([]byte, 20), make([]float32, 32), kernels.Q4_1) },
		"short codes":     func() { DequantizeKeys(make([]float32, 64*64), make([]byte, 64*68-1), kernels.Int8G64, 64) },
		"part of a record": func() {
			DequantizeKeys(make([]float32, 65*64), make([]byte, 2*64*68), kernels.Int8G64, 64)
		},
		"a head of 96":  func() { DequantizeKeys(make([]float32, 64*96), make([]byte, 96*68), kernels.Int8G64, 96) },
		"short blocks":  func() { _ = Quantize(make([]byte, 67), make([]float32, 64), kernels.Int8G64) },
		"mass":          func() { AttentionMass(make([]float32, 1), massOfTwo(), make([]float32, 1<<14)) },
		"mass, scratch": func() { AttentionMass(make([]float32, 2), massOfTwo(), nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: was taken", name)
				}
			}()
			f()
		}()
	}
}

// massOfTwo is one query of two keys.
func massOfTwo() AttentionArgs {
	x := make([]float32, 16)
	return AttentionArgs{Q: x, Rows: 1, G: 1, HeadDim: 8, Pieces: []Piece{{K: x, V: x, Tokens: 2}}, LSE: x, Scale: 1}
}
