package cpu_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"headinfer/kernels"
	"headinfer/kernels/cpu"
	"headinfer/kernels/cpu/simd"
)

// TestLinearOfEveryType compares products with every encoding of weights, from one
// row on, with those of the decoded weights in float64.
func TestLinearOfEveryType(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	for _, level := range simd.Levels() {
		t.Run(level, func(t *testing.T) {
			use(t, level)
			dev := cpu.Open(64<<20, 3)
			defer func() {
				if err := dev.Close(); err != nil {
					t.Error(err)
				}
			}()
			s := dev.NewStream("test")
			for _, d := range kernels.DTypes() {
				for _, rows := range []int{1, 4, 17, 70} {
					linearOf(t, r, dev, s, d, rows)
				}
			}
		})
	}
}

func linearOf(t *testing.T, r *rand.Rand, dev *cpu.Device, s kernels.Stream, d kernels.DType, rows int) {
	t.Helper()
	cols, outs := max(32, d.Block())*(1+r.IntN(3)), 1+2*r.IntN(20)
	data, decoded := someWeights(t, r, d, cols*outs), make([]float32, cols*outs)
	if err := simd.Dequantize(decoded, data, d); err != nil {
		t.Fatal(err)
	}
	w, err := dev.Weight("test", data, d, outs, cols)
	if err != nil {
		t.Fatal(err)
	}
	x, y := make([]float32, rows*cols), make([]float32, rows*outs)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	matrix := func(values []float32, cols int) kernels.Tensor {
		return kernels.Matrix(unsafe.Pointer(unsafe.SliceData(values)), kernels.F32, rows, cols)
	}
	dev.Linear(s, matrix(y, outs), matrix(x, cols), []kernels.Tensor{w}, false)
	if err := s.Synchronize(); err != nil {
		t.Fatal(err)
	}
	for i, got := range y {
		var want, norm float64
		from, weights := x[i/outs*cols:], decoded[i%outs*cols:]
		for c := range cols {
			p := float64(from[c]) * float64(weights[c])
			want += p
			norm += p * p
		}
		if off := math.Abs(float64(got) - want); !(off <= 1e-5*math.Sqrt(norm)) {
			t.Fatalf("%s [%d, %d], %d rows: row %d, output %d is %g, want %g", d, outs, cols, rows, i/outs, i%outs, got, want)
		}
	}
}

// TestLinearsAreThoseOfEach compares several weights in one call with a call each,
// to the bit: how the work is divided does not change a sum.
func TestLinearsAreThoseOfEach(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	dev := cpu.Open(64<<20, 3)
	defer func() {
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	}()
	s := dev.NewStream("test")
	all := kernels.DTypes()
	for range 60 {
		rows, cols := 1+r.IntN(6), 256*(1+r.IntN(4))
		x := make([]float32, rows*cols)
		for i := range x {
			x[i] = float32(r.NormFloat64())
		}
		in := kernels.Matrix(unsafe.Pointer(unsafe.SliceData(x)), kernels.F32, rows, cols)
		var weights []kernels.Tensor
		outs := 0
		for range 1 + r.IntN(4) {
			d, n := all[r.IntN(len(all))], 1+r.IntN(300)
			w, err := dev.Weight("test", someWeights(t, r, d, n*cols), d, n, cols)
			if err != nil {
				t.Fatal(err)
			}
			weights, outs = append(weights, w), outs+n
		}
		accumulate := r.IntN(2) == 1
		got, want := make([]float32, rows*(outs+3)), make([]float32, rows*(outs+3))
		for i := range got {
			got[i] = float32(r.NormFloat64())
			want[i] = got[i]
		}
		view := func(y []float32) kernels.Tensor {
			return kernels.Matrix(unsafe.Pointer(unsafe.SliceData(y)), kernels.F32, rows, outs+3).ColRange(1, 1+outs)
		}
		dev.Linear(s, view(got), in, weights, accumulate)
		at := 0
		for i, w := range weights {
			dev.Linear(s, view(want).ColRange(at, at+w.Rows), in, weights[i:i+1], accumulate)
			at += w.Rows
		}
		if err := s.Synchronize(); err != nil {
			t.Fatal(err)
		}
		for i := range got {
			if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
				t.Fatalf("%v, %d rows: element %d is %g in one call and %g in several", weights, rows, i, got[i], want[i])
			}
		}
	}
}

// someWeights returns n encoded elements: random bits, under scales and minima that
// are numbers around one.
func someWeights(t testing.TB, r *rand.Rand, d kernels.DType, n int) []byte {
	t.Helper()
	bytes, err := d.RowBytes(n)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, bytes)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	halves := map[kernels.DType][]int{
		kernels.F16: {0}, kernels.Q8_0: {0}, kernels.Q4_0: {0}, kernels.Q4_1: {0, 2}, kernels.Q5_0: {0}, kernels.Q5_1: {0, 2},
		kernels.Q2K: {80, 82}, kernels.Q3K: {108}, kernels.Q4K: {0, 2}, kernels.Q5K: {0, 2}, kernels.Q6K: {208}, kernels.IQ4NL: {0},
	}
	for block := b; len(block) > 0; block = block[d.BlockBytes():] {
		v := math.Float32bits(float32(r.NormFloat64()))
		switch d {
		case kernels.F32:
			binary.LittleEndian.PutUint32(block, v)
		case kernels.BF16:
			binary.LittleEndian.PutUint16(block, uint16(v>>16))
		}
		for _, at := range halves[d] {
			binary.LittleEndian.PutUint16(block[at:], simd.FloatToHalf(float32(r.NormFloat64())))
		}
	}
	return b
}
