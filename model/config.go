package model

import (
	"fmt"
	"math"

	"headinfer/kernels"
	"headinfer/transfer"
)

// Config describes a decoder: the blocks that all architectures share, and
// which of them a model has. The zero value of what an architecture adds to
// Llama's is that it adds nothing.
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
	Rope         Rope    `json:"rope"`
	NormEps      float64 `json:"norm_eps"`
	// Interleaved says that a head's rotary pairs are neighbours, as GGUF
	// stores Llama's, not halves apart, as Hugging Face does.
	Interleaved bool `json:"interleaved"`
	// TextOnly says that the model reads pictures, too, which the decoder does not:
	// this is its language model.
	TextOnly bool `json:"text_only,omitempty"`
	// Tied says that the embedding is the output matrix too.
	Tied bool `json:"tied"`

	// Window is how many tokens, itself included, a token sees in the layers that
	// Sliding names; 0: there are none such.
	Window  int    `json:"window,omitempty"`
	Sliding []bool `json:"sliding,omitempty"`
	// LocalRope is these layers' rotary embedding, if it is not Rope.
	LocalRope *Rope `json:"local_rope,omitempty"`
	// NoRope names the layers without a rotary embedding; nil: none.
	NoRope []bool `json:"no_rope,omitempty"`

	Bias      bool    `json:"bias,omitempty"`       // of queries, keys and values
	HeadNorm  bool    `json:"head_norm,omitempty"`  // of each query's and key's head
	AfterNorm bool    `json:"after_norm,omitempty"` // of what attention and feed-forward add, too
	Scale     float64 `json:"scale,omitempty"`      // of attention's scores; 0: 1/sqrt(head_dim)
	ScoreCap  float64 `json:"score_cap,omitempty"`  // bounds scores softly; 0: nothing does
	LogitCap  float64 `json:"logit_cap,omitempty"`  // bounds logits softly
	Embedding float64 `json:"embedding,omitempty"`  // multiplies embeddings; 0: 1

	Activation kernels.Activation `json:"activation,omitempty"` // of the gated linear unit
}

// Group returns how many query heads share a KV head.
func (c Config) Group() int { return c.Heads / c.KVHeads }

// ScoreScale returns what multiplies attention's scores.
func (c Config) ScoreScale() float64 {
	if c.Scale > 0 {
		return c.Scale
	}
	return 1 / math.Sqrt(float64(c.HeadDim))
}

// ropes returns the rotary embeddings of the layers: Rope, and LocalRope if there
// is one.
func (c Config) ropes() []Rope {
	if c.LocalRope == nil {
		return []Rope{c.Rope}
	}
	return []Rope{c.Rope, *c.LocalRope}
}

// slides reports whether a layer has a window.
func (c Config) slides(layer int) bool { return c.Window > 0 && c.Sliding[layer] }

// KVShape returns what the key–value cache looks like in an encoding.
func (c Config) KVShape(d kernels.DType) transfer.Shape {
	shape := transfer.Shape{Layers: c.Layers, KVHeads: c.KVHeads, HeadDim: c.HeadDim, DType: d}
	if c.Window > 0 {
		shape.Local = &transfer.Local{Window: c.Window, Layers: c.Sliding}
	}
	return shape
}

// Limits that no model comes near: a file that passes them is damaged, and
// arithmetic on what is within them cannot overflow.
const (
	maxDim    = 1 << 24
	maxLayers = 1 << 12
)

// validateDimensions checks that a file's sizes are such as a model has; file
// names where they came from.
func (c Config) validateDimensions(file string) error {
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
	return nil
}

// validate checks what the decoder relies on.
func (c Config) validate(file string) error {
	if err := c.validateDimensions(file); err != nil {
		return err
	}
	switch {
	case c.Heads%c.KVHeads != 0:
		return fmt.Errorf("%s: %d query heads do not divide among %d KV heads", file, c.Heads, c.KVHeads)
	case c.HeadDim%8 != 0 || c.HeadDim > 1024:
		return fmt.Errorf("%s: head_dim %d is not a multiple of 8 up to 1024", file, c.HeadDim)
	case !(float32(c.NormEps) > 0) || c.NormEps > 1: // 32 bits are what devices compute with
		return fmt.Errorf("%s: normalisation epsilon %g is not between 0 and 1", file, c.NormEps)
	case c.Window < 0 || c.Window > math.MaxInt32:
		return fmt.Errorf("%s: a sliding window of %d tokens; expected 1 to %d", file, c.Window, math.MaxInt32)
	case c.Window > 0 && len(c.Sliding) != c.Layers:
		return fmt.Errorf("%s: a window of %d tokens for %d of %d layers", file, c.Window, len(c.Sliding), c.Layers)
	case c.NoRope != nil && len(c.NoRope) != c.Layers:
		return fmt.Errorf("%s: rotary embeddings are said of %d layers; the model has %d", file, len(c.NoRope), c.Layers)
	}
	for _, number := range []struct {
		name  string
		value float64
	}{
		{"the scale of attention's scores", c.Scale}, {"the cap of attention's scores", c.ScoreCap},
		{"the cap of logits", c.LogitCap}, {"the scale of embeddings", c.Embedding},
	} {
		if !(number.value >= 0) || number.value > math.MaxFloat32 || number.value > 0 && float32(number.value) == 0 {
			return fmt.Errorf("%s: %s is %g; expected 0, or a number that 32 bits hold", file, number.name, number.value)
		}
	}
	if c.LocalRope != nil {
		if err := c.LocalRope.validate(file, c.HeadDim); err != nil {
			return err
		}
	}
	return c.Rope.validate(file, c.HeadDim)
}
