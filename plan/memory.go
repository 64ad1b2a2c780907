// Package plan is arithmetic about models and machines, with no device: what a
// method takes of device and host memory, and the least time that a machine's
// rates leave it. Its functions are pure; sizes are in bytes, times in seconds.
package plan

// Model is what memory depends on.
type Model struct {
	Layers, Hidden, Heads, KVHeads, HeadDim, FFN, Vocab int
	WeightBytes                                         int64
	ElementBytes                                        int64 // of activations, keys and values
	Tied                                                bool  // the embedding is the output matrix too
	Rotary                                              int   // f32 numbers a token in the rotary tables; 0: HeadDim
	// Local layers see Window tokens, the last ones, and keep them on the device.
	Local, Window int
	LocalLast     bool // the last layer is one of them
}

// Method is a shape of the tiles (the first table of the design notes).
type Method struct {
	Chunk  int  // tokens of a pass; 0: the whole prompt
	OnHost bool // where the cache lies between uses
	Group  int  // KV heads a tile; 0: all
	Span   int  // tokens a tile; 0: all
	Slots  int  // tiles on the device at a time, if OnHost

	// An encoded cache has codes of some bits, so many to a scale and a minimum
	// of 2 bytes each; as many tokens are a record. 0: it is as attention takes it.
	Bits, ScaleGroup int

	// A cache on the device that drops tokens keeps up to so many beside a
	// pass's own, and chooses so many of them. 0: it keeps all.
	Keep, Choose int

	// So much of the heads (0 to 1) attends to Recent tokens of the past only, lossily.
	// Memory does not know of it: the cache has all tokens.
	Streaming float64
	Recent    int

	// What a pipeline on the host may go without: copies and computing take turns; no
	// tile is copied before its layer's queries are there; each tile that came is written
	// back as a whole.
	TakeTurns, WithinLayer, WriteWhole bool
	// Pageable says that the cache's host memory is not pinned: its copies go at a rate
	// that no Rates have, and times are not predicted.
	Pageable bool
	// FreshHost says that the cache's host memory is taken (and pinned) as the text is
	// read, and is not there from an earlier one.
	FreshHost bool
}

// Memory is what a run takes, without operators' workspace.
type Memory struct {
	Weights     int64 `json:"weights_bytes"`
	KV          int64 `json:"kv_bytes"` // on the device
	Activations int64 `json:"activations_bytes"`
	HostKV      int64 `json:"host_kv_bytes"`
}

// Device returns the sum on the device.
func (m Memory) Device() int64 { return m.Weights + m.KV + m.Activations }

// Standard is attention as it is usually run: the prompt in one pass, the
// whole cache on the device.
func Standard() Method { return Method{} }

// TokenKV returns the cache of one token in one KV head of one layer: K and V.
func (m Model) TokenKV() int64 { return 2 * int64(m.HeadDim) * m.ElementBytes }

// KV returns the whole cache of some tokens, of the layers that keep all.
func (m Model) KV(tokens int) int64 { return m.cache(tokens, m.TokenKV()) }

func (m Model) cache(tokens int, token int64) int64 {
	return int64(m.Layers-m.Local) * int64(m.KVHeads) * int64(tokens) * token
}

// Recent returns what layers with a window keep of a text of some tokens.
func (m Model) Recent(tokens int) int64 {
	if m.Local == 0 {
		return 0
	}
	return int64(m.Local) * int64(m.KVHeads) * int64(min(tokens, m.Window-1)) * m.TokenKV()
}

// CachedToken is TokenKV as a method keeps it.
func (m Model) CachedToken(how Method) int64 {
	if how.Bits == 0 {
		return m.TokenKV()
	}
	return 2 * int64(m.HeadDim/how.ScaleGroup) * int64(how.ScaleGroup*how.Bits/8+4)
}

// Activations returns the buffers of a pass of rows tokens in segments
// sequences: hidden states twice, queries, keys, values and attention's output
// or, in the same place, the feed-forward's gate and up, the rotary table,
// log-sum-exp, two layers' new keys and values, and the last hidden states
// (twice) and logits.
func (m Model) Activations(rows, segments int) int64 {
	width, kv := m.Heads*m.HeadDim, m.KVHeads*m.HeadDim
	elements := rows*(2*m.Hidden+max(2*width+2*kv, 2*m.FFN)+4*kv) + segments*2*m.Hidden
	rotary := m.Rotary
	if rotary == 0 {
		rotary = m.HeadDim
	}
	floats := rows*(rotary+m.Heads) + segments*m.Vocab
	return int64(elements)*m.ElementBytes + int64(floats)*4
}

// partial returns what results of a tile of group heads take that are merged, in f32.
func (m Model) partial(rows, group int) int64 {
	return int64(rows) * int64(group*m.Heads/m.KVHeads*m.HeadDim) * 4
}

// Memory returns what a method takes for one text of prompt tokens of which
// the cache holds tokens in the end.
func (m Model) Memory(how Method, prompt, tokens int) Memory {
	rows := prompt
	if how.Chunk > 0 {
		rows = min(how.Chunk, prompt)
	}
	use := Memory{Weights: m.WeightBytes, Activations: m.Activations(rows, 1), KV: m.Recent(tokens)}
	if m.Local == m.Layers && m.Layers > 0 {
		return use // there are no tiles
	}
	token, group := m.CachedToken(how), m.KVHeads
	if how.Group > 0 {
		group = min(how.Group, m.KVHeads)
	}
	if how.Bits > 0 {
		// What does not fill a record is kept as it is, on the device, and so is
		// what a pass makes of its own tokens, and what attention takes of a tile.
		records := (rows + how.ScaleGroup - 1) / how.ScaleGroup * how.ScaleGroup
		tokens = tokens / how.ScaleGroup * how.ScaleGroup
		use.KV += m.KV(how.ScaleGroup) + int64(group)*int64(records)*token
	}
	span := tokens
	if how.Span > 0 {
		span = min(how.Span, tokens)
	}
	if span < tokens && m.ElementBytes < 4 {
		use.Activations += m.partial(rows, group)
	}
	if how.Bits > 0 {
		use.KV += int64(group) * int64(span) * m.TokenKV()
	}
	if !how.OnHost {
		if how.Keep > 0 {
			tokens = min(tokens, how.Keep+rows)
			// What each has received, and the keys or values of a head on their way.
			use.KV += int64(m.Layers)*int64(m.KVHeads)*int64(tokens)*4 + int64(how.Choose)*token/2
		}
		use.KV += m.cache(tokens, token)
		return use
	}
	use.HostKV = m.cache(tokens, token)
	use.KV += int64(how.Slots) * int64(group) * int64(span) * token
	return use
}
