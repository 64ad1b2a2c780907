//go:build cuda && cgo && linux

package cuda

import (
	"fmt"
	"slices"

	"headinfer/kernels"
	"headinfer/kernels/cuda/driver"
)

// rotateKernel and, with biases or norms, rotateKernel + weighted.
const (
	rotateKernel = "rotate_split_" + suffix
	weighted     = "_weighted"
)

// RotateSplit makes queries and keys ready for attention, and lays out the new
// keys and values by head.
func (d *Device) RotateSplit(on kernels.Stream, a kernels.RotateArgs) {
	d.enqueue(on, "rotate", func(s *stream) error {
		half, err := checkRotate(a)
		if err != nil {
			return err
		}
		flags := uint64(0)
		if a.Interleaved {
			flags = 1
		}
		kv, rows := a.NewKV, a.Q.Rows
		q, k, v, c, n := view(a.Q), view(a.K), view(a.V), view(a.Cos), view(a.Sin)
		name, args := rotateKernel, []uint64{
			q[0], q[1], k[0], k[1], v[0], v[1], c[0], c[1], n[0], n[1],
			word(kv.K), word(kv.V), integer(kv.HeadStride), integer(rows),
			integer(a.Q.Cols / a.HeadDim), integer(kv.Heads), integer(a.HeadDim), integer(half), flags,
		}
		if weights := weightWords(a.QBias, a.KBias, a.VBias, a.QNorm, a.KNorm); slices.Max(weights) > 0 {
			name, args = name+weighted, append(append(args, weights...), real(float64(a.NormEps)))
		}
		return d.launchEarly(s, name, driver.Dim{X: rows, Y: rotateBlocks(a), Z: 1}, 256, 0, args...)
	})
}

// rotateBlocks is between how many blocks the heads of a token are divided: of a
// few tokens, so many that each thread has one run of 4 channels.
func rotateBlocks(a kernels.RotateArgs) int {
	if a.Q.Rows > vectorRows {
		return 1
	}
	return ceil(a.Q.Cols+a.K.Cols+a.V.Cols, 4*256)
}

// weightWords are the addresses of weights, 0 for those that are not there.
func weightWords(weights ...kernels.Tensor) []uint64 {
	words := make([]uint64, len(weights))
	for i, w := range weights {
		if w.Rows > 0 {
			words[i] = word(w.Data)
		}
	}
	return words
}

// checkRotate fails unless the operands fit together; half is how many pairs of
// each head are rotated.
func checkRotate(a kernels.RotateArgs) (half int, err error) {
	kv, rows := a.NewKV, a.Q.Rows
	if a.HeadDim <= 0 || a.HeadDim%2 != 0 || a.Q.Cols%a.HeadDim != 0 {
		return 0, fmt.Errorf("q is %s, which is not whole heads of an even head_dim, here %d", a.Q, a.HeadDim)
	}
	if kv.DType != activations || kv.Tokens != rows || kv.HeadDim != a.HeadDim {
		return 0, fmt.Errorf("new KV is %s of %d tokens with head_dim %d, not %s of %d with %d", kv.DType, kv.Tokens, kv.HeadDim, activations, rows, a.HeadDim)
	}
	width := kv.Heads * a.HeadDim
	if a.Cos.Rows > 0 || a.Sin.Rows > 0 {
		half = a.Cos.Cols
	}
	if 2*half > a.HeadDim {
		return 0, fmt.Errorf("cos is %s for heads of %d channels, of which %d would be rotated", a.Cos, a.HeadDim, 2*half)
	}
	checks := []error{
		want("q", a.Q, activations, rows, a.Q.Cols), want("k", a.K, activations, rows, width), want("v", a.V, activations, rows, width),
		wantWeight("the bias of q", a.QBias, a.Q.Cols), wantWeight("the bias of k", a.KBias, width), wantWeight("the bias of v", a.VBias, width),
		wantWeight("the norm of q", a.QNorm, a.HeadDim), wantWeight("the norm of k", a.KNorm, a.HeadDim),
	}
	if half > 0 {
		checks = append(checks, want("cos", a.Cos, kernels.F32, rows, half), want("sin", a.Sin, kernels.F32, rows, half))
	}
	for _, err := range checks {
		if err != nil {
			return 0, err
		}
	}
	return half, nil
}

// wantWeight fails unless there is no such weight, or one of f32 [1, cols].
func wantWeight(name string, t kernels.Tensor, cols int) error {
	if t.Rows == 0 {
		return nil
	}
	return want(name, t, kernels.F32, 1, cols)
}
