package plan

import (
	"fmt"
	"math"
	"strings"
)

// Machine is what sizes are chosen by. It is known and not measured, so that the same
// machine with the same budget always gives the same sizes.
type Machine struct {
	Rates
	Blocks, BlockRows int   // of attention; see kernels.Nominal
	Chunk             int   // tokens of a pass from which on operators are near their best
	Memory            int64 // the device's budget, in bytes
}

// Chosen is a size and why it is that.
type Chosen struct {
	Tokens int // 0: all
	Why    string
}

const (
	// room is the part of the memory beside the weights that a pass's buffers may
	// take, and the part that the ring may: the rest is for what grows.
	room = 4
	// ahead is how many times the break-even a chunk is. Each pass has copies that
	// nothing hides, its first tiles', and fewer passes have fewer of them. Measured
	// with Llama-3-8B's shape on an H100 (128 Ki tokens): 11.0 s with 1.5 times the
	// break-even, 10.6 s with 3 times, 10.8 s with 6 times.
	ahead = 3
	// most is by how many times a device's own chunk grows for it.
	most = 4
	// rows is what chunks are multiples of where there is room: rows of a tile of
	// matrix products. fewRows is that for small budgets.
	rows, fewRows = 128, 16
	// slack is by how much a chunk may grow to fill the last wave of blocks.
	slack = 1.25

	// tileLatency is what a tile costs beside its bytes, in seconds: the copy's start
	// and the events on either side (9 to 18 µs on an H100; docs/benchmarks.md).
	tileLatency = 15e-6
	// hidden is the part of a tile's time that its bytes are to be.
	hidden = 0.95
	// anyTile is the bytes of a tile where the rate of copies is not known.
	anyTile = 16 << 20
	// spans are multiples of wholeSpan where there is room, else of leastSpan, which
	// records of codes divide.
	wholeSpan, leastSpan = 256, 64
)

// BreakEven returns the tokens of a pass, not rounded, that take as long to compute
// in the layers as the cache of context tokens before them takes to come to the device:
// what is copied does not depend on the pass's tokens, what is computed grows with them.
// It is 0 if nothing is copied, or rates are not known.
//
//	copies  = context · bytes of a token's cache / copy rate
//	a token = 2 · weights of layers / linear rate + 4 · heads · head_dim · layers · context / attention rate
//	break-even = copies / a token
func (m Model) BreakEven(how Method, r Rates, context int) float64 {
	if !how.OnHost || r.CopyIn <= 0 || r.Linear <= 0 || r.Attention <= 0 {
		return 0
	}
	n := float64(context)
	copies := n * float64(m.cache(1, m.CachedToken(how))) / r.CopyIn
	token := 2*float64(m.Layers)*m.layerWeights()/r.Linear + 4*float64(m.Heads*m.HeadDim)*float64(m.Layers-m.Local)*n/r.Attention
	return copies / token
}

// ChooseChunk returns the tokens of a prefill's passes for texts of up to context
// tokens: some times the break-even, so that copies hide behind what is computed, or
// what the device is at its best with, if that is more; then as many more as fill
// whole waves of attention's blocks; and no more than there is memory for.
func (m Model) ChooseChunk(how Method, machine Machine, context int) Chosen {
	least := float64(machine.Chunk)
	why := []string{fmt.Sprintf("operators are near their best from %d on", machine.Chunk)}
	if even := m.BreakEven(how, machine.Rates, context); even > 0 {
		why = []string{fmt.Sprintf("computing takes as long as copying the past from %.0f tokens on, and %d times that leaves nothing to wait for", even, ahead)}
		if ahead*even < least {
			why = append(why, fmt.Sprintf("operators are near their best from %d on", machine.Chunk))
		}
		if ahead*even > most*least {
			why = append(why, fmt.Sprintf("more than %d would take memory for little", int(most*least)))
		}
		least = min(max(ahead*even, least), most*least)
	}
	chunk := int(math.Ceil(least/fewRows)) * fewRows
	if machine.Blocks > 0 && machine.BlockRows > 0 {
		var full float64
		chunk, full = m.wholeWaves(how, machine, int(math.Ceil(least/rows))*rows)
		why = append(why, fmt.Sprintf("fills its waves of %d blocks to %.0f%%", machine.Blocks, 100*full))
	}
	if context > 0 && context < chunk {
		why = []string{fmt.Sprintf("the model's context; %d would do", chunk)}
		chunk = context
	}
	if fits := m.fittingChunk(how, machine, chunk); fits < chunk {
		return Chosen{fits, fmt.Sprintf("what fits in a quarter of the device memory beside the weights; %d would do: %s", chunk, strings.Join(why, "; "))}
	}
	return Chosen{chunk, strings.Join(why, "; ")}
}

