//go:build cuda && cgo && linux

package cuda

import (
	"math"
	"strings"
	"testing"

	"headinfer/kernels"
)

func TestCheckCoded(t *testing.T) {
	coded := kernels.KV{DType: kernels.Int4G32, Heads: 2, Tokens: 96, HeadDim: 64, HeadStride: 96 * 64}
	plain := func(tokens int) kernels.KV {
		return kernels.KV{DType: activations, Heads: 2, Tokens: tokens, HeadDim: 64, HeadStride: tokens * 64}
	}
	if err := kernels.CheckCoded(activations, coded, plain(1), plain(0), plain(95)); err != nil {
		t.Error(err)
	}
	with := func(change func(coded, plain *kernels.KV)) error {
		c, p := coded, plain(96)
		change(&c, &p)
		return kernels.CheckCoded(activations, c, p)
	}
	for want, err := range map[string]error{
		"bf16 is not an encoding":     with(func(c, _ *kernels.KV) { c.DType = kernels.BF16 }),
		"q4_0 is not an encoding":     with(func(c, _ *kernels.KV) { c.DType = kernels.Q4_0 }),
		"of 64 channels are not":      with(func(c, _ *kernels.KV) { c.Tokens = 95 }),
		"of 48 channels are not":      with(func(c, _ *kernels.KV) { c.HeadDim = 48 }),
		"2 heads of 64 in f32 beside": with(func(_, p *kernels.KV) { p.DType = kernels.F32 }),
		"3 heads of 64":               with(func(_, p *kernels.KV) { p.Heads = 3 }),
		"97 tokens beside 96":         with(func(_, p *kernels.KV) { p.Tokens = 97 }),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}

func TestCheckRotate(t *testing.T) {
	f32 := func(rows, cols int) kernels.Tensor {
		return kernels.Tensor{DType: kernels.F32, Rows: rows, Cols: cols, Stride: cols}
	}
	projected := func(cols int) kernels.Tensor {
		return kernels.Tensor{DType: activations, Rows: 3, Cols: cols, Stride: cols}
	}
	with := func(change func(a *kernels.RotateArgs)) (int, error) {
		a := kernels.RotateArgs{
			Q: projected(4 * 80), K: projected(2 * 80), V: projected(2 * 80), Cos: f32(3, 16), Sin: f32(3, 16), HeadDim: 80,
			NewKV: kernels.KV{DType: activations, Heads: 2, Tokens: 3, HeadDim: 80, HeadStride: 240},
		}
		change(&a)
		return checkRotate(a)
	}
	for want, change := range map[int]func(a *kernels.RotateArgs){
		16: func(a *kernels.RotateArgs) { a.QBias, a.VBias, a.KNorm = f32(1, 320), f32(1, 160), f32(1, 80) },
		40: func(a *kernels.RotateArgs) { a.Cos, a.Sin = f32(3, 40), f32(3, 40) },
		0:  func(a *kernels.RotateArgs) { a.Cos, a.Sin = kernels.Tensor{}, kernels.Tensor{} },
	} {
		if half, err := with(change); half != want || err != nil {
			t.Errorf("%d pairs are rotated (%v), want %d", half, err, want)
		}
	}
	for want, change := range map[string]func(a *kernels.RotateArgs){
		"82 would be rotated":          func(a *kernels.RotateArgs) { a.Cos, a.Sin = f32(3, 41), f32(3, 41) },
		"not f32 [3, 16]":              func(a *kernels.RotateArgs) { a.Sin = kernels.Tensor{} },
		"cos is f32 [2, 16]":           func(a *kernels.RotateArgs) { a.Cos = f32(2, 16) },
		"q is bf16 [3, 320], which is": func(a *kernels.RotateArgs) { a.HeadDim = 60 },
		"the bias of k is f32 [1, 80]": func(a *kernels.RotateArgs) { a.KBias = f32(1, 80) },
		"the norm of q is f32 [4, 80]": func(a *kernels.RotateArgs) { a.QNorm = f32(4, 80) },
		"k is bf16 [3, 240]":           func(a *kernels.RotateArgs) { a.K = projected(240) },
		"new KV is bf16 of 4 tokens":   func(a *kernels.RotateArgs) { a.NewKV.Tokens = 4 },
	} {
		if _, err := with(change); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}

func TestCheckAttentionBounds(t *testing.T) {
	with := func(causal bool, window int, softCap float32) error {
		q := kernels.Tensor{DType: activations, Rows: 3, Cols: 4 * 64, Stride: 256}
		_, _, err := checkAttention(kernels.AttentionArgs{
			Q: q, Out: q, LSE: kernels.Tensor{DType: kernels.F32, Rows: 4, Cols: 3, Stride: 3}, Group: 2, HeadDim: 64, Scale: 1,
			KV:     []kernels.KV{{DType: activations, Heads: 2, Tokens: 9, HeadDim: 64, HeadStride: 576}},
			Causal: causal, Window: window, SoftCap: softCap,
		})
		return err
	}
	nan, infinite := float32(math.NaN()), float32(math.Inf(1))
	for _, c := range []struct {
		causal  bool
		window  int
		softCap float32
		want    string // of the error; none if empty
	}{
		{true, 4, 50, ""}, {false, 0, 50, ""}, {true, 1 << 40, 0, ""},
		{true, -1, 0, "a window of -1 keys"}, {false, 4, 0, "causal: false"},
		{true, 0, -1, "capped at -1"}, {true, 0, nan, "capped at NaN"}, {true, 0, infinite, "capped at +Inf"},
	} {
		err := with(c.causal, c.window, c.softCap)
		if (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
			t.Errorf("causal %t, window %d, cap %g: got %v, want %q", c.causal, c.window, c.softCap, err, c.want)
		}
	}
}
