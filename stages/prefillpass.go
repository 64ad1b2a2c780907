package stages

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"headinfer/graph"
	"headinfer/transfer"
)

// pass reads the next tokens of as many texts as a chunk holds.
func (p *prefill) pass(ctx context.Context) error {
	works, err := p.choose()
	if err != nil && !noRoom(err) {
		return err
	}
	start := time.Now()
	var logits [][]float32
	if len(works) > 0 {
		logits, err = p.read(ctx, works)
	}
	// What a pass takes beside its texts may be there for one of them.
	for all := works; noRoom(err) && len(all) > 0; all = all[1:] {
		works = all[:1]
		logits, err = p.read(ctx, works)
	}
	switch {
	case noRoom(err):
		return p.wait(ctx, err)
	case err != nil:
		return err
	}
	graph.Span(ctx, passName(works[0].text.ID, len(works)), start, time.Now())
	return p.given(ctx, works, logits)
}

// given goes on with texts of which a pass has read a piece.
func (p *prefill) given(ctx context.Context, works []*work, logits [][]float32) error {
	for _, w := range works {
		w.done += len(p.piece(w))
		if o := p.engine.Observer; o != nil {
			o.Prefill(w.text.ID, w.done, len(w.tokens))
		}
	}
	for i, w := range works {
		if w.done < len(w.tokens) {
			continue
		}
		last := logits[i]
		if len(w.branches) > 0 {
			last = nil // its questions go on from here
		}
		if err := p.finish(ctx, w, last); err != nil {
			return err
		}
	}
	return nil
}

// finish passes on a text that has been read, with the logits after its last token,
// or begins with its questions.
func (p *prefill) finish(ctx context.Context, w *work, logits []float32) error {
	p.work = slices.DeleteFunc(p.work, func(other *work) bool { return other == w })
	if err := p.snapshots.save(ctx, w.text, w.done-w.loaded, logits, w.document.Text); err != nil {
		w.text.Release()
		return err
	}
	if len(w.branches) > 0 {
		w.text.park()
		p.sharing = w
		return nil
	}
	return p.emit(&Prefilled{Document: w.document, Cache: w.text, Logits: logits, Seconds: seconds(w.began)})
}

// read runs a pass over the next piece of each text.
func (p *prefill) read(ctx context.Context, works []*work) ([][]float32, error) {
	batch, want := make([]reading, len(works)), false
	for i, w := range works {
		batch[i] = reading{w.text, p.piece(w)}
		want = want || w.done+len(batch[i].tokens) == len(w.tokens) && len(w.branches) == 0
	}
	logits, err := p.engine.read(ctx, transfer.Prefill, batch, want)
	if err == nil && logits == nil {
		logits = make([][]float32, len(works))
	}
	return logits, err
}

// piece returns what a pass reads of a text, the same as if the text were alone.
func (p *prefill) piece(w *work) []int32 {
	left := w.tokens[w.done:]
	if p.chunk > 0 {
		left = left[:min(len(left), p.chunk)]
	}
	return left
}

// most returns how many tokens passes may have that read a text of some tokens, and
// others with it.
func (p *prefill) most(tokens int) int {
	if p.chunk > 0 {
		return p.chunk
	}
	return tokens
}

// choose returns the texts of the next pass: those of which a piece fits into a
// chunk together. Every other time it begins with the shortest, so that none waits
// for a long one to be done, nor a long one for all that come meanwhile. Texts for
// which there is no memory are left out; the error is why.
func (p *prefill) choose() (works []*work, err error) {
	order := slices.Clone(p.work)
	if p.turn++; p.turn%2 == 0 {
		slices.SortStableFunc(order, func(a, b *work) int { return cmp.Compare(len(a.tokens)-a.done, len(b.tokens)-b.done) })
	}
	rows := 0
	p.short = false
	for _, w := range order {
		n := len(p.piece(w))
		if rows > 0 && (p.chunk == 0 || rows+n > p.chunk) {
			continue
		}
		if short := p.fit(w, n); short != nil {
			err = short
			if !noRoom(short) {
				return nil, short
			}
			p.short = true
			continue
		}
		rows += n
		works = append(works, w)
	}
	together(works, func(w *work) *Text { return w.text })
	return works, err
}

// fit makes room for the next n tokens of a text, and with its last ones for the
// answer. A text that has begun beside others has that room.
func (p *prefill) fit(w *work, n int) error {
	if w.whole {
		return nil
	}
	tokens := len(w.text.Tokens) + n
	last := w.done+n == len(w.tokens)
	if last {
		tokens += w.room
	}
	err := p.engine.reserve(w.text, tokens, min(p.most(len(w.tokens)), len(w.tokens)))
	w.whole = last && err == nil
	return err
}

// passName names a pass in traces: over a text and n-1 others.
func passName(id string, n int) string {
	if n == 1 {
		return id
	}
	return fmt.Sprintf("%s and %d more", id, n-1)
}

// together orders items so that those whose texts have the same base follow each
// other.
func together[T any](items []T, text func(T) *Text) {
	var ordered []T
	taken := make([]bool, len(items))
	for i, item := range items {
		base := text(item).base
		for j := i; j < len(items) && !taken[i]; j++ {
			if j == i || base != nil && text(items[j]).base == base {
				ordered = append(ordered, items[j])
				taken[j] = j != i
			}
		}
	}
	copy(items, ordered)
}
