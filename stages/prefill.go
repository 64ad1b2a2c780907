package stages

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"headinfer/config"
	"headinfer/graph"
	"headinfer/kernels"
	"headinfer/transfer"
)

type prefillOptions struct {
	Chunk    config.Choice   `yaml:"chunk" default:"auto" words:"auto,none" min:"1" unit:"tokens" doc:"Tokens read at a time. Smaller chunks take less memory for activations; each chunk passes over the whole cache. auto is the device's choice, none reads the prompt in one piece." example:"2048"`
	Batch    config.Count    `yaml:"batch" default:"16" min:"1" max:"1024" unit:"texts" doc:"Most texts in flight, being read or answered. Short ones share passes, as many as a chunk holds, and their answers are written together; long ones take turns with them. A text waits until the memory that it needs is there. 1 is one after another." example:"1"`
	Snapshot snapshotOptions `yaml:"snapshot"`
}

// prefill reads several prompts at a time.
type prefill struct {
	engine *Engine
	chunk  int
	inbox  *graph.Inbox[*Prompt]
	emit   func(*Prefilled) error

	work    []*work // in the order in which they came
	sharing *work   // whose questions are still to be begun
	turn    int
	held    bool // a text waits for memory, so that no other may begin

	snapshots *snapshots // nil: none are kept
}

// work is a text on its way to being read.
type work struct {
	document *Document
	tokens   []int32 // of the prompt
	done     int     // of these
	whole    bool    // all the memory that it will need has been taken
	text     *Text
	room     int
	began    time.Time
	branches []Branch // still to be begun, once the tokens that they share are read
	looked   bool     // for a snapshot
	loaded   int      // tokens that came from one
}

func newPrefill(e *Engine, o *prefillOptions) (graph.Batcher[*Prompt, *Prefilled], error) {
	e.slots = make(chan struct{}, int(o.Batch))
	p := &prefill{engine: e, chunk: o.chunk(e.Device)}
	var err error
	p.snapshots, err = newSnapshots(e, &o.Snapshot, p.chunk)
	return p, err
}

// Run reads prompts, unless they are longer than the model's context.
func (p *prefill) Run(ctx context.Context, in *graph.Inbox[*Prompt], emit func(*Prefilled) error) error {
	p.inbox, p.emit = in, emit
	defer func() {
		for _, w := range p.work {
			w.text.Release()
		}
		if p.sharing != nil {
			p.sharing.text.Release()
		}
	}()
	for {
		if err := p.admit(ctx); err != nil {
			return err
		}
		if err := p.restore(ctx); err != nil {
			return err
		}
		if len(p.work) == 0 {
			if p.sharing == nil && in.Ended() {
				return nil
			}
			continue
		}
		if err := p.pass(ctx); err != nil {
			return err
		}
	}
}

// admit begins as many texts as there are and may be in flight. It waits only if
// there is nothing else to do.
func (p *prefill) admit(ctx context.Context) error {
	for {
		idle := len(p.work) == 0
		if p.held && !idle {
			return nil
		}
		if idle && p.sharing == nil && p.inbox.Ended() {
			return nil
		}
		ok, err := p.engine.enter(ctx, idle)
		if err != nil || !ok {
			return err
		}
		if p.sharing != nil {
			ok, err = p.begin(ctx, p.sharing)
		} else {
			ok, err = p.next(ctx, idle)
		}
		if err != nil || !ok {
			return err
		}
	}
}

// next begins the next prompt, in a place that has been taken. It reports whether
// there was one.
func (p *prefill) next(ctx context.Context, wait bool) (bool, error) {
	in, ok, err := p.inbox.Next(ctx, wait)
	if err != nil || !ok {
		p.engine.leave()
		return false, err
	}
	limit, longest := p.engine.Checkpoint.Config.Context, len(in.Tokens)
	for _, b := range in.Branches {
		longest = max(longest, len(in.Tokens)+len(b.Tokens))
	}
	if longest >= limit {
		p.engine.leave()
		return true, graph.Drop(ctx, &graph.DocumentError{ID: in.ID, Err: fmt.Errorf(
			"the prompt has %d tokens, and the model's context of %d must hold them and the answer; shorten the document", longest, limit)})
	}
	w := &work{document: in.Document, tokens: in.Tokens, text: p.engine.newText(in.ID), began: time.Now(), branches: in.Branches}
	if len(in.Branches) == 0 {
		w.room = min(p.engine.answer, limit-len(in.Tokens))
	}
	w.text.length = longest
	w.text.expect(len(in.Tokens), w.room)
	p.work = append(p.work, w)
	return true, nil
}

