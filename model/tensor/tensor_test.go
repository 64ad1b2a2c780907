package tensor

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"headinfer/kernels"
)

func TestSize(t *testing.T) {
	cases := []struct {
		d     kernels.DType
		shape []int
		want  int // -1 for an error
	}{
		{kernels.F32, nil, 4},
		{kernels.F16, []int{3}, 6},
		{kernels.BF16, []int{5, 7}, 70},
		{kernels.Q4_1, []int{3, 64}, 120},
		{kernels.Q8_0, []int{2, 3, 32}, 204},
		{kernels.Q4K, []int{3, 512}, 864},
		{kernels.Q6K, []int{2, 384}, -1},
		{kernels.IQ4NL, []int{2, 96}, 108},
		{kernels.F32, []int{0}, 0},
		{kernels.F32, []int{3, 0, 5}, 0},
		{kernels.Q4_0, []int{7, 0}, 0},
		{kernels.Q8_0, nil, -1},
		{kernels.Q8_0, []int{32, 33}, -1},
		{kernels.F32, []int{-1}, -1},
		{kernels.F32, []int{-1, 0}, -1},
		{kernels.F32, []int{-2, -2}, -1},
		{kernels.Invalid, []int{1}, -1},
		{kernels.F32, []int{math.MaxInt}, -1},
		{kernels.F32, []int{math.MaxInt, math.MaxInt, 0}, -1},
		{kernels.F32, []int{0, math.MaxInt, math.MaxInt, 1}, -1},
		{kernels.F16, []int{math.MaxInt / 2, 1}, math.MaxInt - 1},
		{kernels.F16, []int{math.MaxInt/2 + 1, 1}, -1},
		// More elements than an int counts, in fewer bytes.
		{kernels.Q4_0, []int{math.MaxInt/64 + 1, 64}, -1},
	}
	for _, c := range cases {
		got, err := Size(c.d, c.shape)
		if (err != nil) != (c.want < 0) || err == nil && got != c.want {
			t.Errorf("Size(%s, %v) = %d, %v, want %d", c.d, c.shape, got, err, c.want)
		}
	}
}

// Random shapes, many of them too large, against arithmetic without a limit.
func TestSizeAgainstBig(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	most := big.NewInt(math.MaxInt)
	for range 20000 {
		d := kernels.DTypes()[r.IntN(len(kernels.DTypes()))]
		shape := make([]int, 1+r.IntN(4))
		elements := big.NewInt(1)
		for i := range shape {
			shape[i] = 1 + int(r.Uint64()>>(1+r.IntN(63)))%(math.MaxInt>>6)
			if i == len(shape)-1 {
				shape[i] = (shape[i] + d.Block() - 1) / d.Block() * d.Block()
			}
			elements.Mul(elements, big.NewInt(int64(shape[i])))
		}
		bytes := new(big.Int).Div(elements, big.NewInt(int64(d.Block())))
		bytes.Mul(bytes, big.NewInt(int64(d.BlockBytes())))
		fits := elements.Cmp(most) <= 0 && bytes.Cmp(most) <= 0
		got, err := Size(d, shape)
		if (err == nil) != fits || fits && int64(got) != bytes.Int64() {
			t.Fatalf("Size(%s, %v) = %d, %v, want %v (fits: %v)", d, shape, got, err, bytes, fits)
		}
	}
}

func TestString(t *testing.T) {
	w := Tensor{Name: "blk.0.attn_q.weight", DType: kernels.Q4_1, Shape: []int{576, 1536}}
	if got, want := w.String(), "blk.0.attn_q.weight q4_1 [576, 1536]"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := FormatShape(nil); got != "[]" {
		t.Errorf("%q, want []", got)
	}
}
