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
	config, err := ggufConfig(f)
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
			path:   f.Name(),
			lookup: func(name string) (tensor.Tensor, bool) { return f.Tensor(ggufName(name)) },
			closer: f.Close,
		},
	}, nil
}

func ggufConfig(f *gguf.File) (Config, error) {
	arch := f.Architecture()
	if arch != "llama" {
		return Config{}, fmt.Errorf("%s: architecture %q is not supported; supported: llama", f.Name(), arch)
	}
	c := Config{Architecture: arch, Name: f.Name(), RopeBase: 10000, Interleaved: true}
	var problems []error
	number := func(into *int, key string) {
		v, err := f.Uint(arch + "." + key)
		if err == nil && v > maxDim*4 {
			err = fmt.Errorf("%s: %s.%s is %d, larger than any model's", f.Name(), arch, key, v)
		}
		if err != nil {
			problems = append(problems, err)
			return
		}
		*into = int(v)
	}
	real := func(into *float64, key string) {
		v, err := f.Float(arch + "." + key)
		if err != nil {
			problems = append(problems, err)
			return
		}
		*into = v
	}
	has := func(key string) bool { return f.Has(arch + "." + key) }

	number(&c.Layers, "block_count")
	number(&c.Hidden, "embedding_length")
	number(&c.Heads, "attention.head_count")
	number(&c.FFN, "feed_forward_length")
	number(&c.Context, "context_length")
	real(&c.NormEps, "attention.layer_norm_rms_epsilon")
	c.KVHeads = c.Heads
	if has("attention.head_count_kv") {
		number(&c.KVHeads, "attention.head_count_kv")
	}
	if has("rope.freq_base") {
		real(&c.RopeBase, "rope.freq_base")
	}
	if has("attention.key_length") {
		number(&c.HeadDim, "attention.key_length")
	} else if c.Heads > 0 {
		c.HeadDim = c.Hidden / c.Heads
	}
	if embedding, ok := f.Tensor(ggufName(nameEmbedding)); ok && len(embedding.Shape) == 2 {
		c.Vocab = embedding.Shape[0]
	} else {
		problems = append(problems, fmt.Errorf("%s: tensor %q is missing or not a matrix", f.Name(), ggufName(nameEmbedding)))
	}
	_, untied := f.Tensor(ggufName(nameOutput))
	c.Tied = !untied
	for _, refused := range []string{"rope.scaling.type", "expert_count", "attention.sliding_window"} {
		if !has(refused) {
			continue
		}
		if s, err := f.String(arch + "." + refused); err == nil && s == "none" {
			continue
		}
		if n, err := f.Uint(arch + "." + refused); err == nil && n == 0 {
			continue
		}
		problems = append(problems, fmt.Errorf("%s: %s.%s is not supported", f.Name(), arch, refused))
	}
	if _, ok := f.Tensor("rope_freqs.weight"); ok {
		problems = append(problems, fmt.Errorf("%s: scaled rotary frequencies (tensor rope_freqs.weight) are not supported", f.Name()))
	}
	if has("rope.dimension_count") {
		var rotary int
		number(&rotary, "rope.dimension_count")
		if rotary != c.HeadDim {
			problems = append(problems, fmt.Errorf("%s: rotary embedding of %d of a head's %d dimensions is not supported", f.Name(), rotary, c.HeadDim))
		}
	}
	return c, errors.Join(problems...)
}

// ggufParts gives GGUF's names for the parts of a layer.
var ggufParts = map[string]string{
	partInputNorm: "attn_norm", partQ: "attn_q", partK: "attn_k", partV: "attn_v", partO: "attn_output",
	partPostNorm: "ffn_norm", partGate: "ffn_gate", partUp: "ffn_up", partDown: "ffn_down",
}

// ggufName translates a tensor's name.
func ggufName(name string) string {
	switch name {
	case nameEmbedding:
		return "token_embd.weight"
	case nameNorm:
		return "output_norm.weight"
	case nameOutput:
		return "output.weight"
	}
	rest := strings.TrimPrefix(name, "model.layers.")
	layer, part, _ := strings.Cut(strings.TrimSuffix(rest, ".weight"), ".")
	return "blk." + layer + "." + ggufParts[part] + ".weight"
}