// begin starts the next of a document's questions, in a place that has been taken.
// It reports whether there was room for it.
func (p *prefill) begin(ctx context.Context, w *work) (bool, error) {
	b := w.branches[0]
	text, err := w.text.branch(b.ID)
	if noRoom(err) && len(p.work) > 0 {
		return false, nil
	}
	if noRoom(err) {
		return true, p.wait(ctx, err)
	}
	if err != nil {
		return false, err
	}
	next := &work{document: b.Document, tokens: b.Tokens, text: text, began: time.Now()}
	next.room = min(p.engine.answer, p.engine.Checkpoint.Config.Context-len(text.Tokens)-len(b.Tokens))
	text.expect(len(b.Tokens), next.room)
	p.work = append(p.work, next)
	if w.branches = w.branches[1:]; len(w.branches) == 0 {
		p.sharing = nil
		w.text.Release()
	}
	return true, nil
}

// pass reads the next tokens of as many texts as a chunk holds.
func (p *prefill) pass(ctx context.Context) error {
	works, err := p.choose()
	if len(works) == 0 {
		if noRoom(err) {
			return p.wait(ctx, err)
		}
		return err
	}
	start := time.Now()
	logits, err := p.read(ctx, works)
	if noRoom(err) && len(works) > 1 {
		works = works[:1]
		logits, err = p.read(ctx, works)
	}
	if noRoom(err) && works[0].text.crowded() {
		return p.wait(ctx, err)
	}
	if err != nil {
		return err
	}
	graph.Span(ctx, passName(works[0].text.ID, len(works)), start, time.Now())
	for i, w := range works {
		w.done += len(p.piece(w))
		if o := p.engine.Observer; o != nil {
			o.Prefill(w.text.ID, w.done, len(w.tokens))
		}
		if w.done < len(w.tokens) {
			continue
		}
		if len(w.branches) > 0 {
			err = p.finish(ctx, w, nil)
		} else {
			err = p.finish(ctx, w, logits[i])
		}
		if err != nil {
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
	return p.engine.read(ctx, transfer.Prefill, batch, want)
}

// piece returns what a pass reads of a text, the same as if the text were alone.
func (p *prefill) piece(w *work) []int32 {
	left := w.tokens[w.done:]
	if p.chunk > 0 {
		left = left[:min(len(left), p.chunk)]
	}
	return left
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
	rows, shares := 0, p.sharing != nil
	p.held = false
	for _, w := range order {
		n := len(p.piece(w))
		if rows > 0 && (p.chunk == 0 || rows+n > p.chunk) {
			continue
		}
		if len(w.branches) > 0 && shares {
			continue // the questions of one document at a time
		}
		if short := p.fit(w, n); noRoom(short) && w.text.crowded() {
			err, p.held = short, true
			continue
		} else if short != nil {
			return nil, short
		}
		rows, shares = rows+n, shares || len(w.branches) > 0
		works = append(works, w)
	}
	together(works, func(w *work) *Text { return w.text })
	return works, err
}

// fit makes room for the next n tokens of a text, and with its last ones for the
// answer. While there are other texts it takes all of that at once: a text that has
// begun and cannot go on would keep what the others wait for.
func (p *prefill) fit(w *work, n int) error {
	if w.whole {
		return nil
	}
	tokens, rows := len(w.text.Tokens)+n, len(w.tokens)
	if p.chunk > 0 {
		rows = min(rows, p.chunk)
	}
	w.whole = w.text.crowded() || w.done+n == len(w.tokens)
	if w.whole {
		tokens += len(w.tokens) - w.done - n + w.room
	}
	err := p.engine.reserve(w.text, tokens, rows)
	w.whole = w.whole && err == nil
	return err
}

// wait waits until some text gives its memory back. If there is none that will, it
// returns why one is waited for.
func (p *prefill) wait(ctx context.Context, why error) error {
	mine := len(p.work)
	if p.sharing != nil {
		mine++
	}
	if p.engine.live.Load() == int64(mine) {
		return why
	}
	select {
	case <-p.engine.released:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// noRoom reports whether an error says that memory is short.
func noRoom(err error) bool {
	return errors.Is(err, kernels.ErrBudget) || isHostMemory(err)
}

func isHostMemory(err error) bool {
	_, ok := errors.AsType[*transfer.HostMemoryError](err)
	return ok
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
	first := map[*Text]int{}
	place := func(item T, i int) int {
		base := text(item).base
		if base == nil {
			return i
		}
		if at, ok := first[base]; ok {
			return at
		}
		first[base] = i
		return i
	}
	places := map[*Text]int{}
	for i, item := range items {
		places[text(item)] = place(item, i)
	}
	slices.SortStableFunc(items, func(a, b T) int { return cmp.Compare(places[text(a)], places[text(b)]) })
}

// ChunkOf returns the tokens of a pass that a pipeline's chunked-prefill stage
// asks for on a device, 0 meaning the whole prompt.
func ChunkOf(documents []config.Entry, dev kernels.Device) int {
	for _, e := range documents {
		if o, ok := e.Options.(*prefillOptions); ok {
			return o.chunk(dev)
		}
	}
	return dev.Info().Chunk
}

func (o *prefillOptions) chunk(dev kernels.Device) int {
	if o.Chunk.Is("auto") {
		return dev.Info().Chunk
	}
	return o.Chunk.N
}
