package model

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"headinfer/internal/shorten"
	"headinfer/model/hub"
	"headinfer/model/jsonfile"
	"headinfer/model/safetensors"
	"headinfer/model/tokenizer"
)

// openDirectory reads a model as Hugging Face lays it out.
func openDirectory(dir string) (*Checkpoint, error) {
	return openLayout(dir, readSmall, func() (*safetensors.Set, error) { return safetensors.Open(dir) })
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
	tok, err := readTokenizer(dir, read)
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
		source: &stored{path: dir, lookup: architectures[config.Architecture].find(config, set.Tensor), closer: set.Close},
	}, nil
}

// readTokenizer reads tokenizer.json or, where there is none, SentencePiece's
// tokenizer.model.
func readTokenizer(dir string, read readFile) (*tokenizer.Tokenizer, error) {
	path := filepath.Join(dir, "tokenizer.json")
	data, err := read(path)
	if err == nil {
		return tokenizer.FromJSON(path, data)
	}
	if errors.Is(err, os.ErrNotExist) {
		other := filepath.Join(dir, "tokenizer.model")
		data, otherErr := read(other)
		switch {
		case otherErr == nil:
			return tokenizer.FromSentencePiece(other, data)
		case !errors.Is(otherErr, os.ErrNotExist):
			err = otherErr
		}
	}
	return nil, fmt.Errorf("tokenizer: %w", err)
}

// hfConfig is the part of config.json that the decoder acts on, or must refuse.
type hfConfig struct {
	path     string
	textOnly bool // it is the language model of one that reads pictures, too
	otherParts

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
	Tied      *bool    `json:"tie_word_embeddings"`
	HiddenAct string   `json:"hidden_act"`
	GemmaAct  string   `json:"hidden_activation"` // where Gemma's files say it
	Bias      bool     `json:"attention_bias"`
	MLPBias   bool     `json:"mlp_bias"`

	Bidirectional bool `json:"use_bidirectional_attention"`

	RopeTheta   *float64        `json:"rope_theta"`
	LocalTheta  *float64        `json:"rope_local_base_freq"`
	RopeScaling *ropeParameters `json:"rope_scaling"`
	// RopeParameters is where newer files keep all of a rotary embedding.
	RopeParameters *ropeParameters `json:"rope_parameters"`
	RopeShare      *float64        `json:"partial_rotary_factor"`
	Trained        *int            `json:"original_max_position_embeddings"`
	RopeLayers     []int           `json:"no_rope_layers"`
	NoRopeEvery    *int            `json:"no_rope_layer_interval"`

	Window        *int     `json:"sliding_window"`
	UseWindow     bool     `json:"use_sliding_window"`
	FirstWindow   *int     `json:"max_window_layers"`
	WindowPattern *int     `json:"sliding_window_pattern"`
	LayerTypes    []string `json:"layer_types"`

	ScoreScale *float64 `json:"query_pre_attn_scalar"`
	ScoreCap   *float64 `json:"attn_logit_softcapping"`
	LogitCap   *float64 `json:"final_logit_softcapping"`
}

// readConfig reads the configuration of a model that the decoder computes.
func readConfig(path string, read readFile) (Config, error) {
	h, err := readHF(path, read)
	if err != nil {
		return Config{}, err
	}
	a, err := findArchitecture(path, "model_type", h.ModelType, func(a architecture) bool { return a.directory != nil })
	if err != nil {
		return Config{}, h.explain(err)
	}
	c, err := h.shape()
	if err := errors.Join(h.refusals(), err); err != nil {
		return Config{}, err
	}
	if err := c.validateDimensions(path); err != nil {
		return Config{}, err
	}
	return c, a.directory(h, &c)
}

func readHF(path string, read readFile) (*hfConfig, error) {
	data, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("model configuration: %w", err)
	}
	h := hfConfig{path: path}
	if err := jsonfile.Unmarshal(data, &h); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := nothingTwice(data); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	text, err := h.languageModel()
	if err != nil {
		return nil, err
	}
	text.gemma3Defaults()
	return text, nil
}

// refusals says what of the model no architecture does.
func (h *hfConfig) refusals() error {
	var refused []error
	refuse := func(what string, bad bool) {
		if bad {
			refused = append(refused, fmt.Errorf("%s: %s is not supported", h.path, what))
		}
	}
	act, gemma := h.HiddenAct, strings.HasPrefix(h.ModelType, "gemma")
	if h.GemmaAct != "" {
		act = h.GemmaAct
	}
	refuse(fmt.Sprintf("hidden_act %q (supported: silu)", shorten.Text(act)), !gemma && act != "" && act != "silu")
	refuse(fmt.Sprintf("hidden_activation %q (supported: gelu_pytorch_tanh)", shorten.Text(act)), gemma && act != "" && act != "gelu_pytorch_tanh")
	refuse("attention_bias: true", h.Bias)
	refuse("mlp_bias: true", h.MLPBias)
	refuse("use_bidirectional_attention: true", h.Bidirectional)
	refuse(fmt.Sprintf("a sliding window of %d tokens", or(h.Window, 1)), or(h.Window, 1) < 1)
	if n := len(h.LayerTypes); n > 0 && h.Layers != nil && n != *h.Layers {
		refused = append(refused, fmt.Errorf("%s: layer_types names %d layers, and the model has %d", h.path, n, *h.Layers))
	}
	for _, kind := range h.LayerTypes {
		if kind != slidingLayer && kind != fullLayer {
			refuse(fmt.Sprintf("a layer of type %q (supported: %s, %s)", shorten.Text(kind), slidingLayer, fullLayer), true)
			break // one says it
		}
	}
	return errors.Join(refused...)
}

// What layer_types calls layers.
const (
	slidingLayer = "sliding_attention"
	fullLayer    = "full_attention"
)

// slides returns which layers have a window: those that layer_types says, or
// else those of a rule.
func (h *hfConfig) slides(rule func(layer int) bool) func(layer int) bool {
	if len(h.LayerTypes) == 0 {
		return rule
	}
	return func(layer int) bool { return h.LayerTypes[layer] == slidingLayer }
}

// slide gives layers a window, if there are such.
func (c *Config) slide(window int, which func(layer int) bool) {
	sliding, found := make([]bool, c.Layers), false
	for l := range sliding {
		sliding[l] = which(l)
		found = found || sliding[l]
	}
	if found && window > 0 {
		c.Window, c.Sliding = window, sliding
	}
}

// value returns a number, or 0 where a file has none.
func value(p *float64) float64 {
	if p == nil {
		return 0
	}
	return *p
}

// shape takes the dimensions from the file, or says which it lacks.
func (h *hfConfig) shape() (Config, error) {
	path := h.path
	c := Config{Architecture: h.ModelType, Name: nameOf(path), Rope: Rope{Base: 10000}}
	if h.Tied != nil {
		c.Tied = *h.Tied
	} else {
		// Some leave it out, and mean the opposite of what Llama means by that.
		c.Tied = strings.HasPrefix(h.ModelType, "gemma") || h.ModelType == "smollm3"
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
	c.Rope = Rope{Base: h.theta(h.RopeParameters), Dim: c.HeadDim}
	return c, errors.Join(missing...)
}

// theta returns a rotary embedding's base.
func (h *hfConfig) theta(p *ropeParameters) float64 {
	switch {
	case p != nil && p.Theta != nil:
		return *p.Theta
	case h.RopeTheta != nil:
		return *h.RopeTheta
	}
	return 10000
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
