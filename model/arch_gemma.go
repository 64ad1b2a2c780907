package model

import (
	"fmt"
	"math"

	"headinfer/kernels"
)

// Gemma 2 (Gemma Team 2024): a norm after attention and feed-forward as well as
// before, GELU, scaled embeddings, soft caps on scores and logits, and a
// sliding window in every second layer, from the first on.
//
// Gemma 3 (Gemma Team 2025): norms of each head in place of the caps, a window in
// five layers of six, and a rotary embedding of their own for these. Of models
// that read pictures, too (model_type gemma3), the language model is taken.

func gemma2Directory(h *hfConfig, c *Config) (err error) {
	c.gemma(h.ScoreScale)
	c.ScoreCap, c.LogitCap = value(h.ScoreCap), value(h.LogitCap)
	if h.Window != nil {
		c.slide(*h.Window, h.slides(func(layer int) bool { return layer%2 == 0 }))
	}
	c.Rope, err = h.rope(c, h.RopeParameters)
	return err
}

func gemma3Directory(h *hfConfig, c *Config) (err error) {
	c.gemma(h.ScoreScale)
	c.HeadNorm, c.TextOnly, c.LogitCap = true, h.textOnly, value(h.LogitCap)
	every := 6
	if h.WindowPattern != nil && *h.WindowPattern > 0 {
		every = *h.WindowPattern
	}
	c.slide(*h.Window, h.slides(func(layer int) bool { return (layer+1)%every != 0 }))
	whole, local := h.RopeParameters, &ropeParameters{}
	if whole != nil && (whole.Full != nil || whole.Sliding != nil) {
		if whole.Sliding != nil {
			local = whole.Sliding
		}
		whole = whole.Full
	}
	if kind := local.kind(h.ModelType); kind != "" || local.Share != nil {
		return fmt.Errorf("%s: a rotary embedding of type %q for layers with a window is not supported; supported: default", h.path, kind)
	}
	if c.Rope, err = h.rope(c, whole); err != nil {
		return err
	}
	if h.RopeTheta == nil && (whole == nil || whole.Theta == nil) {
		c.Rope.Base = 1e6
	}
	c.LocalRope = &Rope{Base: or(h.LocalTheta, 10000), Dim: c.HeadDim}
	if local.Theta != nil {
		c.LocalRope.Base = *local.Theta
	}
	return nil
}

// gemma3Defaults sets what a Gemma 3's file leaves out. The files that read
// pictures leave out most, and mean what transformers makes of that.
func (h *hfConfig) gemma3Defaults() {
	if h.ModelType != "gemma3" && h.ModelType != "gemma3_text" {
		return
	}
	for _, field := range []struct {
		at    **int
		value int
	}{
		{&h.Hidden, 2304}, {&h.FFN, 9216}, {&h.Layers, 26}, {&h.Heads, 8}, {&h.KVHeads, 4}, {&h.HeadDim, 256},
		{&h.Vocab, 262208}, {&h.Context, 131072}, {&h.Window, 4096},
	} {
		if *field.at == nil {
			*field.at = &field.value
		}
	}
	epsilon, scale := 1e-6, 256.0
	if h.NormEps == nil {
		h.NormEps = &epsilon
	}
	if h.ScoreScale == nil {
		h.ScoreScale = &scale
	}
}

// gemma sets what all of them have.
func (c *Config) gemma(scoreScale *float64) {
	c.AfterNorm = true
	c.Activation = kernels.GELUTanh
	c.Embedding = math.Sqrt(float64(c.Hidden))
	if scoreScale != nil && *scoreScale > 0 {
		c.Scale = 1 / math.Sqrt(*scoreScale)
	}
}

func gemma2GGUF(g *ggufMeta, c *Config) {
	c.gemma(nil)
	// All models' caps, which the first files leave out, as they do the window.
	c.ScoreCap, c.LogitCap = 50, 30
	if c.Layers == gemma2Largest { // the only one whose heads are not what its scores are scaled by
		c.Scale = 1 / math.Sqrt(float64(c.Hidden)/float64(c.Heads))
	}
	g.optional(&c.ScoreCap, "attn_logit_softcapping")
	g.optional(&c.LogitCap, "final_logit_softcapping")
	c.slide(g.window(4096), func(layer int) bool { return layer%2 == 0 })
	c.Rope = g.rope(c)
}

// gemma2Largest and gemma3Largest are the layers of the models of 27 billion
// parameters.
const (
	gemma2Largest = 46
	gemma3Largest = 62
)

func gemma3GGUF(g *ggufMeta, c *Config) {
	c.gemma(nil)
	if c.Layers == gemma3Largest {
		c.Scale = 1 / math.Sqrt(float64(c.Hidden)/float64(c.Heads))
	}
	c.HeadNorm = true
	g.optional(&c.LogitCap, "final_logit_softcapping")
	c.slide(g.window(0), func(layer int) bool { return (layer+1)%6 != 0 })
	c.Rope = g.rope(c)
	c.LocalRope = &Rope{Base: 10000, Dim: c.HeadDim}
	g.optional(&c.LocalRope.Base, "rope.freq_base_swa")
}
