package model

// Mistral (Jiang et al. 2023): Llama with, in its first version, a sliding
// window in every layer. Its GGUF files call themselves llama.

func mistralDirectory(h *hfConfig, c *Config) (err error) {
	if h.Window != nil && *h.Window < c.Context {
		c.slide(*h.Window, func(int) bool { return true })
	}
	c.Rope, err = h.rope(c, h.RopeParameters)
	return err
}
