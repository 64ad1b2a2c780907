package simd

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"headinfer/kernels"
)

// fresh returns a generator whose seed is in the test's log.
func fresh(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// eachLevel runs f once under every level this CPU has.
func eachLevel(t *testing.T, f func(t *testing.T)) {
	before := Level()
	defer func() {
		if err := Use(before); err != nil {
			t.Fatal(err)
		}
	}()
	for _, name := range Levels() {
		if err := Use(name); err != nil {
			t.Fatal(err)
		}
		t.Run(name, f)
	}
}

func normals(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

// poisoned returns n NaNs: what a kernel leaves unwritten shows.
func poisoned(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(math.NaN())
	}
	return x
}

// putHalf encodes a normal f16 of about v by truncation.
func putHalf(b []byte, v float32) {
	u := math.Float32bits(v)
	e := int(u>>23&255) - 112
	h := uint16(0)
	if e > 0 {
		h = uint16(u>>16&0x8000) | uint16(e)<<10 | uint16(u>>13&1023)
	}
	binary.LittleEndian.PutUint16(b, h)
}

// randomWeights encodes n random elements of type d of magnitude about 1. Any
// bits are a valid weight, so the quantised blocks are random bits with scales
// in range. The slice ends where its array does.
func randomWeights(r *rand.Rand, d kernels.DType, n int) []byte {
	size, err := d.RowBytes(n)
	if err != nil {
		panic(err)
	}
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	for at, block := 0, d.BlockBytes(); at < size; at += block {
		v := float32(r.NormFloat64())
		switch d {
		case kernels.F32:
			binary.LittleEndian.PutUint32(b[at:], math.Float32bits(v))
		case kernels.F16:
			putHalf(b[at:], v)
		case kernels.BF16:
			binary.LittleEndian.PutUint16(b[at:], uint16(math.Float32bits(v)>>16))
		case kernels.Q8_0:
			putHalf(b[at:], v/64)
		case kernels.Q4_0, kernels.Q5_0:
			putHalf(b[at:], v/8)
		case kernels.Q4_1, kernels.Q5_1:
			putHalf(b[at:], v/8)
			putHalf(b[at+2:], float32(r.NormFloat64()))
		case kernels.IQ4NL:
			putHalf(b[at:], v/64)
		case kernels.Q2K:
			putHalf(b[at+80:], v/16)
			putHalf(b[at+82:], float32(r.NormFloat64()/8))
		case kernels.Q3K:
			putHalf(b[at+108:], v/64)
		case kernels.Q4K, kernels.Q5K:
			putHalf(b[at:], v/256)
			putHalf(b[at+2:], float32(r.NormFloat64()/32))
		case kernels.Q6K:
			putHalf(b[at+208:], v/1024)
		}
	}
	return b
}

// decoded64 decodes weights independently of the package, in float64.
func decoded64(b []byte, d kernels.DType, n int) []float64 {
	le := binary.LittleEndian
	half := func(at int) float64 {
		h := le.Uint16(b[at:])
		e, f := int(h>>10&31), float64(h&1023)
		v := math.Ldexp(1+f/1024, e-15)
		if e == 0 {
			v = math.Ldexp(f, -24)
		}
		if h&0x8000 != 0 {
			v = -v
		}
		return v
	}
	x := make([]float64, n)
	for i := range x {
		at, j := i/d.Block()*d.BlockBytes(), i%d.Block()
		nibble := func(from int) float64 { return float64(b[at+from+j%16] >> (4 * (j / 16)) & 15) }
		fifth := func(from int) float64 { return float64(le.Uint32(b[at+from:]) >> j & 1 * 16) }
		switch d {
		case kernels.F32:
			x[i] = float64(math.Float32frombits(le.Uint32(b[at:])))
		case kernels.F16:
			x[i] = half(at)
		case kernels.BF16:
			x[i] = float64(math.Float32frombits(uint32(le.Uint16(b[at:])) << 16))
		case kernels.Q8_0:
			x[i] = half(at) * float64(int8(b[at+2+j]))
		case kernels.Q4_0:
			x[i] = half(at) * (nibble(2) - 8)
		case kernels.Q4_1:
			x[i] = half(at)*nibble(4) + half(at+2)
		case kernels.Q5_0:
			x[i] = half(at) * (nibble(6) + fifth(2) - 16)
		case kernels.Q5_1:
			x[i] = half(at)*(nibble(8)+fifth(4)) + half(at+2)
		default:
			x[i] = super64(b[at:], d, j)
		}
	}
	return x
}

// near fails unless got is within tol·(scale of the terms summed) of want.
func near(t *testing.T, what string, i int, got float32, want, scale, tol float64) {
	t.Helper()
	if diff := math.Abs(float64(got) - want); !(diff <= tol*math.Max(scale, 1e-30)) {
		t.Fatalf("%s[%d] = %g, want %g (off by %.3g, %.3g of the terms' norm)", what, i, got, want, diff, diff/scale)
	}
}
