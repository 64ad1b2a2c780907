package stages

import (
	"context"
	"slices"
	"time"

	"headinfer/graph"
)

// restore gives a text that has not begun what a snapshot has of it: one in each
// turn, so that those that have begun go on. One for which there is no memory yet
// has it later.
func (p *prefill) restore(ctx context.Context) error {
	i := slices.IndexFunc(p.work, func(w *work) bool { return !w.looked && len(w.text.Tokens) == 0 })
	if p.snapshots == nil || i < 0 {
		return nil
	}
	w, start := p.work[i], time.Now()
	n, logits, err := p.snapshots.load(ctx, w.text, w.tokens, len(w.branches) == 0, func(n int) error { return p.fit(w, n) })
	if noRoom(err) && w.text.crowded() {
		return nil
	}
	w.looked = true
	switch {
	case noRoom(err):
		return nil // reading it says so, too, and what to change
	case err != nil || n == 0:
		return err
	}
	graph.Span(ctx, "snapshot of "+w.text.ID, start, time.Now())
	w.done, w.loaded = n, n
	if o := p.engine.Observer; o != nil {
		o.Prefill(w.text.ID, w.done, len(w.tokens))
	}
	if w.done < len(w.tokens) {
		return nil
	}
	return p.finish(ctx, w, logits)
}
