package cpu

import (
	"fmt"

	"headinfer/kernels"
	"headinfer/kernels/cpu/simd"
)

// RotateSplit makes queries and keys ready for attention and lays out the new
// keys and values by head.
func (d *Device) RotateSplit(s kernels.Stream, a kernels.RotateArgs) {
	compute(s, "rotate", func(d *Device) error {
		if err := checkRotate(a); err != nil {
			return err
		}
		hd, kv := a.HeadDim, a.NewKV
		qBias, kBias, vBias := vector(a.QBias), vector(a.KBias), vector(a.VBias)
		qNorm, kNorm := vector(a.QNorm), vector(a.KNorm)
		keys, values := allFloats(kv.Keys()), allFloats(kv.Values())
		d.rows(a.Q.Rows, func(r int) {
			turn := ready{eps: a.NormEps, interleaved: a.Interleaved}
			if a.Cos.Rows > 0 {
				turn.cos, turn.sin = floats(a.Cos, r), floats(a.Sin, r)
			}
			q, k, v := floats(a.Q, r), floats(a.K, r), floats(a.V, r)
			simd.AddInto(q, qBias)
			for h := 0; h < len(q); h += hd {
				turn.head(q[h:h+hd], qNorm)
			}
			simd.AddInto(k, kBias)
			simd.AddInto(v, vBias)
			for h := range kv.Heads {
				at := h*kv.HeadStride + r*hd
				turn.head(k[h*hd:(h+1)*hd], kNorm)
				copy(keys[at:at+hd], k[h*hd:])
				copy(values[at:at+hd], v[h*hd:(h+1)*hd])
			}
		})
		return nil
	})
}

// ready is what a token does to its queries' and keys' heads.
type ready struct {
	cos, sin    []float32 // none: nothing turns
	eps         float32
	interleaved bool
}

// head normalises a head in place, unless it has no weights, and rotates it.
func (t *ready) head(x, norm []float32) {
	if len(norm) > 0 {
		simd.RMSNorm(x, x, norm, t.eps)
	}
	if len(t.cos) > 0 {
		simd.RoPE(x, t.cos, t.sin, t.interleaved)
	}
}

// vector views a row of numbers that may be absent.
func vector(t kernels.Tensor) []float32 {
	if t.Rows == 0 {
		return nil
	}
	return floats(t, 0)
}

func checkRotate(a kernels.RotateArgs) error {
	hd, kv, rows := a.HeadDim, a.NewKV, a.Q.Rows
	if kv.DType != kernels.F32 || kv.Tokens != rows || kv.HeadDim != hd {
		return fmt.Errorf("new KV is %s of %d tokens with head_dim %d, not f32 of %d with %d", kv.DType, kv.Tokens, kv.HeadDim, rows, hd)
	}
	if hd < 1 || a.Q.Cols%hd != 0 {
		return fmt.Errorf("q is %s, not whole heads of %d", a.Q, hd)
	}
	if err := want(rows, a.Q.Cols, map[string]kernels.Tensor{"q": a.Q}); err != nil {
		return err
	}
	if err := want(rows, kv.Heads*hd, map[string]kernels.Tensor{"k": a.K, "v": a.V}); err != nil {
		return err
	}
	for _, v := range []struct {
		name  string
		t     kernels.Tensor
		width int
	}{
		{"the bias of q", a.QBias, a.Q.Cols}, {"the bias of k", a.KBias, a.K.Cols}, {"the bias of v", a.VBias, a.V.Cols},
		{"the norm of q", a.QNorm, hd}, {"the norm of k", a.KNorm, hd},
	} {
		if v.t.Rows == 0 {
			continue
		}
		if err := want(1, v.width, map[string]kernels.Tensor{v.name: v.t}); err != nil {
			return err
		}
	}
	if a.Cos.Rows == 0 && a.Sin.Rows == 0 {
		return nil
	}
	if 2*a.Cos.Cols > hd {
		return fmt.Errorf("cos is %s, which rotates more than a head's %d channels", a.Cos, hd)
	}
	return want(rows, a.Cos.Cols, map[string]kernels.Tensor{"cos": a.Cos, "sin": a.Sin})
}
