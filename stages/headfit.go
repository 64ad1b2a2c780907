package stages

import (
	"errors"
	"fmt"
	"math"

	"headinfer/kernels"
	"headinfer/model"
	"headinfer/transfer"
)

// tileBytes is what tiles take of the device for each KV head of theirs, in
// bytes, beside a pass's activations.
type tileBytes struct {
	slot    int64 // in each slot of the ring
	partial int64 // results in f32 while tiles are merged
	decoded int64 // the tile itself, if the cache is encoded
	encoded int64 // the pass's own keys and values on their way to such a cache
}

func (b tileBytes) sum(slots int) int64 {
	return int64(slots)*b.slot + b.partial + b.decoded + b.encoded
}

// bytesOf returns what tiles of tokens take in a pass, of which a head's past
// in the end merges or not.
func (h *HeadLoop) bytesOf(p *model.Pass, tokens int, merges bool) (b tileBytes) {
	if h.shape.Full() == 0 {
		return b // every layer has a window, which lies on the device
	}
	if h.ring != nil && h.onHost {
		b.slot = h.shape.SlotBytes(1, tokens)
	}
	if merges && h.dev.Info().Activations != kernels.F32 {
		b.partial = int64(p.MaxRows) * int64(p.Group*p.HeadDim) * int64(kernels.F32.BlockBytes())
	}
	if h.encodes() {
		b.decoded = h.plain.SlotBytes(1, tokens)
		b.encoded = h.shape.SlotBytes(1, h.records(p.MaxRows))
	}
	return b
}

// leastTiles returns what the tiles of so many tokens take at least, shared by
// branches or not, in passes of some rows and with so many query heads a KV head.
func (h *HeadLoop) leastTiles(tokens int, shared bool, rows, queries int) int64 {
	p := &model.Pass{MaxRows: rows, Group: queries, HeadDim: h.plain.HeadDim}
	one := h.bytesOf(p, h.cut.Longest(tokens), shared || h.cut.Merges(tokens)).sum(h.slots())
	return one * int64(h.grouping.Choose(h.shape.KVHeads, 1, 0))
}

// slots returns how many tiles are on the device at a time.
func (h *HeadLoop) slots() int {
	if h.ring == nil {
		return 0
	}
	return h.ring.Slots()
}

// bundleBytes is the most that tiles of several texts take together in a slot: where
// each by itself is larger, neither their copies nor their launches cost less together.
const bundleBytes = 64 << 20

// together returns how many tokens of the past tiles may have that are attended to at
// once.
func (h *HeadLoop) together() int {
	switch {
	case h.encodes():
		return 0 // there is place for one that is decoded
	case !h.onHost:
		return math.MaxInt
	default:
		return int(min(h.ring.SlotBytes(), bundleBytes) / h.shape.SlotBytes(h.cut.Group, 1))
	}
}

// fit chooses the group for the tiles of a pass, and makes what they take hold
// them: if there is room, for as long as the sequences are expected to get.
func (h *HeadLoop) fit(p *model.Pass, pasts []transfer.Past) error {
	past, goal, sum, merges := 0, 0, 0, false
	for _, these := range pasts {
		sequence := p.Segments[these.Segments.From].Sequence
		if these.Branched {
			sequence, merges = sequence.Base(), true
		}
		past, goal, sum = max(past, these.Tokens), max(goal, sequence.Goal()), sum+sequence.Goal()
	}
	free := h.dev.Ledger().Left()
	for _, b := range h.buffers() {
		free += b.Bytes
	}
	if h.ring != nil {
		free += h.ring.Bytes()
	}
	merges = merges || h.cut.Merges(goal)
	need := h.bytesOf(p, h.cut.Longest(min((past+quantum-1)/quantum*quantum, goal)), merges)
	whole := h.bytesOf(p, h.cut.Longest(goal), merges)
	h.cut.Group = h.grouping.Choose(h.shape.KVHeads, need.sum(h.slots()), free)
	group := int64(h.cut.Group)
	if group*whole.sum(h.slots()) <= free {
		need = whole
	}
	// Short texts may come together, if there is room.
	if len(pasts) > 1 && h.onHost && !h.encodes() && h.shape.Full() > 0 {
		all := need
		all.slot = h.shape.SlotBytes(1, min(h.cut.Longest(sum), int(bundleBytes/h.shape.SlotBytes(h.cut.Group, 1))))
		if all.slot > need.slot && group*all.sum(h.slots()) <= free {
			need = all
		}
	}
	err := h.take(need, group)
	if short := (*kernels.BudgetError)(nil); h.onHost && errors.As(err, &short) {
		h.trim()
		// For the whole sequence, or the next pass would ask for more again.
		left := h.dev.Ledger().Left()
		short.Hint = h.smallTiles(p, left) + atLeast(short.Budget-left+group*whole.sum(h.slots())) + " holds the whole text"
	}
	return err
}

// take makes the device memory of tiles of group heads at least what need says, of
// each of them. What is too much it gives back if it is missing for the ring. No
// pass may be running.
func (h *HeadLoop) take(need tileBytes, group int64) (err error) {
	partial, decoded, encoded := group*need.partial, group*need.decoded, group*need.encoded
	if h.partial.Bytes < partial || h.decoded.Bytes < decoded || h.encoded.Bytes < encoded {
		if err := h.makeBuffers(partial, decoded, encoded); err != nil {
			return err
		}
	}
	if h.ring == nil || !h.onHost {
		return nil
	}
	err = h.ring.Fit(group * need.slot)
	if noRoom(err) && (h.partial.Bytes > partial || h.decoded.Bytes > decoded || h.encoded.Bytes > encoded) {
		if err = h.makeBuffers(partial, decoded, encoded); err == nil {
			err = h.ring.Fit(group * need.slot)
		}
	}
	return err
}

// makeBuffers makes the buffers beside the ring as large as said; the ring, which
// takes what is left, comes after.
func (h *HeadLoop) makeBuffers(partial, decoded, encoded int64) (err error) {
	h.trim()
	for _, b := range []struct {
		buffer  *kernels.Buffer
		bytes   int64
		purpose kernels.Purpose
		what    string
	}{
		{&h.partial, partial, kernels.Activations, "partial results of attention"},
		{&h.decoded, decoded, kernels.KVCache, "a decoded tile of the KV cache"},
		{&h.encoded, encoded, kernels.KVCache, "new keys and values, encoded"},
	} {
		if b.bytes == 0 {
			continue
		}
		if *b.buffer, err = h.dev.Alloc(b.bytes, b.purpose, b.what); err != nil {
			return err
		}
	}
	return nil
}

// smallTiles says with which options tiles would fit in the bytes that are
// left, or nothing if these are too few for tiles worth copying.
func (h *HeadLoop) smallTiles(p *model.Pass, left int64) string {
	const least = 16 // tokens
	fits := func(span int) bool {
		return h.bytesOf(p, h.records(span), true).sum(h.slots()) <= left
	}
	span := h.records(least)
	if !fits(span) {
		return ""
	}
	for fits(2 * span) {
		span *= 2
	}
	return fmt.Sprintf("heads.attention.group=1 and heads.attention.span=%d fit in that, however long the context, or ", span)
}
