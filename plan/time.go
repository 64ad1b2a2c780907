package plan

import "math"

// Prediction is how long something should take on a machine of some rates.
type Prediction struct {
	Seconds float64 `json:"seconds"`
	Copy    float64 `json:"copy_seconds"`    // the link's work, were it alone
	Compute float64 `json:"compute_seconds"` // the device's work, were it alone
	Bound   string  `json:"bound_by"`        // what most of the time goes to: BoundCompute, BoundMemory or BoundLink
}

// What a time is bound by.
const (
	BoundCompute = "compute" // multiplications and additions
	BoundMemory  = "memory"  // the device's reads of its own memory, and launches
	BoundLink    = "link"    // copies between host and device
)

// What work takes beside its arithmetic and its bytes. Measured on an H100
// (docs/benchmarks.md); where rates are another machine's, these are assumed.
const (
	// Rates are measured in short bursts, alone. In a run the card's clock falls, and
	// the last blocks of a kernel leave multiprocessors idle.
	linearSustained    = 0.97
	attentionSustained = 0.93
	linkSustained      = 0.97 // copies of pieces
	linkBothWays       = 0.87 // of each direction, while the other is as busy: 47.7 of 54.8 GB/s
	// launch is what a kernel costs beside its work: its ramp and its tail.
	launch = 5e-6
	// layerLaunches are kernels of a layer with one tile: two norms, four linear
	// layers, the rotary embedding, attention (its splits are joined in a second one
	// when decoding), the gated unit; some run while others end.
	layerLaunches = 8
	// tileLaunches are those of a further tile: attention and what joins it.
	tileLaunches = 2
	// layerEvents is what a layer costs in addition if its cache is on the host:
	// events end what dependent launch gives.
	layerEvents = 20e-6
	// hostMemory is at how many bytes a second the first block of a cache on the host
	// is had before a prefill's first pass. Pinning alone does 20e9, and calls that
	// enqueue work wait meanwhile; later blocks are pinned while passes run.
	hostMemory = 13e9
	firstBlock = 8192 // tokens; see transfer.Sequence
)

// PrefillTime predicts a prefill of tokens, read in the method's passes.
func (m Model) PrefillTime(how Method, r Rates, tokens int) Prediction {
	var all Prediction
	var bound bounds
	if how.OnHost && how.FreshHost && r.CopyIn > 0 && m.Local < m.Layers {
		block := max(min(firstBlock, tokens), min(chunkOf(how, tokens), tokens))
		all.Seconds = float64(m.cache(block, m.CachedToken(how))) / hostMemory
	}
	for past := 0; past < tokens; {
		rows := min(chunkOf(how, tokens), tokens-past)
		p := m.pass(how, r, past, rows, past+rows == tokens)
		all.Copy += p.copies()
		all.Compute += p.compute()
		all.Seconds += p.seconds(how, m.Layers-m.Local)
		bound.add(p)
		past += rows
	}
	all.Bound = bound.most()
	return all
}

// DecodeTime predicts one token after a context.
func (m Model) DecodeTime(how Method, r Rates, context int) Prediction {
	p := m.pass(how, r, context, 1, true)
	var bound bounds
	bound.add(p)
	return Prediction{Seconds: p.seconds(how, m.Layers-m.Local), Copy: p.copies(), Compute: p.compute(), Bound: bound.most()}
}

func chunkOf(how Method, tokens int) int {
	if how.Chunk <= 0 {
		return max(tokens, 1)
	}
	return how.Chunk
}

// passTime is what a pass's parts take, each alone, in seconds.
type passTime struct {
	linear, attention float64 // the larger of multiplying and reading, which overlap
	multiplying       float64 // of these two
	moving            float64 // operators that are bound by the device's memory
	launches          float64
	output            float64 // the last token's logits; part of linear
	in, out           float64 // copies
	tiles, tiled      int     // that come from the host, and the layers that have such
}

func (p passTime) compute() float64 { return p.linear + p.attention + p.moving + p.launches }
func (p passTime) copies() float64  { return max(p.in, p.out) }

// seconds puts the parts together: copies in run ahead of what is computed by the
// ring's slots, copies out behind it by a layer.
func (p passTime) seconds(how Method, layers int) float64 {
	compute := p.compute()
	if !how.OnHost || layers == 0 {
		return compute
	}
	if how.TakeTurns {
		return compute + p.in + p.out
	}
	// The last layer's keys and values leave when nothing is computed any more.
	lastOut, perLayer := p.out/float64(layers), compute/float64(layers)
	if p.tiles == 0 {
		return max(compute, p.out) + lastOut
	}
	tile, attend := p.in/float64(p.tiles), p.attention/float64(p.tiles)
	// A slot's round is the copy, the attention and, where all is written back, the copy
	// out of one tile.
	round := p.in + p.attention
	if how.WriteWhole {
		round += p.out
	}
	ring := round / float64(max(how.Slots, 1))
	switch {
	case how.WithinLayer:
		// A layer's first tile comes while nothing is computed, the others beside
		// attention, if there is a second slot.
		others := float64(p.tiles - p.tiled)
		inLayer := float64(p.tiled)*(tile+attend) + others*max(tile, attend)
		if how.Slots == 1 {
			inLayer = round
		}
		return max(compute-p.attention+inLayer, p.out) + lastOut
	case how.Slots == 1:
		// A tile comes while none is attended to: the first of a layer beside the linear
		// layers, but for those after the last.
		linear := (compute - p.attention - p.output) / float64(layers)
		beside := min(tile, linear) * float64(p.tiled-1)
		return max(compute-p.attention+round-beside, p.out) + lastOut
	}
	// What follows the last tile waits for all copies.
	return max(compute+tile, p.in+perLayer+p.output, p.out, ring) + lastOut
}

