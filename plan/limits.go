package plan

// Rates are what a machine can do at most.
type Rates struct {
	Flops     float64 // multiplications and additions a second
	ReadBytes float64 // bytes read from memory a second
}

// PrefillFlops returns the multiplications and additions of reading a prompt
// of tokens: two for each weight of the layers and token, attention's two
// products over the causal half of the matrix, and the output layer once.
func (m Model) PrefillFlops(tokens int) float64 {
	n, width := float64(tokens), float64(m.Heads*m.HeadDim)
	layer := float64(m.Hidden) * (2*width + 2*float64(m.KVHeads*m.HeadDim) + 3*float64(m.FFN))
	attention := 4 * width * n * (n + 1) / 2
	return float64(m.Layers)*(2*layer*n+attention) + 2*float64(m.Hidden)*float64(m.Vocab)
}

// DecodeBytes returns the bytes that one token must read: every weight, and
// the cache of the tokens before it.
func (m Model) DecodeBytes(tokens int) float64 {
	return float64(m.WeightBytes) + float64(m.KV(tokens))
}

// PrefillLimit returns the most prompt tokens a second.
func (m Model) PrefillLimit(r Rates, tokens int) float64 {
	return float64(tokens) * r.Flops / m.PrefillFlops(tokens)
}

// DecodeLimit returns the most tokens a second after a context of tokens.
func (m Model) DecodeLimit(r Rates, tokens int) float64 {
	return r.ReadBytes / m.DecodeBytes(tokens)
}
