package stages

import (
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
	Chunk    config.Choice   `yaml:"chunk" default:"auto" words:"auto,none" min:"1" unit:"tokens" doc:"Tokens read at a time. Smaller chunks take less memory for activations; each chunk passes over the whole cache. auto is so many that copies of the cache hide behind them on the device at hand, as far as memory allows (docs/decisions.md); none reads the prompt in one piece." example:"2048"`
	Batch    config.Count    `yaml:"batch" default:"16" min:"1" max:"1024" unit:"texts" doc:"Most texts in flight, being read or answered. Short ones share passes, as many as a chunk holds, and their answers are written together; long ones take turns with them. A text waits until the memory that it needs is there. 1 is one after another." example:"1"`
	Snapshot snapshotOptions `yaml:"snapshot"`
}

// prefill reads several prompts at a time.
type prefill struct {
	engine    *Engine
	chunk     int
	snapshots *snapshots // nil: none are kept
	inbox     *graph.Inbox[*Prompt]
	emit      func(*Prefilled) error

	work    []*work // in the order in which they began
	waiting *work   // the next to begin, which has a place and no memory
	sharing *work   // whose questions are still to be begun
	full    bool    // memory was short when one was to begin
	short   bool    // and for one that has begun: none may begin before it goes on
	turn    int
}

// work is a text on its way to being read.
type work struct {
	document *Document
	tokens   []int32 // of the prompt
	longest  int     // tokens of the longest prompt that begins with them
	done     int     // of these
	loaded   int     // of these, from a snapshot
	looked   bool    // for one
	whole    bool    // all the memory that it will need has been taken
	text     *Text   // nil while it waits
	room     int
	began    time.Time
	branches []Branch // still to be begun, once the tokens that they share are read
}

func newPrefill(e *Engine, o *prefillOptions) (graph.Batcher[*Prompt, *Prefilled], error) {
	e.slots = make(chan struct{}, int(o.Batch))
	p := &prefill{engine: e, chunk: o.chunk(e)}
	var err error
	p.snapshots, err = newSnapshots(e, &o.Snapshot, p.chunk)
	return p, err
}

// Run reads prompts, unless they are longer than the model's context.
func (p *prefill) Run(ctx context.Context, in *graph.Inbox[*Prompt], emit func(*Prefilled) error) error {
	p.inbox, p.emit = in, emit
	defer func() {
		for _, t := range p.texts() {
			t.Release()
		}
		if p.waiting != nil {
			p.engine.leave()
		}
	}()
	for {
		if err := p.admit(ctx); err != nil {
			return err
		}
		if len(p.work) == 0 {
			return nil
		}
		if err := p.restore(ctx); err != nil {
			return err
		}
		if len(p.work) == 0 {
			continue
		}
		if err := p.pass(ctx); err != nil {
			return err
		}
	}
}

// texts are those that the stage has.
func (p *prefill) texts() []*Text {
	var all []*Text
	for _, w := range p.work {
		all = append(all, w.text)
	}
	if p.sharing != nil {
		all = append(all, p.sharing.text)
	}
	return all
}

