package model

// Llama 1 to 3.3 and what shares its blocks, such as SmolLM2 (Touvron et al.
// 2023, Grattafiori et al. 2024): its blocks are the decoder's own, and later
// versions stretch the rotary embedding.

func llamaDirectory(h *hfConfig, c *Config) (err error) {
	c.Rope, err = h.rope(c, h.RopeParameters)
	return err
}

func llamaGGUF(g *ggufMeta, c *Config) {
	c.Interleaved = true
	c.Rope = g.rope(c)
	g.refuse("attention.sliding_window")
}
