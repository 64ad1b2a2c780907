package model

import (
	"fmt"
	"math"

	"headinfer/kernels"
	"headinfer/transfer"
)

// Config describes a decoder of the Llama family.
type Config struct {
	Architecture string  `json:"architecture"`
	Name         string  `json:"name"`
	Layers       int     `json:"layers"`
	Hidden       int     `json:"hidden"`
	Heads        int     `json:"heads"`
	KVHeads      int     `json:"kv_heads"`
	HeadDim      int     `json:"head_dim"`
	FFN          int     `json:"ffn"`
	Vocab        int     `json:"vocab"`
	Context      int     `json:"context"` // tokens it was trained for
	RopeBase     float64 `json:"rope_base"`
	NormEps      float64 `json:"norm_eps"`
	// Interleaved says that a head's rotary pairs are neighbours, as GGUF
	// stores Llama's, not halves apart, as Hugging Face does.
	Interleaved bool `json:"interleaved"`
	// Tied says that the embedding is the output matrix too.
	Tied bool `json:"tied"`
}

// Group returns how many query heads share a KV head.
func (c Config) Group() int { return c.Heads / c.KVHeads }

// Frequencies returns the rotary frequencies [head_dim/2] in radians a token
// (Su et al. 2021, section 3.2.2).
func (c Config) Frequencies() []float64 {
	f := make([]float64, c.HeadDim/2)
	for i := range f {
		f[i] = math.Pow(c.RopeBase, -2*float64(i)/float64(c.HeadDim))
	}
	return f
}

// KVShape returns what the key–value cache looks like in an encoding.
func (c Config) KVShape(d kernels.DType) transfer.Shape {
	return transfer.Shape{Layers: c.Layers, KVHeads: c.KVHeads, HeadDim: c.HeadDim, DType: d}
}

// Limits that no model comes near: a file that passes them is damaged, and
// arithmetic on what is within them cannot overflow.
const (
	maxDim    = 1 << 24
	maxLayers = 1 << 12
)

// validate checks what the decoder relies on; file names where it came from.
func (c Config) validate(file string) error {
	for _, dim := range []struct {
		name       string
		value, max int
	}{
		{"layers", c.Layers, maxLayers}, {"hidden size", c.Hidden, maxDim}, {"heads", c.Heads, maxDim},
		{"KV heads", c.KVHeads, maxDim}, {"head_dim", c.HeadDim, maxDim}, {"feed-forward size", c.FFN, maxDim},
		{"vocabulary", c.Vocab, maxDim}, {"context", c.Context, math.MaxInt32},
	} {
		if dim.value < 1 || dim.value > dim.max {
			return fmt.Errorf("%s: %s is %d; expected 1 to %d", file, dim.name, dim.value, dim.max)
		}
	}
	switch {
	case c.Heads%c.KVHeads != 0:
		return fmt.Errorf("%s: %d query heads do not divide among %d KV heads", file, c.Heads, c.KVHeads)
	case c.HeadDim%8 != 0 || c.HeadDim > 1024:
		return fmt.Errorf("%s: head_dim %d is not a multiple of 8 up to 1024", file, c.HeadDim)
	case !(c.RopeBase > 1) || math.IsInf(c.RopeBase, 0):
		return fmt.Errorf("%s: rotary base %g is not a number above 1", file, c.RopeBase)
	case !(c.NormEps > 0) || c.NormEps > 1:
		return fmt.Errorf("%s: normalisation epsilon %g is not between 0 and 1", file, c.NormEps)
	}
	return nil
}
