package stages

import (
	"context"
	"slices"
)

// restore gives texts that have not begun what snapshots have of them. Those for
// which there is no memory yet have it later.
func (p *prefill) restore(ctx context.Context) error {
	if p.snapshots == nil {
		return nil
	}
	for _, w := range slices.Clone(p.work) {
		if w.looked || len(w.branches) > 0 && p.sharing != nil {
			continue
		}
		n, logits, err := p.snapshots.load(ctx, w.text, w.tokens, len(w.branches) == 0, func(n int) error { return p.fit(w, n) })
		if noRoom(err) && w.text.crowded() {
			continue
		}
		w.looked = true
		if noRoom(err) {
			continue // reading it says so, too, and what to change
		}
		if err != nil {
			return err
		}
		w.done, w.loaded = n, n
		if n == 0 {
			continue
		}
		if o := p.engine.Observer; o != nil {
			o.Prefill(w.text.ID, w.done, len(w.tokens))
		}
		if w.done == len(w.tokens) {
			if err := p.finish(ctx, w, logits); err != nil {
				return err
			}
		}
	}
	return nil
}
