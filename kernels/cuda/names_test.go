//go:build cuda && cgo && linux

package cuda

import (
	"strings"
	"testing"

	"headinfer/kernels"
	"headinfer/kernels/cuda/images"
)

// The names that are put together from an encoding or a head dimension are those
// of kernels that exist.
func TestKernelNames(t *testing.T) {
	modules, err := images.Load("compute_80")
	if err != nil {
		t.Fatal(err)
	}
	var ptx strings.Builder
	for _, m := range modules {
		ptx.Write(m.Data)
	}
	var names []string
	for _, code := range kernels.KVCodes() {
		names = append(names, codedKernel("quantise_kv", code), codedKernel("dequantise_kv", code))
	}
	for headDim := 8; headDim <= 256; headDim += 8 {
		name, err := massKernel(headDim)
		if err != nil {
			t.Errorf("head_dim %d: %v", headDim, err)
		}
		names = append(names, name)
	}
	for _, name := range names {
		if !strings.Contains(ptx.String(), ".entry "+name+"(") {
			t.Errorf("no kernel is called %s", name)
		}
	}
	for _, headDim := range []int{0, -8, 60, 264} {
		if name, err := massKernel(headDim); err == nil {
			t.Errorf("head_dim %d has kernel %s", headDim, name)
		}
	}
}

func TestCheckCoded(t *testing.T) {
	coded := kernels.KV{DType: kernels.Int4G32, Heads: 2, Tokens: 96, HeadDim: 64, HeadStride: 96 * 64}
	plain := func(tokens int) kernels.KV {
		return kernels.KV{DType: activations, Heads: 2, Tokens: tokens, HeadDim: 64, HeadStride: tokens * 64}
	}
	if err := checkCoded(coded, plain(1), plain(0), plain(95)); err != nil {
		t.Error(err)
	}
	with := func(change func(coded, plain *kernels.KV)) error {
		c, p := coded, plain(96)
		change(&c, &p)
		return checkCoded(c, p)
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