// wholeWaves returns the chunk, not much larger than the least, of which attention's
// blocks over a tile fill the waves best that they run in, and how far they do.
func (m Model) wholeWaves(how Method, machine Machine, least int) (chunk int, full float64) {
	group := m.KVHeads
	if how.Group > 0 {
		group = min(how.Group, m.KVHeads)
	}
	queries := m.Heads / m.KVHeads
	for c := least; float64(c) <= slack*float64(least); c += rows {
		blocks := (c*queries + machine.BlockRows - 1) / machine.BlockRows * group
		waves := (blocks + machine.Blocks - 1) / machine.Blocks
		if f := float64(blocks) / float64(waves*machine.Blocks); f > full {
			chunk, full = c, f
		}
	}
	return chunk, full
}

// fittingChunk returns the largest chunk up to one whose buffers have room, or that one
// if the weights leave none.
func (m Model) fittingChunk(how Method, machine Machine, chunk int) int {
	left := (machine.Memory - m.WeightBytes) / room
	group := m.KVHeads
	if how.Group > 0 {
		group = min(how.Group, m.KVHeads)
	}
	fits := func(c int) bool {
		bytes := m.Activations(c, 1)
		if how.Span > 0 && m.ElementBytes < 4 {
			bytes += m.partial(c, group)
		}
		return bytes <= left
	}
	most := chunk
	for _, step := range []int{rows, fewRows} {
		if left <= 0 || fits(chunk) {
			return chunk
		}
		for chunk = (chunk - 1) / step * step; chunk > step && !fits(chunk); {
			chunk -= step
		}
		chunk = min(max(chunk, step), most)
	}
	return chunk
}

// ChooseSpan returns the tokens of a tile for a cache on the host: the fewest with
// which what a tile costs beside its bytes is a small part of its copy, so that the
// ring is no larger than the link's speed asks for, whatever the context.
func (m Model) ChooseSpan(how Method, machine Machine) Chosen {
	if !how.OnHost || m.Local == m.Layers && m.Layers > 0 {
		return Chosen{0, "what is attended to lies on the device, and nothing is copied"}
	}
	group := m.KVHeads
	if how.Group > 0 {
		group = min(how.Group, m.KVHeads)
	}
	bytes, why := float64(anyTile), "a tile of 16 MiB, because the rate of copies is not known"
	if machine.CopyIn > 0 {
		bytes = machine.CopyIn * tileLatency * hidden / (1 - hidden)
		why = fmt.Sprintf("a tile takes %.0f µs beside its bytes, and %.1f MB at %.1f GB/s make that %.0f%% of its time", 1e6*tileLatency, bytes/1e6, machine.CopyIn/1e9, 100*(1-hidden))
	}
	token := int64(group) * m.CachedToken(how)
	span := int(math.Ceil(bytes/float64(token)/wholeSpan)) * wholeSpan
	each := int64(how.Slots) * token
	if how.Bits > 0 {
		each += int64(group) * m.TokenKV() // the tile decoded
	}
	if left := (machine.Memory - m.WeightBytes) / room; int64(span)*each > left {
		fits := max(int(left/each)/leastSpan*leastSpan, leastSpan)
		if fits < span {
			return Chosen{fits, fmt.Sprintf("what fits in a quarter of the device memory beside the weights; %d would do: %s", span, why)}
		}
	}
	return Chosen{span, why}
}
