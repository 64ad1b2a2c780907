package cpu_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"headinfer/kernels"
	"headinfer/kernels/cpu"
	"headinfer/kernels/cpu/simd"
)

// TestRoundProducts compares a device that rounds with float64 sums of what it is to
// multiply: rounded activations with bf16 weights from some rows on, else those that it
// was given, to the bit as a device that does not round.
func TestRoundProducts(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	devices := [2]*cpu.Device{cpu.Open(64<<20, 3), cpu.Open(64<<20, 3)}
	defer func() {
		for _, dev := range devices {
			if err := dev.Close(); err != nil {
				t.Error(err)
			}
		}
	}()
	if err := devices[1].RoundProducts(); err != nil {
		t.Skip(err)
	}
	if got := devices[1].Info().Products; got != kernels.BF16 {
		t.Errorf("a device that rounds says that it multiplies in %s", got)
	}
	if got := devices[0].Info().Products; got != 0 {
		t.Errorf("a device that does not round says that it multiplies in %s", got)
	}
	for range 30 {
		rows := kernels.ExactRows - 2 + r.IntN(60)
		cols := 2 + r.IntN(300)
		types := []kernels.DType{kernels.BF16, kernels.BF16}
		if r.IntN(4) == 0 {
			types[1] = kernels.F32
		}
		rounds := rows > kernels.ExactRows && cols%2 == 0 && types[1] == kernels.BF16
		x := make([]float32, rows*(cols+3))
		for i := range x {
			x[i] = float32(r.NormFloat64())
		}
		in := kernels.Matrix(unsafe.Pointer(unsafe.SliceData(x)), kernels.F32, rows, cols+3).ColRange(1, 1+cols)
		outs, decoded := 0, []float32(nil)
		var encoded [][]byte
		for _, d := range types {
			n := 1 + r.IntN(150)
			encoded, outs = append(encoded, someWeights(t, r, d, n*cols)), outs+n
		}
		accumulate := r.IntN(2) == 1
		before := make([]float32, rows*outs)
		for i := range before {
			before[i] = float32(r.NormFloat64())
		}
		var got [2][]float32
		for i, dev := range devices {
			var weights []kernels.Tensor
			decoded = decoded[:0]
			for j, d := range types {
				row, err := d.RowBytes(cols)
				if err != nil {
					t.Fatal(err)
				}
				w, err := dev.Weight("test", encoded[j], d, len(encoded[j])/row, cols)
				if err != nil {
					t.Fatal(err)
				}
				plain := make([]float32, w.Rows*cols)
				if err := simd.Dequantize(plain, encoded[j], d); err != nil {
					t.Fatal(err)
				}
				weights, decoded = append(weights, w), append(decoded, plain...)
			}
			got[i] = append([]float32(nil), before...)
			s := dev.NewStream("test")
			dev.Linear(s, kernels.Matrix(unsafe.Pointer(unsafe.SliceData(got[i])), kernels.F32, rows, outs), in, weights, accumulate)
			if err := s.Synchronize(); err != nil {
				t.Fatal(err)
			}
		}
		for i, y := range got[1] {
			if !rounds {
				if math.Float32bits(y) != math.Float32bits(got[0][i]) {
					t.Fatalf("%d rows of %d, %v: element %d is %g, and %g where nothing is rounded", rows, cols, types, i, y, got[0][i])
				}
				continue
			}
			var want, norm float64
			for c, v := range x[i/outs*(cols+3)+1:][:cols] {
				term := float64(nearestBF16(v)) * float64(decoded[i%outs*cols+c])
				want += term
				norm += term * term
			}
			if norm = math.Sqrt(norm); accumulate {
				want += float64(before[i])
				norm += math.Abs(float64(before[i]))
			}
			if off := math.Abs(float64(y) - want); !(off <= 4e-6*norm) {
				t.Fatalf("%d rows of %d: element %d is %g, want %g", rows, cols, i, y, want)
			}
		}
	}
}

// nearestBF16 rounds a normal number in float64.
func nearestBF16(v float32) float32 {
	_, e := math.Frexp(float64(v))
	return float32(math.Ldexp(math.RoundToEven(math.Ldexp(float64(v), 8-e)), e-8))
}

// TestRoundProductsWithoutInstructions is refused at levels without them.
func TestRoundProductsWithoutInstructions(t *testing.T) {
	for _, level := range simd.Levels() {
		t.Run(level, func(t *testing.T) {
			use(t, level)
			dev := cpu.Open(1<<20, 1)
			err := dev.RoundProducts()
			if can := simd.CanPairs(); !errors.Is(err, can) || level != "avx512vnni" && can == nil {
				t.Errorf("rounding: %v; products of pairs: %v", err, can)
			}
			if rounds := dev.Info().Products != 0; rounds != (err == nil) {
				t.Errorf("rounds: %t after %v", rounds, err)
			}
			if err := dev.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
