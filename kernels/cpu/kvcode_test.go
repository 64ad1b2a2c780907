package cpu_test

import (
	"strings"
	"testing"
	"unsafe"

	"headinfer/kernels"
	"headinfer/kernels/cpu"
)

// TestWrongShapesOfCodes: what does not fit together makes the device fail with
// what was found, and touches nothing.
func TestWrongShapesOfCodes(t *testing.T) {
	plain := kernels.KV{DType: kernels.F32, Heads: 2, Tokens: 64, HeadDim: 64, HeadStride: 64 * 64}
	coded := plain
	coded.DType = kernels.Int8G64
	with := func(kv kernels.KV, change func(*kernels.KV)) kernels.KV {
		change(&kv)
		return kv
	}
	for name, c := range map[string]struct {
		coded, plain kernels.KV
		message      string
	}{
		"not a code":       {with(coded, func(kv *kernels.KV) { kv.DType = kernels.Q8_0 }), plain, "q8_0 is not an encoding"},
		"part of a record": {with(coded, func(kv *kernels.KV) { kv.Tokens = 63 }), with(plain, func(kv *kernels.KV) { kv.Tokens = 63 }), "63 tokens of 64 channels are not whole blocks"},
		"part of a head":   {with(coded, func(kv *kernels.KV) { kv.HeadDim = 96 }), with(plain, func(kv *kernels.KV) { kv.HeadDim = 96 }), "64 tokens of 96 channels are not whole blocks"},
		"fewer tokens":     {coded, with(plain, func(kv *kernels.KV) { kv.Tokens = 32 }), "32 tokens beside 64"},
		"fewer heads":      {coded, with(plain, func(kv *kernels.KV) { kv.Heads = 1 }), "1 heads of 64 in f32 beside 2 of 64"},
		"another type":     {coded, with(plain, func(kv *kernels.KV) { kv.DType = kernels.BF16 }), "in bf16 beside"},
	} {
		for op, enqueue := range map[string]func(d kernels.Device, s kernels.Stream){
			"quantize":   func(d kernels.Device, s kernels.Stream) { d.QuantizeKV(s, c.coded, []kernels.KV{c.plain}) },
			"dequantize": func(d kernels.Device, s kernels.Stream) { d.DequantizeKV(s, c.plain, c.coded) },
		} {
			d := cpu.Open(1<<20, 1)
			s := d.NewStream("test")
			enqueue(d, s)
			if err := s.Synchronize(); err == nil || !strings.Contains(err.Error(), c.message) || !strings.HasPrefix(err.Error(), op) {
				t.Errorf("%s with %s gave %v, want %q", op, name, err, c.message)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestMassNeedsNoMoreThanPrepare: an engine prepares for attention, and its
// budget may leave nothing for more.
func TestMassNeedsNoMoreThanPrepare(t *testing.T) {
	for _, rows := range []int{1, 3, 40, 200} {
		for _, hd := range []int{32, 64, 128, 256} {
			const heads, group, keys = 2, 3, 1000
			d := cpu.Open(1<<30, 2)
			if err := d.Prepare(kernels.Workload{Rows: rows, Columns: 32, KVHeads: heads, Group: group, HeadDim: hd}); err != nil {
				t.Fatal(err)
			}
			took := d.Ledger().Usage().Used
			kv := make([]float32, heads*keys*hd)
			p := unsafe.Pointer(unsafe.SliceData(kv))
			s := d.NewStream("test")
			d.AttentionMass(s, kernels.Matrix(unsafe.Pointer(&make([]float32, heads*keys)[0]), kernels.F32, heads, keys), kernels.AttentionArgs{
				Q:     kernels.Matrix(unsafe.Pointer(&make([]float32, rows*heads*group*hd)[0]), kernels.F32, rows, heads*group*hd),
				LSE:   kernels.Matrix(unsafe.Pointer(&make([]float32, rows*heads*group)[0]), kernels.F32, heads*group, rows),
				KV:    []kernels.KV{{K: p, V: p, DType: kernels.F32, Heads: heads, Tokens: keys, HeadDim: hd, HeadStride: keys * hd}},
				Group: group, HeadDim: hd, Scale: 1,
			})
			if err := s.Synchronize(); err != nil {
				t.Fatal(err)
			}
			if now := d.Ledger().Usage().Used; now != took {
				t.Errorf("%d rows of head_dim %d: %d bytes in use, and %d were prepared", rows, hd, now, took)
			}
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
