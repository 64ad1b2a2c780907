package model

import "fmt"

// SmolLM3 (Bakouch et al. 2025): Llama without a rotary embedding in every
// fourth layer.

func smolLM3Directory(h *hfConfig, c *Config) (err error) {
	c.NoRope = make([]bool, c.Layers)
	every := 4
	if h.NoRopeEvery != nil && *h.NoRopeEvery > 0 {
		every = *h.NoRopeEvery
	}
	if n := len(h.RopeLayers); n > 0 && n != c.Layers {
		return fmt.Errorf("%s: no_rope_layers names %d layers, and the model has %d", h.path, n, c.Layers)
	}
	for l := range c.NoRope {
		c.NoRope[l] = (l+1)%every == 0
		if len(h.RopeLayers) > 0 { // which have one, in spite of the field's name
			c.NoRope[l] = h.RopeLayers[l] == 0
		}
	}
	if h.UseWindow && h.Window != nil {
		c.slide(*h.Window, h.slides(func(layer int) bool { return c.NoRope[layer] }))
	}
	c.Rope, err = h.rope(c, h.RopeParameters)
	return err
}

func smolLM3GGUF(g *ggufMeta, c *Config) {
	c.NoRope = make([]bool, c.Layers)
	for l := range c.NoRope {
		c.NoRope[l] = (l+1)%4 == 0
	}
	c.Interleaved = true
	g.refuse("attention.sliding_window")
	c.Rope = g.rope(c)
}
