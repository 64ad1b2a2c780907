//go:build cuda && cgo && linux

package cuda

import (
	"fmt"

	"headinfer/kernels"
	"headinfer/kernels/cuda/driver"
)

// massKeys is how many keys a block of threads adds up the attention of.
const massKeys = 64

// massDims are the head dimensions that there are kernels for; a smaller head is
// filled up with zeros.
var massDims = []int{64, 128, 256}

// AttentionMass adds up what each key has received.
func (d *Device) AttentionMass(on kernels.Stream, mass kernels.Tensor, a kernels.AttentionArgs) {
	d.enqueue(on, "attention mass", func(s *stream) error {
		a.Out = a.Q // has the shape that is asked for, and nothing is written
		heads, keys, err := checkAttention(a)
		if err != nil || heads == 0 || a.Q.Rows == 0 {
			return err
		}
		if a.Window != 0 || a.SoftCap != 0 {
			return fmt.Errorf("a window of %d keys and a cap of %g; attention is added up without", a.Window, a.SoftCap)
		}
		if err := want("mass", mass, kernels.F32, heads, keys); err != nil {
			return err
		}
		name, err := massKernel(a.HeadDim)
		if err != nil {
			return err
		}
		tiles := 0
		for _, kv := range a.KV {
			tiles += ceil(kv.Tokens, massKeys)
		}
		a.Out, a.Merge = mass, false
		return d.launch(s, name, driver.Dim{X: tiles, Y: heads, Z: 1}, 128, 0, append(attentionWords(a), integer(a.HeadDim))...)
	})
}

func massKernel(headDim int) (string, error) {
	for _, dim := range massDims {
		if headDim > 0 && headDim%8 == 0 && headDim <= dim {
			return fmt.Sprintf("attention_mass_%s_hd%d", suffix, dim), nil
		}
	}
	return "", fmt.Errorf("head_dim is %d; a multiple of 8 up to %d is possible", headDim, massDims[len(massDims)-1])
}
