// Package devicetest is one test suite over every implementation of
// kernels.Device. Each operator is compared with a plain computation in
// float64 on fresh random inputs, through the device's own copies, with the
// outputs poisoned beforehand.
package devicetest

import (
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"headinfer/kernels"
)

// Open makes a device with a budget in bytes, to be closed by the test.
type Open func(t *testing.T, budget int64) kernels.Device

// Run runs the whole suite.
func Run(t *testing.T, open Open) {
	for name, test := range map[string]func(*testing.T, *bench){
		"Embed": testEmbed, "RMSNorm": testRMSNorm, "Linear": testLinear, "Linears": testLinears, "Rotary": testRotary,
		"GLU": testGLU, "Convert": testConvert, "Attention": testAttention, "AttentionMasks": testMasks,
		"AttentionLists": testAttentionLists, "Merge": testMerge, "Copies": testCopies, "Pageable": testPageable, "Scatter": testScatter,
		"KVCodes": testKVCodes, "AttentionMass": testAttentionMass,
		"Random": testRandom, "RandomEnds": testRandomEnds, "RandomMoments": testRandomMoments, "NewWeight": testNewWeight,
		"StreamsAndEvents": testStreams, "Budget": testBudget, "Failure": testFailure,
	} {
		t.Run(name, func(t *testing.T) {
			const budget = 256 << 20
			b := newBench(t, open(t, budget))
			test(t, b)
			b.close()
		})
	}
}

// bench is a device with a stream and a source of random numbers.
type bench struct {
	t      *testing.T
	dev    kernels.Device
	stream kernels.Stream
	rand   *rand.Rand
	taken  []kernels.Buffer
	broken bool // the test made the device fail
}

func newBench(t *testing.T, dev kernels.Device) *bench {
	seed := rand.Uint64()
	t.Logf("seed %d on %s", seed, dev.Info().Name)
	return &bench{t: t, dev: dev, stream: dev.NewStream("test"), rand: rand.New(rand.NewPCG(seed, 0))}
}

func (b *bench) close() {
	if err := b.stream.Synchronize(); (err != nil) != b.broken {
		b.t.Errorf("the stream ended with %v", err)
	}
	b.drop()
	if err := b.dev.Close(); err != nil {
		b.t.Errorf("closing the device: %v", err)
	}
}

// drop gives back what the test has taken, which nothing may be using.
func (b *bench) drop() {
	for _, buffer := range b.taken {
		b.dev.Free(buffer)
	}
	b.taken = nil
}

// normal returns n numbers of a normal distribution that activations can hold.
func (b *bench) normal(n int) []float32 {
	x, narrow := make([]float32, n), b.dev.Info().Activations == kernels.BF16
	for i := range x {
		x[i] = float32(b.rand.NormFloat64())
		if narrow {
			x[i] = fromBF16(toBF16(x[i]))
		}
	}
	return x
}

// toBF16 rounds to the nearest, to even in the middle.
func toBF16(x float32) uint16 {
	bits := math.Float32bits(x)
	if x != x {
		return uint16(bits>>16) | 64
	}
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}

func fromBF16(x uint16) float32 { return math.Float32frombits(uint32(x) << 16) }

// empty takes a poisoned matrix of activations with a gap between its rows.
func (b *bench) empty(rows, cols int) kernels.Tensor { return b.put(poison(rows*cols), rows, cols) }

func poison(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(math.NaN())
	}
	return x
}

// put copies values to the device as activations, in a matrix with wider rows.
func (b *bench) put(values []float32, rows, cols int) kernels.Tensor {
	const gap = 16
	m := b.alloc(rows, cols+gap).ColRange(0, cols)
	b.write(m, values)
	return m
}

func (b *bench) alloc(rows, cols int) kernels.Tensor {
	b.t.Helper()
	dt := b.dev.Info().Activations
	buffer, err := b.dev.Alloc(int64(rows*cols*dt.BlockBytes()), kernels.Activations, "test matrix")
	if err != nil {
		b.t.Fatal(err)
	}
	b.taken = append(b.taken, buffer)
	return kernels.Matrix(buffer.Data, dt, rows, cols)
}

func (b *bench) write(to kernels.Tensor, values []float32) {
	b.t.Helper()
	host := hostMatrix(values, to.Rows, to.Cols)
	if to.DType == kernels.BF16 {
		narrow := make([]uint16, len(values))
		for i, v := range values {
			narrow[i] = toBF16(v)
		}
		host = kernels.Matrix(unsafe.Pointer(unsafe.SliceData(narrow)), kernels.BF16, to.Rows, to.Cols)
	}
	b.dev.CopyIn(b.stream, to, host)
	if err := b.stream.Synchronize(); err != nil {
		b.t.Fatal(err)
	}
}

// read returns a matrix's elements.
func (b *bench) read(from kernels.Tensor) []float32 {
	b.t.Helper()
	values := poison(from.Rows * from.Cols)
	host := hostMatrix(values, from.Rows, from.Cols)
	narrow := make([]uint16, len(values))
	if from.DType == kernels.BF16 {
		host = kernels.Matrix(unsafe.Pointer(unsafe.SliceData(narrow)), kernels.BF16, from.Rows, from.Cols)
	}
	b.dev.CopyOut(b.stream, host, from)
	if err := b.stream.Synchronize(); err != nil {
		b.t.Fatal(err)
	}
	if from.DType == kernels.BF16 {
		for i, v := range narrow {
			values[i] = fromBF16(v)
		}
	}
	return values
}

func hostMatrix(values []float32, rows, cols int) kernels.Tensor {
	return kernels.Matrix(unsafe.Pointer(unsafe.SliceData(values)), kernels.F32, rows, cols)
}

// near fails unless got is want to within a share of want's largest element,
// or, where activations are bf16, to within one rounding to it and a little.
func (b *bench) near(what string, got []float32, want []float64, share float64) {
	b.t.Helper()
	if b.dev.Info().Activations == kernels.BF16 {
		const rounding = 1.0 / 256
		share = max(share, 1.5*rounding)
	}
	if len(got) != len(want) {
		b.t.Fatalf("%s: %d elements, want %d", what, len(got), len(want))
	}
	largest := 0.0
	for _, w := range want {
		if !math.IsInf(w, 0) {
			largest = max(largest, math.Abs(w))
		}
	}
	for i, w := range want {
		g := float64(got[i])
		if g == w {
			continue
		}
		if !(math.Abs(g-w) <= share*max(largest, 1e-3)) {
			b.t.Fatalf("%s: element %d is %g, want %g (largest %g)", what, i, g, w, largest)
		}
	}
}