// admit begins as many texts as there are and may be in flight. It waits only if
// there is nothing else to do, so that it returns without any at the end.
func (p *prefill) admit(ctx context.Context) error {
	for {
		idle := len(p.work) == 0
		switch {
		case idle && p.sharing == nil && p.waiting == nil && p.inbox.Ended():
			return nil
		case !idle && p.full && !p.freed(), !idle && p.short && p.sharing == nil:
			return nil
		}
		begin := p.next
		if p.sharing != nil {
			begin = p.branch
		}
		ok, err := begin(ctx, idle)
		switch {
		case noRoom(err) && idle:
			err = p.wait(ctx, err)
		case noRoom(err):
			p.full = true
			return nil
		case err == nil && !ok && !idle:
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// freed reports whether memory has come free since it was called last.
func (p *prefill) freed() bool {
	select {
	case <-p.engine.released:
		p.full = false
		return true
	default:
		return false
	}
}

// next begins the next prompt, and reports whether there was one that could be.
func (p *prefill) next(ctx context.Context, wait bool) (bool, error) {
	if p.waiting == nil {
		w, err := p.invite(ctx, wait)
		if err != nil || w == nil {
			return false, err
		}
		p.waiting = w
	}
	w := p.waiting
	if len(w.branches) > 0 && (p.sharing != nil || slices.ContainsFunc(p.work, func(w *work) bool { return len(w.branches) > 0 })) {
		return false, nil // the questions of one document at a time
	}
	text := p.engine.newText(w.document.ID)
	text.length = w.longest
	text.expect(len(w.tokens), w.room)
	p.engine.add(text)
	w.text = text
	var err error
	if text.crowded() {
		// What it could not get any more when it has begun would keep the others waiting as well.
		err = p.engine.claim(text, len(w.tokens)+w.room, p.most(len(w.tokens)))
		w.whole = err == nil
	} else {
		// What it takes of the device it takes now, so that those that come know what is left.
		err = p.fit(w, len(p.piece(w)))
	}
	if err != nil {
		text.discard()
		return false, err
	}
	p.waiting = nil
	p.work = append(p.work, w)
	return true, nil
}

// invite returns the next prompt, with a place for it, or nil if there is none. It
// waits for a prompt without a place: another stage may need that for one to come.
func (p *prefill) invite(ctx context.Context, wait bool) (*work, error) {
	if wait {
		w, err := p.take(ctx, true)
		if err == nil && w != nil {
			_, err = p.enter(ctx, true)
		}
		if err != nil {
			return nil, err
		}
		return w, nil
	}
	if ok, err := p.enter(ctx, false); err != nil || !ok {
		return nil, err
	}
	w, err := p.take(ctx, false)
	if err != nil || w == nil {
		p.engine.leave()
		return nil, err
	}
	return w, nil
}

// take returns the next prompt that fits the model's context, or nil if there is
// none.
func (p *prefill) take(ctx context.Context, wait bool) (*work, error) {
	limit := p.engine.Checkpoint.Config.Context
	for {
		in, ok, err := p.inbox.Next(ctx, wait)
		if err != nil || !ok {
			return nil, err
		}
		w := &work{document: in.Document, tokens: in.Tokens, longest: len(in.Tokens), began: time.Now()}
		for _, b := range in.Branches {
			if err = p.tooLong(ctx, b.ID, len(in.Tokens)+len(b.Tokens)); err != nil {
				return nil, err
			}
			if n := len(in.Tokens) + len(b.Tokens); n < limit {
				w.branches, w.longest = append(w.branches, b), max(w.longest, n)
			}
		}
		if len(in.Branches) == 0 {
			if err = p.tooLong(ctx, in.ID, len(in.Tokens)); err != nil {
				return nil, err
			}
			w.room = min(p.engine.answer, limit-len(in.Tokens))
		}
		if w.longest < limit && (len(w.branches) > 0 || len(in.Branches) == 0) {
			return w, nil
		}
	}
}

// tooLong drops a prompt that leaves no room for an answer.
func (p *prefill) tooLong(ctx context.Context, id string, tokens int) error {
	limit := p.engine.Checkpoint.Config.Context
	if tokens < limit {
		return nil
	}
	return graph.Drop(ctx, &graph.DocumentError{ID: id, Err: fmt.Errorf(
		"the prompt has %d tokens, and the model's context of %d must hold them and the answer; shorten the document", tokens, limit)})
}

// branch begins the next question about the document that has been read, and
// reports whether there was a place for it.
func (p *prefill) branch(ctx context.Context, wait bool) (bool, error) {
	if ok, err := p.enter(ctx, wait); err != nil || !ok {
		return false, err
	}
	base := p.sharing
	b := base.branches[0]
	room := min(p.engine.answer, p.engine.Checkpoint.Config.Context-len(base.tokens)-len(b.Tokens))
	text, err := base.text.branch(b.ID, len(b.Tokens), room, p.most(len(b.Tokens)))
	if err != nil {
		p.engine.leave()
		return false, err
	}
	p.work = append(p.work, &work{document: b.Document, tokens: b.Tokens, text: text, whole: true, looked: true, room: room, began: time.Now()})
	if base.branches = base.branches[1:]; len(base.branches) == 0 {
		p.sharing = nil
		base.text.Release()
	}
	return true, nil
}

// enter takes a place in flight.
func (p *prefill) enter(ctx context.Context, wait bool) (ok bool, err error) {
	if ok, err = p.engine.enter(ctx, false); err != nil || ok || !wait {
		return ok, err
	}
	p.inbox.Idle(func() { ok, err = p.engine.enter(ctx, true) })
	return ok, err
}

// wait waits until some text gives its memory back. If there is none that will, it
// returns why one is waited for.
func (p *prefill) wait(ctx context.Context, why error) (err error) {
	if p.freed() {
		return nil
	}
	if !p.engine.texts.besides(p.texts()...) {
		if p.freed() { // by the one that has just gone
			return nil
		}
		return why
	}
	p.inbox.Idle(func() {
		select {
		case <-p.engine.released:
			p.full = false
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	})
	return err
}

// noRoom reports whether an error says that memory is short.
func noRoom(err error) bool {
	_, host := errors.AsType[*transfer.HostMemoryError](err)
	return host || errors.Is(err, kernels.ErrBudget)
}
