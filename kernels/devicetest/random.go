package devicetest

import (
	"encoding/binary"
	"errors"
	"math"
	"testing"
	"unsafe"

	"headinfer/kernels"
)

const (
	counterStep = 0x9e3779b97f4a7c15
	mixFactor   = 0xd6e8feb86659fd93
)

func mix(x uint64) uint64 {
	for range 2 {
		x = (x ^ x>>32) * mixFactor
	}
	return x ^ x>>32
}

// unmix undoes mix: xor with the upper half is its own inverse, and an odd
// factor has one (Newton's iteration doubles the bits that are right).
func unmix(x uint64) uint64 {
	inverse := uint64(mixFactor)
	for range 5 {
		inverse *= 2 - mixFactor*inverse
	}
	x ^= x >> 32
	for range 2 {
		x *= inverse
		x ^= x >> 32
	}
	return x
}

// normalAt is the plain form of the generator: number i of a seed, and the
// length of the vector whose first coordinate it is.
func normalAt(seed, i uint64) (z, length float64) {
	bits := mix(mix(seed+counterStep) + i*counterStep)
	u := (float32(uint32(bits)) + 0.5) * float32(math.Ldexp(1, -32))
	if largest := math.Nextafter32(1, 0); u > largest {
		u = largest
	}
	length = math.Sqrt(-2 * math.Log(float64(u)))
	return length * math.Cos(math.Pi*math.Ldexp(float64(float32(uint32(bits>>32))), -31)), length
}

// randomError bounds how far from normalAt a device's number may be: float32's
// rounding, and for a GPU an absolute error of 2^-21 in the logarithm of
// numbers around 1, which matters to short vectors alone.
func (b *bench) randomError(z, length float64) float64 {
	e := 1e-6 * (1 + math.Abs(z))
	if b.dev.Info().Kind == "cuda" {
		const logarithm = 1.0 / (1 << 21)
		e += min(2*logarithm/length, math.Sqrt(2*logarithm))
	}
	return e
}

// roundingOf returns the most that rounding x to an encoding changes.
func roundingOf(d kernels.DType, x float64) float64 {
	switch d {
	case kernels.BF16:
		return math.Abs(x) / (1 << 8)
	case kernels.F16:
		return math.Abs(x)/(1<<11) + 1.0/(1<<25)
	}
	return math.Abs(x) / (1 << 23)
}

// of takes a matrix of an encoding, all NaN.
func (b *bench) of(d kernels.DType, rows, cols int) kernels.Tensor {
	b.t.Helper()
	bytes := rows * cols * d.BlockBytes()
	buffer, err := b.dev.Alloc(int64(bytes), kernels.Activations, "test matrix")
	if err != nil {
		b.t.Fatal(err)
	}
	b.taken = append(b.taken, buffer)
	host := make([]byte, bytes)
	for i := range host {
		host[i] = 0xff
	}
	m := kernels.Matrix(buffer.Data, d, rows, cols)
	b.dev.CopyIn(b.stream, m, kernels.Matrix(unsafe.Pointer(unsafe.SliceData(host)), d, rows, cols))
	if err := b.stream.Synchronize(); err != nil {
		b.t.Fatal(err)
	}
	return m
}

// values returns a matrix's elements, whatever floating-point encoding it has.
func (b *bench) values(from kernels.Tensor) []float64 {
	b.t.Helper()
	n, size := from.Rows*from.Cols, from.DType.BlockBytes()
	host := make([]byte, n*size)
	b.dev.CopyOut(b.stream, kernels.Matrix(unsafe.Pointer(unsafe.SliceData(host)), from.DType, from.Rows, from.Cols), from)
	if err := b.stream.Synchronize(); err != nil {
		b.t.Fatal(err)
	}
	out := make([]float64, n)
	for i := range out {
		switch at := host[i*size:]; from.DType {
		case kernels.F32:
			out[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(at)))
		case kernels.BF16:
			out[i] = float64(fromBF16(binary.LittleEndian.Uint16(at)))
		case kernels.F16:
			bits := binary.LittleEndian.Uint16(at)
			out[i] = half(bits)
			if bits&0x7c00 == 0x7c00 {
				out[i] = math.NaN()
			}
		}
	}
	return out
}

func testRandom(t *testing.T, b *bench) {
	for _, d := range []kernels.DType{kernels.F32, kernels.F16, kernels.BF16} {
		for _, shape := range [][2]int{{1, 1}, {1, 4097}, {3, 256}, {129, 257}, {5, 1 + b.rand.IntN(9000)}, {66001, 3}} {
			rows, cols, gap := shape[0], shape[1], b.rand.IntN(20)
			seed, mean, deviation := b.rand.Uint64(), b.rand.NormFloat64(), 0.01+b.rand.Float64()
			whole := b.of(d, rows, cols+gap)
			b.dev.Random(b.stream, whole.ColRange(0, cols), seed, mean, deviation)
			got := b.values(whole)
			for r := range rows {
				for c := range cols {
					z, length := normalAt(seed, uint64(r*cols+c))
					want := mean + deviation*z
					limit := deviation*b.randomError(z, length) + 1e-6*math.Abs(mean) + 1.01*roundingOf(d, want)
					if g := got[r*(cols+gap)+c]; !(math.Abs(g-want) <= limit) {
						t.Fatalf("%s [%d, %d] with a gap of %d, seed %d: element (%d, %d) is %g, want %g to within %g",
							d, rows, cols, gap, seed, r, c, g, want, limit)
					}
				}
				for c := cols; c < cols+gap; c++ {
					if g := got[r*(cols+gap)+c]; g == g {
						t.Fatalf("%s [%d, %d] with a gap of %d: the gap after row %d has %g", d, rows, cols, gap, r, g)
					}
				}
			}
			b.drop()
		}
	}
}

