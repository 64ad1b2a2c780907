package plan

// Rates are what a machine can do at most, each measured alone.
type Rates struct {
	CopyIn    float64 `json:"copy_in_bytes_per_second"`  // host to device
	CopyOut   float64 `json:"copy_out_bytes_per_second"` // device to host
	Linear    float64 `json:"linear_flop_per_second"`    // multiplications and additions in linear layers
	Attention float64 `json:"attention_flop_per_second"` // the same, in attention
	Read      float64 `json:"read_bytes_per_second"`     // by the device, of its own memory
}

// Limit is the least time that something can take: what bounds it is the
// larger of the two. Seconds.
type Limit struct {
	Copy    float64 `json:"copy_seconds"`
	Compute float64 `json:"compute_seconds"`
}

// Seconds returns the larger part: copies and compute can overlap.
func (l Limit) Seconds() float64 { return max(l.Copy, l.Compute) }

// LinearFlops returns the multiplications and additions that a prompt needs in linear
// layers: two for each weight of the layers and token, and the output layer once, for
// the last token. Of the other tokens the last layer has keys and values only.
func (m Model) LinearFlops(tokens int) float64 {
	keys := 2 * float64(m.Hidden) * float64(m.KVHeads*m.HeadDim) // weights of keys and values
	every := float64(m.Layers)*m.layerWeights() - (m.layerWeights() - keys)
	last := m.layerWeights() - keys + float64(m.Hidden)*float64(m.Vocab)
	return 2*every*float64(tokens) + 2*last
}

// layerWeights returns the weights of a layer's matrices.
func (m Model) layerWeights() float64 {
	width, kv := float64(m.Heads*m.HeadDim), float64(m.KVHeads*m.HeadDim)
	return float64(m.Hidden) * (2*width + 2*kv + 3*float64(m.FFN))
}

// restWeights returns those of them that come after attention.
func (m Model) restWeights() float64 {
	return float64(m.Hidden) * (float64(m.Heads*m.HeadDim) + 3*float64(m.FFN))
}

// AttentionFlops returns the multiplications and additions that a prompt needs in
// attention: two products, each two a query, key and element of the heads,
// over the causal half of the matrix, or the window's part of it. In the last layer only
// the last token has a query.
func (m Model) AttentionFlops(tokens int) float64 {
	if tokens == 0 {
		return 0
	}
	n := float64(tokens)
	full, local := m.attending(false)
	pairs := full * n * (n + 1) / 2
	seen := float64(min(tokens, m.Window))
	pairs += local * (seen*(seen+1)/2 + (n-seen)*seen)
	if m.LocalLast || m.Local == m.Layers {
		pairs += seen
	} else {
		pairs += n
	}
	return 4 * float64(m.Heads*m.HeadDim) * pairs
}

// attending returns how many layers that see everything, and how many with a window,
// attend in a pass: all, or all but the last.
func (m Model) attending(last bool) (full, local float64) {
	full, local = float64(m.Layers-m.Local), float64(m.Local)
	switch {
	case last:
	case m.LocalLast || m.Local == m.Layers:
		local--
	default:
		full--
	}
	return full, local
}

// StepFlops returns the multiplications and additions of a token's attention to a context
// that ends with itself.
func (m Model) StepFlops(context int) float64 {
	full, local := m.attending(true)
	return 4 * float64(m.Heads*m.HeadDim) * (full*float64(context) + local*float64(min(context, m.Window)))
}

// PastTokens returns the sum of what each chunk of a prompt has before it. A chunk of 0
// is the whole prompt.
func PastTokens(tokens, chunk int) int64 {
	if chunk <= 0 || chunk >= tokens {
		return 0
	}
	whole, c := int64((tokens-1)/chunk), int64(chunk) // the passes after the first
	return c * whole * (whole + 1) / 2
}

// PrefillCopies returns the bytes that a prefill of tokens brings to the
// device, and those that it takes away. The last layer's past comes with the last
// chunk only.
func (m Model) PrefillCopies(how Method, tokens int) (in, out int64) {
	if !how.OnHost {
		return 0, 0
	}
	layer, past, last := int64(m.KVHeads)*m.CachedToken(how), PastTokens(tokens, how.Chunk), int64(0)
	if past > 0 {
		last = int64((tokens - 1) / how.Chunk * how.Chunk)
	}
	some, _ := m.attending(false)
	all, _ := m.attending(true)
	return layer * (int64(some)*(past-last) + int64(all)*last), m.cache(tokens, m.CachedToken(how))
}

// DecodeCopies returns the bytes that a token after a context brings to the device:
// the whole cache, or of one in codes its whole records.
func (m Model) DecodeCopies(how Method, context int) int64 {
	if !how.OnHost {
		return 0
	}
	if how.Bits > 0 {
		context = context / how.ScaleGroup * how.ScaleGroup
	}
	return m.cache(context, m.CachedToken(how))
}

// ReadPerToken returns the bytes of weights that one token must read: all but
// the embedding, of which it takes a row, unless that is the output matrix
// too. The embedding's share of the bytes is taken to be its share of the
// weights.
func (m Model) ReadPerToken() int64 {
	if m.Tied {
		return m.WeightBytes
	}
	table := float64(m.Hidden) * float64(m.Vocab)
	share := table / (2*table + float64(m.Layers)*m.layerWeights())
	return m.WeightBytes - int64(share*float64(m.WeightBytes))
}

// PrefillReads returns the bytes that a device reads of its own memory in a prefill, at
// least: the weights of each pass, and the keys and values of what precedes it and of its
// own. The last layer's past, what follows its attention and the output layer are for the
// last pass only.
func (m Model) PrefillReads(how Method, tokens int) (weights, cache float64) {
	once := (m.restWeights() + float64(m.Hidden)*float64(m.Vocab)) * m.bytesPerWeight()
	head, chunk := float64(m.KVHeads)*float64(m.TokenKV()), chunkOf(how, tokens)
	for at := 0; at < tokens; at += chunk {
		full, _ := m.attending(at+chunk >= tokens)
		weights += float64(m.ReadPerToken()) - once
		cache += full * head * m.seen(how, at)
	}
	return weights + once, cache + float64(m.KV(tokens))
}

// PrefillLimit returns the least seconds that a prefill of tokens can take
// that brings in bytes to the device and takes out bytes away.
func (m Model) PrefillLimit(r Rates, tokens int, in, out int64) Limit {
	return Limit{
		Copy:    max(seconds(float64(in), r.CopyIn), seconds(float64(out), r.CopyOut)),
		Compute: seconds(m.LinearFlops(tokens), r.Linear) + seconds(m.AttentionFlops(tokens), r.Attention),
	}
}

// DecodeLimit returns the least seconds that a token can take after a context
// of tokens, if in bytes must come to the device for it. The device reads
// every weight and the keys and values of the whole context, wherever these
// lay before.
func (m Model) DecodeLimit(r Rates, context int, in int64) Limit {
	return Limit{
		Copy:    seconds(float64(in), r.CopyIn),
		Compute: seconds(float64(m.ReadPerToken()+m.KV(context)+m.Recent(context)), r.Read),
	}
}

// seconds returns the time of some work at a rate; a rate that is not known
// bounds nothing.
func seconds(work, rate float64) float64 {
	if rate <= 0 {
		return 0
	}
	return work / rate
}