// pass returns what the parts of a pass of rows tokens take that follow past ones;
// the last of a prompt has logits.
func (m Model) pass(how Method, r Rates, past, rows int, last bool) passTime {
	var p passTime
	n, width := float64(rows), float64(m.Heads*m.HeadDim)
	kvWidth := float64(m.KVHeads * m.HeadDim)
	full, local := m.attending(last || how.Keep > 0) // what receives attention is chosen by that
	perWeight := m.bytesPerWeight()

	// What follows the last layer's attention is for the last token, if for any.
	rest := m.restWeights()
	weights := float64(m.Layers)*m.layerWeights() - rest
	multiplied := weights * n
	if last {
		multiplied, weights = multiplied+rest, weights+rest
	}
	multiply := seconds(2*multiplied, r.Linear*linearSustained)
	p.linear, p.multiplying = max(multiply, seconds(weights*perWeight, r.Read)), multiply
	if last {
		table := float64(m.Hidden) * float64(m.Vocab)
		p.output = max(seconds(2*table, r.Linear), seconds(table*perWeight, r.Read))
		p.linear += p.output
	}

	seen := m.seen(how, past)
	pairs := full*n*(seen+(n+1)/2) + local*n*min(float64(past)+(n+1)/2, float64(m.Window))
	attend := seconds(4*width*pairs, r.Attention*attentionSustained)
	recent := local * min(float64(past), float64(m.Window))
	keys := (full*seen + recent) * kvWidth * 2 * float64(m.ElementBytes)
	p.attention = max(attend, seconds(keys, r.Read))
	p.multiplying += attend

	// Norms with their residuals read and write two rows each, the rotary embedding
	// queries, keys and values, the gated unit reads two and writes one.
	after := 4*float64(m.Hidden) + 3*float64(m.FFN) // attention
	elements := n * (float64(m.Layers)*(4*float64(m.Hidden)+2*(width+2*kvWidth)+after) - after)
	if last {
		elements += after
	}
	moved := elements * float64(m.ElementBytes)
	perLayer := m.perLayer(how, past)
	if spans := m.spans(how, past); spans > 1 && m.ElementBytes < 4 {
		// Each tile reads and writes its heads' partial results in f32.
		moved += full * n * width * 4 * 2 * float64(spans)
	}
	if how.Bits > 0 {
		moved += full * float64(m.KVHeads) * float64(m.CachedToken(how)+m.TokenKV()) * seen
	}
	p.moving = seconds(moved, r.Read)
	if r.Read > 0 || r.Linear > 0 {
		p.launches = launch * (float64(m.Layers)*layerLaunches + full*tileLaunches*float64(max(perLayer-1, 0)))
	}
	if !how.OnHost {
		return p
	}
	if p.launches > 0 {
		p.launches += layerEvents * full
	}
	p.tiled = int(full)
	p.tiles = p.tiled * perLayer
	in, out := full*float64(m.KVHeads)*float64(m.CachedToken(how))*seen, float64(m.cache(rows, m.CachedToken(how)))
	if r.CopyIn > 0 {
		p.in = seconds(in, r.CopyIn*linkSustained) + float64(p.tiles)*tileLatency
	}
	p.out = seconds(out, r.CopyOut*linkSustained)
	if how.WriteWhole {
		p.in, p.out = p.in/linkBothWays, seconds(out+in, r.CopyOut*linkSustained*linkBothWays)
	}
	return p
}

// seen returns how many of the past's tokens a head attends to, on average.
func (m Model) seen(how Method, past int) float64 {
	n := float64(past)
	if how.Keep > 0 {
		return min(n, float64(how.Keep))
	}
	return n*(1-how.Streaming) + how.Streaming*min(n, float64(how.Recent))
}

// spans returns how many tiles a head's past takes.
func (m Model) spans(how Method, past int) int {
	if how.Streaming == 1 {
		past = min(past, how.Recent)
	}
	if how.Span <= 0 || how.Span >= past {
		return 1
	}
	return (past + how.Span - 1) / how.Span
}

// perLayer returns how many tiles of the past a pass attends to in a layer.
func (m Model) perLayer(how Method, past int) int {
	if past == 0 {
		return 0
	}
	groups := 1
	if how.Group > 0 && how.Group < m.KVHeads {
		groups = (m.KVHeads + how.Group - 1) / how.Group
	}
	return groups * m.spans(how, past)
}

// bytesPerWeight is on average, from what all of them take.
func (m Model) bytesPerWeight() float64 {
	table := float64(m.Hidden) * float64(m.Vocab)
	all := float64(m.Layers)*m.layerWeights() + table
	if !m.Tied {
		all += table
	}
	return float64(m.WeightBytes) / math.Max(all, 1)
}

// bounds adds up what the time of passes goes to.
type bounds struct{ compute, memory, link float64 }

func (b *bounds) add(p passTime) {
	memory := p.compute() - p.multiplying
	switch {
	case p.copies() > p.compute():
		b.link += p.copies()
	case memory > p.multiplying:
		b.memory += p.compute()
	default:
		b.compute += p.compute()
	}
}

func (b bounds) most() string {
	switch most := max(b.compute, b.memory, b.link); {
	case most == 0:
		return "" // no rate is known
	case most == b.link:
		return BoundLink
	case most == b.memory:
		return BoundMemory
	}
	return BoundCompute
}
