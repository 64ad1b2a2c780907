package model

import (
	"errors"
	"fmt"
	"strings"

	"headinfer/model/gguf"
	"headinfer/model/tensor"
	"headinfer/model/tokenizer"
)

func openGGUF(path string) (*Checkpoint, error) {
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	c, err := fromGGUF(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return c, nil
}

func fromGGUF(f *gguf.File) (*Checkpoint, error) {
	config, architecture, err := ggufConfig(f)
	if err != nil {
		return nil, err
	}
	tok, err := tokenizer.FromGGUF(f)
	if err != nil {
		return nil, err
	}
	return &Checkpoint{
		Path: f.Name(), Config: config, Tokenizer: tok, ChatTemplate: tok.ChatTemplate(),
		source: &stored{
			path: f.Name(), closer: f.Close,
			lookup: architecture.findGGUF(config, f),
		},
	}, nil
}

// ggufMeta reads what a GGUF file says of a model, and keeps what is wrong.
type ggufMeta struct {
	*gguf.File
	architecture string
	problems     []error
}

// key returns the name of one of the architecture's values.
func (g *ggufMeta) key(name string) string { return g.architecture + "." + name }

// number reads a whole number.
func (g *ggufMeta) number(into *int, name string) {
	v, err := g.Uint(g.key(name))
	if err == nil && v > maxDim*4 {
		err = fmt.Errorf("%s: %s is %d, larger than any model's", g.Name(), g.key(name), v)
	}
	if err != nil {
		g.problems = append(g.problems, err)
		return
	}
	*into = int(v)
}

// real reads a number.
func (g *ggufMeta) real(into *float64, name string) {
	v, err := g.Float(g.key(name))
	if err != nil {
		g.problems = append(g.problems, err)
		return
	}
	*into = v
}

// optional reads a number if there is one.
func (g *ggufMeta) optional(into *float64, name string) {
	if g.Has(g.key(name)) {
		g.real(into, name)
	}
}

// refuse says that a feature is not supported, if the file has it.
func (g *ggufMeta) refuse(name string) {
	key := g.key(name)
	if !g.Has(key) {
		return
	}
	if s, err := g.String(key); err == nil && s == "none" {
		return
	}
	if n, err := g.Uint(key); err == nil && n == 0 {
		return
	}
	g.problems = append(g.problems, fmt.Errorf("%s: %s is not supported", g.Name(), key))
}

// window returns how many tokens a layer with a window sees, by the file or, if
// that does not say, otherwise.
func (g *ggufMeta) window(otherwise int) int {
	if g.Has(g.key("attention.sliding_window")) {
		g.number(&otherwise, "attention.sliding_window")
	}
	return otherwise
}

// refuseBiases says so if the file has a bias that the decoder would leave out.
func (g *ggufMeta) refuseBiases(c Config) {
	for _, t := range g.Tensors() {
		_, part, _ := strings.Cut(strings.TrimPrefix(t.Name, "blk."), ".")
		used := part == ggufParts[partQBias] || part == ggufParts[partKBias] || part == ggufParts[partVBias]
		if strings.HasSuffix(t.Name, ".bias") && !(c.Bias && used) {
			g.problems = append(g.problems, fmt.Errorf("%s: tensor %q: this bias is not supported in a model of architecture %q", g.Name(), t.Name, g.architecture))
			return
		}
	}
}

// ggufConfig reads a model's configuration.
func ggufConfig(f *gguf.File) (Config, architecture, error) {
	name := f.Architecture()
	a, err := findArchitecture(f.Name(), "architecture", name, func(a architecture) bool { return a.gguf != nil })
	if err != nil {
		return Config{}, a, err
	}
	g := &ggufMeta{File: f, architecture: name}
	c := Config{Architecture: name, Name: f.Name()}
	g.number(&c.Layers, "block_count")
	g.number(&c.Hidden, "embedding_length")
	g.number(&c.Heads, "attention.head_count")
	g.number(&c.FFN, "feed_forward_length")
	g.number(&c.Context, "context_length")
	g.real(&c.NormEps, "attention.layer_norm_rms_epsilon")
	c.KVHeads = c.Heads
	if g.Has(g.key("attention.head_count_kv")) {
		g.number(&c.KVHeads, "attention.head_count_kv")
	}
	if g.Has(g.key("attention.key_length")) {
		g.number(&c.HeadDim, "attention.key_length")
	} else if c.Heads > 0 {
		c.HeadDim = c.Hidden / c.Heads
	}
	if embedding, ok := f.Tensor("token_embd.weight"); ok && len(embedding.Shape) == 2 {
		c.Vocab = embedding.Shape[0]
	} else {
		g.problems = append(g.problems, fmt.Errorf("%s: tensor %q is missing or not a matrix", f.Name(), "token_embd.weight"))
	}
	_, untied := f.Tensor("output.weight")
	c.Tied = !untied
	g.refuse("expert_count")
	if len(g.problems) == 0 && c.Layers <= maxLayers && c.HeadDim <= maxDim {
		a.gguf(g, &c)
		g.refuseBiases(c)
	}
	return c, a, errors.Join(g.problems...)
}

// ggufParts gives GGUF's names for the parts of a layer; of the norms, those of
// a model that has them before and after. A model with norms only before has
// ffn_norm under the name of the one after attention.
var ggufParts = map[string]string{
	partInputNorm: "attn_norm.weight", partBeforeFFN: "ffn_norm.weight",
	partAfterAttention: "post_attention_norm.weight", partAfterFFN: "post_ffw_norm.weight",
	partQ: "attn_q.weight", partK: "attn_k.weight", partV: "attn_v.weight", partO: "attn_output.weight", partQKV: "attn_qkv.weight",
	partQBias: "attn_q.bias", partKBias: "attn_k.bias", partVBias: "attn_v.bias",
	partQNorm: "attn_q_norm.weight", partKNorm: "attn_k_norm.weight",
	partGate: "ffn_gate.weight", partUp: "ffn_up.weight", partDown: "ffn_down.weight", partGateUp: "ffn_up.weight",
}

// ggufName translates a tensor's name.
func (c Config) ggufName(name string) string {
	switch name {
	case nameEmbedding:
		return "token_embd.weight"
	case nameNorm:
		return "output_norm.weight"
	case nameOutput:
		return "output.weight"
	}
	layer, part, _ := strings.Cut(strings.TrimPrefix(name, "model.layers."), ".")
	if part == c.partFFNNorm() {
		part = partBeforeFFN
	}
	return "blk." + layer + "." + ggufParts[part]
}

// findGGUF returns what finds the model's weights in a GGUF file, whose norms
// leave nothing out.
func (a architecture) findGGUF(c Config, f *gguf.File) finder {
	a.offset = 0
	return a.find(c, func(name string) (tensor.Tensor, bool) { return f.Tensor(c.ggufName(name)) })
}
