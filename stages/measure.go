package stages

import (
	"context"
	"math"

	"headinfer/config"
	"headinfer/plan"
	"headinfer/transfer"
)

// Method describes the latest pass's tiles for plan's arithmetic, in passes of
// chunk tokens (0: the whole prompt).
func (e *Engine) Method(chunk int) plan.Method {
	e.passes.Lock()
	defer e.passes.Unlock()
	m := plan.Method{Chunk: chunk, OnHost: e.loop.onHost, Group: e.loop.cut.Group, Span: e.loop.cut.Span}
	if e.loop.cut.Keep.Recent > 0 {
		m.Span = e.loop.cut.Longest(math.MaxInt)
	}
	if h := e.loop.heavy; h != (transfer.Heavy{}) {
		m.Keep, m.Choose = h.Kept(), h.Most+h.Recent
	}
	if e.loop.encodes() {
		m.ScaleGroup = e.loop.shape.DType.Block()
		m.Bits = (e.loop.shape.DType.BlockBytes() - 4) * 8 / m.ScaleGroup
	}
	if e.loop.ring != nil {
		m.Slots = e.loop.ring.Slots()
	}
	m.TakeTurns, m.WithinLayer, m.WriteWhole = e.loop.pace.alone, e.loop.pace.within, e.loop.whole
	m.Pageable = e.loop.pageable
	return m
}

// Partial reports whether attention leaves tokens out, lossily, so that less has
// to be computed and moved than for the whole context.
func (e *Engine) Partial() bool {
	return e.loop.heavy != (transfer.Heavy{}) || e.loop.cut.Keep.Recent > 0
}

// Trim gives back the device memory that only passes need, activations and
// ring, so that what the next text takes is not hidden by what an earlier one
// took. The next pass takes it anew.
func (e *Engine) Trim() {
	e.passes.Lock()
	defer e.passes.Unlock()
	e.loop.trim()
	e.decoder.Close()
}

// Least returns Method's tiles as small as they may get for the longest texts: with
// adaptive grouping, of one KV head.
func (e *Engine) Least(chunk int) plan.Method {
	m := e.Method(chunk)
	m.Group = e.loop.grouping.Choose(e.loop.shape.KVHeads, 1, 0)
	return m
}

// HeadsFile is the path of the file that says which of a pipeline's heads see the last
// tokens only; empty if it has none.
func HeadsFile(p *config.Pipeline) string {
	for _, e := range p.Heads {
		if o, ok := e.Options.(*attentionOptions); ok && !o.Recent.Is("all") {
			return o.StreamingHeads
		}
	}
	return ""
}

// Provide takes the host memory of a text of so many tokens that is read in passes of chunk
// tokens (0: all at once) and then goes on by room more, in the pieces that reading takes,
// writes all of it once, and gives it back. The next text of an engine over a Loaded has
// it without waiting. It does nothing for a cache on the device, or one that drops tokens.
func (e *Engine) Provide(ctx context.Context, tokens, chunk, room int) error {
	if !e.loop.onHost || e.loop.heavy != (transfer.Heavy{}) {
		return nil
	}
	if chunk <= 0 || chunk > tokens {
		chunk = tokens
	}
	text, err := e.Admit(ctx, "host memory")
	if err != nil {
		return err
	}
	defer text.Release()
	text.expect(tokens, room)
	for held := min(chunk, tokens); ; held = min(held+chunk, tokens) {
		if err := e.reserve(text, held, 1); err != nil {
			return err
		}
		if held == tokens {
			break
		}
	}
	if err := e.reserve(text, tokens+room, 1); err != nil {
		return err
	}
	return text.Fill(ctx, tokens, room)
}
