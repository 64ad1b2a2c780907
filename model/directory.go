package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"headinfer/model/hub"
	"headinfer/model/safetensors"
	"headinfer/model/tokenizer"
)

// openDirectory reads a model as Hugging Face lays it out.
func openDirectory(dir string) (*Checkpoint, error) {
	return openLayout(dir, os.ReadFile, func() (*safetensors.Set, error) { return safetensors.Open(dir) })
}

// readFile returns a file's contents, or an error that matches os.ErrNotExist.
type readFile func(path string) ([]byte, error)

// openLayout reads a model whose small files come through read and whose
// tensors are what weights opens.
func openLayout(dir string, read readFile, weights func() (*safetensors.Set, error)) (*Checkpoint, error) {
	config, err := readConfig(filepath.Join(dir, "config.json"), read)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "tokenizer.json")
	data, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	tok, err := tokenizer.FromJSON(path, data)
	if err != nil {
		return nil, err
	}
	tok, template, err := withConfig(tok, dir, read)
	if err != nil {
		return nil, err
	}
	set, err := weights()
	if err != nil {
		return nil, err
	}
	return &Checkpoint{
		Path: dir, Config: config, Tokenizer: tok, ChatTemplate: template,
		source: &stored{path: dir, lookup: set.Tensor, closer: set.Close},
	}, nil
}

// hfConfig is the part of config.json that the decoder acts on, or must refuse.
type hfConfig struct {
	ModelType string   `json:"model_type"`
	Hidden    *int     `json:"hidden_size"`
	FFN       *int     `json:"intermediate_size"`
	Layers    *int     `json:"num_hidden_layers"`
	Heads     *int     `json:"num_attention_heads"`
	KVHeads   *int     `json:"num_key_value_heads"`
	HeadDim   *int     `json:"head_dim"`
	Vocab     *int     `json:"vocab_size"`
	Context   *int     `json:"max_position_embeddings"`
	NormEps   *float64 `json:"rms_norm_eps"`
	RopeTheta *float64 `json:"rope_theta"`
	// RopeParameters is where newer files keep the two below.
	RopeParameters *struct {
		Type  string   `json:"rope_type"`
		Theta *float64 `json:"rope_theta"`
	} `json:"rope_parameters"`
	RopeScaling   json.RawMessage `json:"rope_scaling"`
	HiddenAct     string          `json:"hidden_act"`
	AttentionBias bool            `json:"attention_bias"`
	Tied          *bool           `json:"tie_word_embeddings"`
	MLPBias       bool            `json:"mlp_bias"`
}

// readConfig reads the configuration of a model that the decoder computes.
func readConfig(path string, read readFile) (Config, error) {
	h, err := readHF(path, read)
	if err != nil {
		return Config{}, err
	}
	c, err := h.shape(path)
	return c, errors.Join(h.refusals(path), err)
}

func readHF(path string, read readFile) (*hfConfig, error) {
	data, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("model configuration: %w", err)
	}
	var h hfConfig
	if err := json.Unmarshal(data, &h); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &h, nil
}

// refusals says what of the model the decoder does not do.
func (h *hfConfig) refusals(path string) error {
	var refused []error
	refuse := func(what string, bad bool) {
		if bad {
			refused = append(refused, fmt.Errorf("%s: %s is not supported", path, what))
		}
	}
	refuse(fmt.Sprintf("model_type %q (supported: llama)", h.ModelType), h.ModelType != "llama")
	refuse(fmt.Sprintf("hidden_act %q (supported: silu)", h.HiddenAct), h.HiddenAct != "" && h.HiddenAct != "silu")
	refuse("rope_scaling", len(h.RopeScaling) > 0 && string(h.RopeScaling) != "null")
	refuse("attention_bias", h.AttentionBias)
	refuse("mlp_bias", h.MLPBias)
	if p := h.RopeParameters; p != nil {
		refuse(fmt.Sprintf("rope_type %q", p.Type), p.Type != "" && p.Type != "default")
	}
	return errors.Join(refused...)
}

// shape takes the dimensions from the file, or says which it lacks.
func (h *hfConfig) shape(path string) (Config, error) {
	c := Config{Architecture: h.ModelType, Name: nameOf(path), RopeBase: 10000}
	if h.Tied != nil {
		c.Tied = *h.Tied
	} else {
		// Gemma's files leave it out, and mean the opposite of Llama's.
		c.Tied = strings.HasPrefix(h.ModelType, "gemma")
	}
	var missing []error
	for _, field := range []struct {
		name string
		from *int
		to   *int
	}{
		{"hidden_size", h.Hidden, &c.Hidden}, {"intermediate_size", h.FFN, &c.FFN}, {"num_hidden_layers", h.Layers, &c.Layers},
		{"num_attention_heads", h.Heads, &c.Heads}, {"vocab_size", h.Vocab, &c.Vocab}, {"max_position_embeddings", h.Context, &c.Context},
	} {
		if field.from == nil {
			missing = append(missing, fmt.Errorf("%s: %s is missing", path, field.name))
			continue
		}
		*field.to = *field.from
	}
	if h.NormEps == nil {
		missing = append(missing, fmt.Errorf("%s: rms_norm_eps is missing", path))
	} else {
		c.NormEps = *h.NormEps
	}
	c.KVHeads = c.Heads
	if h.KVHeads != nil {
		c.KVHeads = *h.KVHeads
	}
	if h.HeadDim != nil {
		c.HeadDim = *h.HeadDim
	} else if c.Heads > 0 {
		c.HeadDim = c.Hidden / c.Heads
	}
	if h.RopeTheta != nil {
		c.RopeBase = *h.RopeTheta
	}
	if p := h.RopeParameters; p != nil && p.Theta != nil {
		c.RopeBase = *p.Theta
	}
	return c, errors.Join(missing...)
}

// nameOf calls a model after the directory of its config.json, or, in a cache of
// the hub, as the hub does.
func nameOf(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	dir := filepath.Dir(path)
	if name, ok := hub.NameOf(dir); ok {
		return name
	}
	return filepath.Base(dir)
}

// withConfig adds what tokenizer.json leaves out: the special tokens' roles and
// the chat template, which newer models keep in a file of its own.
func withConfig(tok *tokenizer.Tokenizer, dir string, read readFile) (*tokenizer.Tokenizer, string, error) {
	path := filepath.Join(dir, "tokenizer_config.json")
	data, err := read(path)
	switch {
	case err == nil:
		if tok, err = tok.WithConfig(path, data); err != nil {
			return nil, "", err
		}
	case !errors.Is(err, os.ErrNotExist):
		return nil, "", fmt.Errorf("tokenizer configuration: %w", err)
	}
	template, err := read(filepath.Join(dir, "chat_template.jinja"))
	switch {
	case err == nil:
		return tok, string(template), nil
	case !errors.Is(err, os.ErrNotExist):
		return nil, "", fmt.Errorf("chat template: %w", err)
	}
	return tok, tok.ChatTemplate(), nil
}
