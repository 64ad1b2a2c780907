package model

import "strings"

// Phi-3 and Phi-4-mini (Abdin et al. 2024): Llama with queries, keys and values
// in one matrix, and gate and up in another, the rotary embedding of a part of
// each head in some, and stretched by longrope.

func phi3Directory(h *hfConfig, c *Config) (err error) {
	if h.Window != nil && *h.Window < c.Context {
		c.slide(*h.Window, func(int) bool { return true })
	}
	c.Rope, err = h.rope(c, h.RopeParameters)
	return err
}

func phi3GGUF(g *ggufMeta, c *Config) {
	// llama.cpp leaves the window out; the model was trained with it.
	if window := g.window(0); window < c.Context {
		c.slide(window, func(int) bool { return true })
	}
	c.Rope = g.rope(c)
}

// phi3Whole is where a weight is in the two matrices.
func phi3Whole(c Config, name string) (whole string, r rows) {
	q, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	for _, part := range []struct {
		part, whole string
		rows        rows
	}{
		{partQ, partQKV, rows{0, q, q + 2*kv}}, {partK, partQKV, rows{q, q + kv, q + 2*kv}}, {partV, partQKV, rows{q + kv, q + 2*kv, q + 2*kv}},
		{partGate, partGateUp, rows{0, c.FFN, 2 * c.FFN}}, {partUp, partGateUp, rows{c.FFN, 2 * c.FFN, 2 * c.FFN}},
	} {
		if layer, ok := strings.CutSuffix(name, part.part); ok {
			return layer + part.whole, part.rows
		}
	}
	return "", rows{}
}