// testRandomEnds makes seeds whose first number comes from the ends of both
// uniforms, where a logarithm is large, or so small that its error can turn
// its sign.
func testRandomEnds(t *testing.T, b *bench) {
	for _, radius := range []uint32{0, 1, 1 << 31, math.MaxUint32 - 400, math.MaxUint32 - 1, math.MaxUint32} {
		for _, angle := range []uint32{0, 1 << 29, 1 << 30, 1 << 31, 3 << 30, math.MaxUint32} {
			seed := unmix(unmix(uint64(angle)<<32|uint64(radius))) - counterStep
			out := b.of(kernels.F32, 1, 1)
			b.dev.Random(b.stream, out, seed, 0, 1)
			want, length := normalAt(seed, 0)
			if got := b.values(out)[0]; !(math.Abs(got-want) <= b.randomError(want, length)) {
				t.Errorf("uniforms %#x and %#x gave %g, want %g", radius, angle, got, want)
			}
			b.drop()
		}
	}
}

// testRandomMoments asks what any good generator gives: the moments of a normal
// distribution, and no correlation with neighbours or between seeds. The
// bounds are five standard errors.
func testRandomMoments(t *testing.T, b *bench) {
	const rows, cols, mean, deviation = 700, 701, 3, 0.5
	const n = rows * cols
	seed := b.rand.Uint64()
	first, second := b.of(kernels.F32, rows, cols), b.of(kernels.F32, rows, cols)
	b.dev.Random(b.stream, first, seed, mean, deviation)
	b.dev.Random(b.stream, second, seed+1, mean, deviation)
	x, other := b.values(first), b.values(second)
	var sums [4]float64
	var right, below, between float64
	for i := range x {
		z, o := (x[i]-mean)/deviation, (other[i]-mean)/deviation
		for p, power := 0, z; p < len(sums); p, power = p+1, power*z {
			sums[p] += power
		}
		right += z * (x[(i+1)%n] - mean) / deviation
		below += z * (x[(i+cols)%n] - mean) / deviation
		between += z * o
	}
	for _, m := range []struct {
		what              string
		sum, want, square float64
	}{
		{"mean", sums[0], 0, 1}, {"variance", sums[1], 1, 2}, {"skewness", sums[2], 0, 15}, {"fourth moment", sums[3], 3, 96},
		{"correlation with the next element", right, 0, 1}, {"correlation with the next row", below, 0, 1},
		{"correlation with the next seed", between, 0, 1},
	} {
		if got, limit := m.sum/n, 5*math.Sqrt(m.square/n); math.Abs(got-m.want) > limit {
			t.Errorf("seed %d: %s is %g, want %g to within %g", seed, m.what, got, m.want, limit)
		}
	}
}

func testNewWeight(t *testing.T, b *bench) {
	const vocabulary, hidden, seed, deviation = 100, 72, 7, 0.02
	before := b.dev.InUse()
	w, err := b.dev.NewWeight("test", kernels.BF16, vocabulary, hidden)
	if err != nil {
		t.Fatal(err)
	}
	if u := b.dev.Ledger().Usage(); u.Now[kernels.Weights] != 2*vocabulary*hidden || u.Used != 2*vocabulary*hidden {
		t.Errorf("after a weight of %s the ledger says %+v", w, u)
	}
	b.dev.Random(b.stream, w, seed, 0, deviation)
	ids := []int32{0, vocabulary - 1, 31}
	out := b.empty(len(ids), hidden)
	b.dev.Embed(b.stream, out, w, ids, 1)
	var want []float64
	for _, id := range ids {
		for c := range uint64(hidden) {
			z, _ := normalAt(seed, uint64(id)*hidden+c)
			want = append(want, deviation*z)
		}
	}
	b.near("rows of a random weight", b.read(out), want, 1./256)

	switch during := b.dev.InUse(); b.dev.Info().Kind {
	case "cpu":
		if before != 0 || during != 0 {
			t.Errorf("%d and %d bytes in use, and the processor has no such count", before, during)
		}
	case "cuda":
		if used := b.dev.Ledger().Usage().Used; during < used || before <= 0 {
			t.Errorf("%d bytes in use before and %d during, and the ledger has counted %d", before, during, used)
		}
	}
	if _, err := b.dev.NewWeight("blocks", kernels.Q4_0, 2, 33); err == nil {
		t.Error("a row that is no whole number of blocks was taken")
	}
	left := b.dev.Ledger().Left()
	_, err = b.dev.NewWeight("too large", kernels.F32, 1, int(left))
	var short *kernels.BudgetError
	if !errors.As(err, &short) || short.Purpose != kernels.Weights || short.Asked != 4*left {
		t.Errorf("a weight past the budget gave %v", err)
	}
}
