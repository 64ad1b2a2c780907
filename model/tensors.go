package model

import (
	"fmt"
	"slices"
)

// The weights of a decoder, by Hugging Face's names.
const (
	nameEmbedding = "model.embed_tokens.weight"
	nameNorm      = "model.norm.weight"
	nameOutput    = "lm_head.weight"
)

// layerName returns the name of one of a layer's weights.
func layerName(layer int, part string) string {
	return fmt.Sprintf("model.layers.%d.%s", layer, part)
}

// The parts of a layer.
const (
	partInputNorm = "input_layernorm.weight"
	partQ         = "self_attn.q_proj.weight"
	partK         = "self_attn.k_proj.weight"
	partV         = "self_attn.v_proj.weight"
	partO         = "self_attn.o_proj.weight"
	partQBias     = "self_attn.q_proj.bias"
	partKBias     = "self_attn.k_proj.bias"
	partVBias     = "self_attn.v_proj.bias"
	partQNorm     = "self_attn.q_norm.weight"
	partKNorm     = "self_attn.k_norm.weight"
	partGate      = "mlp.gate_proj.weight"
	partUp        = "mlp.up_proj.weight"
	partDown      = "mlp.down_proj.weight"
	// Some files have several of these in one matrix.
	partQKV    = "self_attn.qkv_proj.weight"
	partGateUp = "mlp.gate_up_proj.weight"
	// Where there is one norm before the feed-forward network, its name is that of
	// the norm after attention where there is such.
	partAfterAttention = "post_attention_layernorm.weight"
	partBeforeFFN      = "pre_feedforward_layernorm.weight"
	partAfterFFN       = "post_feedforward_layernorm.weight"
)

// partFFNNorm returns the name of the norm before the feed-forward network.
func (c Config) partFFNNorm() string {
	if c.AfterNorm {
		return partBeforeFFN
	}
	return partAfterAttention
}

// tensorSpec is what a configuration says of a tensor: [rows, cols], or [cols]
// if rows is 0.
type tensorSpec struct {
	name       string
	rows, cols int
}

// vector says that the tensor is a norm's or a bias, and not a matrix.
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
	specs := []tensorSpec{
		{nameEmbedding, c.Vocab, c.Hidden},
		{nameNorm, 0, c.Hidden},
	}
	if !c.Tied {
		specs = append(specs, tensorSpec{nameOutput, c.Vocab, c.Hidden})
	}
	for l := range c.Layers {
		for _, part := range c.parts() {
			specs = append(specs, tensorSpec{layerName(l, part.name), part.rows, part.cols})
		}
	}
	return specs
}

// parts lists the weights of a layer.
func (c Config) parts() []tensorSpec {
	q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	parts := []tensorSpec{
		{partInputNorm, 0, c.Hidden},
		{partQ, q, c.Hidden}, {partK, kv, c.Hidden}, {partV, kv, c.Hidden}, {partO, c.Hidden, q},
		{c.partFFNNorm(), 0, c.Hidden},
		{partGate, c.FFN, c.Hidden}, {partUp, c.FFN, c.Hidden}, {partDown, c.Hidden, c.FFN},
	}
	if c.Bias {
		parts = append(parts, tensorSpec{partQBias, 0, q}, tensorSpec{partKBias, 0, kv}, tensorSpec{partVBias, 0, kv})
	}
	if c.HeadNorm {
		parts = append(parts, tensorSpec{partQNorm, 0, c.HeadDim}, tensorSpec{partKNorm, 0, c.HeadDim})
	}
	if c.AfterNorm {
		parts = append(parts, tensorSpec{partAfterAttention, 0, c.Hidden}, tensorSpec{partAfterFFN, 0, c.Hidden})
	}
	return parts
}
