package model

import "fmt"

// Qwen2 and Qwen2.5 (Yang et al. 2024): Llama with biases of queries, keys and
// values. Files can ask for a sliding window in the later layers.
//
// Qwen3 (Yang et al. 2025): no biases, and each head of queries and keys is
// normalised before it is rotated.

func qwen2Directory(h *hfConfig, c *Config) (err error) {
	c.Bias = true
	return h.qwen(c)
}

func qwen3Directory(h *hfConfig, c *Config) (err error) {
	c.HeadNorm = true
	return h.qwen(c)
}

func (h *hfConfig) qwen(c *Config) (err error) {
	if h.UseWindow && h.Window != nil && *h.Window < c.Context {
		if h.FirstWindow == nil && len(h.LayerTypes) == 0 {
			return fmt.Errorf("%s: use_sliding_window is true, and neither max_window_layers nor layer_types says for which layers", h.path)
		}
		first := or(h.FirstWindow, 0)
		c.slide(*h.Window, h.slides(func(layer int) bool { return layer >= first }))
	}
	c.Rope, err = h.rope(c, h.RopeParameters)
	return err
}

func qwen2GGUF(g *ggufMeta, c *Config) {
	c.Bias = true
	c.Rope = g.rope(c)
	g.refuse("attention.sliding_window")
}

func qwen3GGUF(g *ggufMeta, c *Config) {
	c.HeadNorm = true
	c.Rope = g.rope(c)
	g.refuse("attention.sliding_window")
}
