package cpu_test

import (
	"strings"
	"testing"

	"headinfer/kernels"
	"headinfer/kernels/cpu"
)

// TestRefusals: operands that do not fit together, or ask for what an operator
// does not do, make the device fail with what was found.
func TestRefusals(t *testing.T) {
	const rows, heads, kvHeads, hd = 3, 4, 2, 16
	f32 := func(rows, cols int) kernels.Tensor {
		m, err := kernels.HostMatrix(make([]byte, 4*rows*cols), kernels.F32, rows, cols)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	kv := kernels.KV{K: f32(kvHeads, rows*hd).Data, V: f32(kvHeads, rows*hd).Data, DType: kernels.F32, Heads: kvHeads, Tokens: rows, HeadDim: hd, HeadStride: rows * hd}
	rotate := func(change func(a *kernels.RotateArgs)) func(kernels.Device, kernels.Stream) {
		a := kernels.RotateArgs{
			Q: f32(rows, heads*hd), K: f32(rows, kvHeads*hd), V: f32(rows, kvHeads*hd), Cos: f32(rows, hd/2), Sin: f32(rows, hd/2),
			QBias: f32(1, heads*hd), KBias: f32(1, kvHeads*hd), VBias: f32(1, kvHeads*hd), QNorm: f32(1, hd), KNorm: f32(1, hd), NewKV: kv, HeadDim: hd,
		}
		change(&a)
		return func(d kernels.Device, s kernels.Stream) { d.RotateSplit(s, a) }
	}
	attend := func(op func(kernels.Device, kernels.Stream, kernels.AttentionArgs), change func(a *kernels.AttentionArgs)) func(kernels.Device, kernels.Stream) {
		a := kernels.AttentionArgs{
			Q: f32(rows, heads*hd), Out: f32(rows, heads*hd), LSE: f32(heads, rows), KV: []kernels.KV{kv},
			Group: heads / kvHeads, HeadDim: hd, Scale: 1, Causal: true,
		}
		change(&a)
		return func(d kernels.Device, s kernels.Stream) { op(d, s, a) }
	}
	attention := func(d kernels.Device, s kernels.Stream, a kernels.AttentionArgs) {
		d.Attention(s, []kernels.AttentionArgs{a})
	}
	mass := func(d kernels.Device, s kernels.Stream, a kernels.AttentionArgs) {
		d.AttentionMass(s, f32(kvHeads, rows), a)
	}

	for name, c := range map[string]struct {
		enqueue func(kernels.Device, kernels.Stream)
		message string // none: it is taken
	}{
		"all that a rotation may have": {rotate(func(*kernels.RotateArgs) {}), ""},
		"no angles":                    {rotate(func(a *kernels.RotateArgs) { a.Cos, a.Sin = kernels.Tensor{}, kernels.Tensor{} }), ""},
		"too many angles":              {rotate(func(a *kernels.RotateArgs) { a.Cos, a.Sin = f32(rows, hd/2+1), f32(rows, hd/2+1) }), "more than a head's 16 channels"},
		"a cosine without a sine":      {rotate(func(a *kernels.RotateArgs) { a.Sin = kernels.Tensor{} }), "sin is"},
		"a bias of another width":      {rotate(func(a *kernels.RotateArgs) { a.KBias = a.QBias }), "the bias of k is f32 [1, 64], not f32 [1, 32]"},
		"a norm of all heads together": {rotate(func(a *kernels.RotateArgs) { a.QNorm = a.QBias }), "the norm of q is f32 [1, 64], not f32 [1, 16]"},
		"part of a head":               {rotate(func(a *kernels.RotateArgs) { a.Q = f32(rows, hd+1) }), "not whole heads of 16"},
		"a window and a cap":           {attend(attention, func(a *kernels.AttentionArgs) { a.Window, a.SoftCap = 2, 5 }), ""},
		"a window without a mask":      {attend(attention, func(a *kernels.AttentionArgs) { a.Causal, a.Window = false, 2 }), "a window of 2 keys, causal false"},
		"a negative window":            {attend(attention, func(a *kernels.AttentionArgs) { a.Window = -2 }), "a window of -2 keys"},
		"a negative cap":               {attend(attention, func(a *kernels.AttentionArgs) { a.SoftCap = -2 }), "capped at -2"},
		"mass":                         {attend(mass, func(*kernels.AttentionArgs) {}), ""},
		"mass of a window":             {attend(mass, func(a *kernels.AttentionArgs) { a.Window = 2 }), "a window of 2 keys and a cap of 0"},
		"mass of capped scores":        {attend(mass, func(a *kernels.AttentionArgs) { a.SoftCap = 2 }), "a window of 0 keys and a cap of 2"},
		"an unknown activation": {func(d kernels.Device, s kernels.Stream) {
			d.GLU(s, f32(rows, 8), f32(rows, 16), kernels.GELUTanh+1)
		}, "activation 2 is not known"},
	} {
		d := cpu.Open(1<<20, 2)
		s := d.NewStream("test")
		c.enqueue(d, s)
		switch err := s.Synchronize(); {
		case c.message == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.message != "" && (err == nil || !strings.Contains(err.Error(), c.message)):
			t.Errorf("%s gave %v, want %q", name, err, c.message)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}
