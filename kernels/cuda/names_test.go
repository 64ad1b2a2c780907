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
	for _, d := range kernels.DTypes() {
		names = append(names, weightKernel("gemv", d), weightKernel("dequantise", d), weightKernel("embed", d))
	}
	for headDim, tiling := range prefillAnywhere {
		for _, capped := range []bool{false, true} {
			names = append(names, headKernel(tiling.kernel, headDim, capped), headKernel("attention_decode", headDim, capped),
				headKernel("attention_decode_list", headDim, capped))
		}
	}
	names = append(names, headKernel("attention_decode_long", longHeadDim, false), rotateKernel, rotateKernel+weighted, "attention_combine_"+suffix, "attention_combine_rows_"+suffix, "attention_combine_list_"+suffix)
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
