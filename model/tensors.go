package model

import (
	"fmt"
	"slices"
)

// The weights of a Llama decoder, by Hugging Face's names.
const (
	nameEmbedding = "model.embed_tokens.weight"
	nameNorm      = "model.norm.weight"
	nameOutput    = "lm_head.weight"
)

// layerName returns the name of one of a layer's weights.
func layerName(layer int, part string) string {
	return fmt.Sprintf("model.layers.%d.%s.weight", layer, part)
}

// The parts of a layer.
const (
	partInputNorm = "input_layernorm"
	partQ         = "self_attn.q_proj"
	partK         = "self_attn.k_proj"
	partV         = "self_attn.v_proj"
	partO         = "self_attn.o_proj"
	partPostNorm  = "post_attention_layernorm"
	partGate      = "mlp.gate_proj"
	partUp        = "mlp.up_proj"
	partDown      = "mlp.down_proj"
)

// tensorSpec is what a configuration says of a tensor: [rows, cols], or [cols]
// if rows is 0.
type tensorSpec struct {
	name       string
	rows, cols int
}

// vector says that the tensor is a norm's, and not a matrix.
func (s tensorSpec) vector() bool { return s.rows == 0 }

func (s tensorSpec) shape() []int {
	if s.vector() {
		return []int{s.cols}
	}
	return []int{s.rows, s.cols}
}

func (s tensorSpec) fits(shape []int) bool { return slices.Equal(shape, s.shape()) }

// tensors lists every weight of the model.
func (c Config) tensors() []tensorSpec {
	q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	specs := []tensorSpec{
		{nameEmbedding, c.Vocab, c.Hidden},
		{nameNorm, 0, c.Hidden},
	}
	if !c.Tied {
		specs = append(specs, tensorSpec{nameOutput, c.Vocab, c.Hidden})
	}
	for l := range c.Layers {
		specs = append(specs,
			tensorSpec{layerName(l, partInputNorm), 0, c.Hidden},
			tensorSpec{layerName(l, partQ), q, c.Hidden},
			tensorSpec{layerName(l, partK), kv, c.Hidden},
			tensorSpec{layerName(l, partV), kv, c.Hidden},
			tensorSpec{layerName(l, partO), c.Hidden, q},
			tensorSpec{layerName(l, partPostNorm), 0, c.Hidden},
			tensorSpec{layerName(l, partGate), c.FFN, c.Hidden},
			tensorSpec{layerName(l, partUp), c.FFN, c.Hidden},
			tensorSpec{layerName(l, partDown), c.Hidden, c.FFN},
		)
	}
	return specs
}
