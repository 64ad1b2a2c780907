package stages

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"headinfer/kernels"
	"headinfer/model"
	"headinfer/transfer"
)

// Text is a token sequence in flight: its cache and its ids.
type Text struct {
	ID       string
	Tokens   []int32 // those in the cache
	Sequence *transfer.Sequence
	length   int // of the prompt: what a rotary embedding may depend on
	most     int // tokens that it will have; texts' lock guards it
	engine   *Engine
	base     *Text // which it has branched from, or nil
	parked   bool  // it has given its place to its branches
	once     sync.Once
}

// Admit waits until another text may be in flight, and starts it.
func (e *Engine) Admit(ctx context.Context, id string) (*Text, error) {
	if _, err := e.enter(ctx, true); err != nil {
		return nil, err
	}
	t := e.newText(id)
	e.add(t)
	return t, nil
}

// enter takes a place in flight, which newText or branch then fills. Without wait
// it reports whether there was one.
func (e *Engine) enter(ctx context.Context, wait bool) (bool, error) {
	select {
	case e.slots <- struct{}{}:
		return true, nil
	default:
		if !wait {
			return false, nil
		}
	}
	select {
	case e.slots <- struct{}{}:
		return true, nil
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}

// InFlight returns how many texts have keys and values.
func (e *Engine) InFlight() int {
	e.texts.Lock()
	defer e.texts.Unlock()
	return len(e.texts.live)
}

// leave gives a place in flight back.
func (e *Engine) leave() { <-e.slots }

// newText makes a text, which add starts in a place that has been taken.
func (e *Engine) newText(id string) *Text {
	return &Text{ID: id, Sequence: e.loop.NewSequence(), engine: e}
}

func (e *Engine) add(t *Text) {
	e.texts.Lock()
	defer e.texts.Unlock()
	e.texts.live[t] = true
}

// texts are those that have not given their memory back.
type texts struct {
	sync.Mutex
	live map[*Text]bool
}

// besides reports whether there are texts other than these.
func (l *texts) besides(these ...*Text) bool {
	l.Lock()
	defer l.Unlock()
	for t := range l.live {
		if !slices.Contains(these, t) {
			return true
		}
	}
	return false
}

// CanBranch reports whether texts may go on from a cache that they share: not where
// what a text attends to depends on all of its tokens.
func (e *Engine) CanBranch() bool {
	return e.loop.heavy == (transfer.Heavy{}) && e.loop.cut.Keep == (transfer.Keep{})
}

// branch starts a text that goes on from t's cache, which must not change any more,
// in a place that has been taken, and takes all that it will need: for so many
// tokens, room for more, and passes of some rows. If it fails, it holds nothing.
func (t *Text) branch(id string, tokens, room, rows int) (*Text, error) {
	e := t.engine
	e.passes.Lock()
	e.loop.trim() // what a window keeps is copied on the device
	sequence, err := t.Sequence.Branch(e.Device, e.loop.plain.DType)
	e.passes.Unlock()
	if err != nil {
		return nil, e.explain(err)
	}
	held := t.Tokens[:len(t.Tokens):len(t.Tokens)]
	b := &Text{ID: id, Tokens: held, Sequence: sequence, length: t.length, engine: e, base: t}
	b.expect(tokens, room)
	e.add(b)
	if err := e.claim(b, tokens+room, rows); err != nil {
		return nil, err
	}
	return b, nil
}

// discard gives back what a text holds that has not begun, but not its place.
func (t *Text) discard() {
	t.engine.passes.Lock()
	defer t.engine.passes.Unlock()
	t.drop()
}

// drop is discard while no pass may run.
func (t *Text) drop() {
	t.once.Do(func() {
		t.Sequence.Release()
		t.engine.texts.remove(t)
	})
}

func (l *texts) remove(t *Text) {
	l.Lock()
	defer l.Unlock()
	delete(l.live, t)
}

// park gives the text's place to its branches; its cache stays.
func (t *Text) park() {
	if !t.parked {
		t.parked = true
		t.engine.leave()
	}
}

// Release gives the text's memory back, once no branch needs it, and lets the next
// one in.
func (t *Text) Release() {
	t.once.Do(func() {
		e := t.engine
		e.passes.Lock()
		defer e.passes.Unlock()
		t.Sequence.Release()
		select { // first, so that whoever finds the text gone has been told
		case e.released <- struct{}{}:
		default:
		}
		e.texts.remove(t)
		if !t.parked {
			e.leave()
		}
	})
}

// crowded reports whether other texts hold memory that t could have when they are
// done.
func (t *Text) crowded() bool { return t.engine.texts.besides(t, t.base) }

// expect says how many tokens will be read as the prompt, and for how many more the
// cache should have place.
func (t *Text) expect(tokens, room int) {
	t.Sequence.Expect(len(t.Tokens) + tokens + room)
	t.engine.texts.Lock()
	t.most = max(t.most, len(t.Tokens)+tokens+room)
	t.engine.texts.Unlock()
	if t.length == 0 {
		t.length = tokens
	}
}

// Prefill reads the prompt's tokens, chunk at a time (0: all at once), and
// returns the logits [vocabulary] after the last. room is for how many more
// tokens the cache should have place.
func (t *Text) Prefill(ctx context.Context, tokens []int32, chunk, room int) ([]float32, error) {
	e := t.engine
	if chunk <= 0 || chunk > len(tokens) {
		chunk = len(tokens)
	}
	t.expect(len(tokens), room)
	var logits [][]float32
	for done := 0; done < len(tokens); {
		next := tokens[done:min(done+chunk, len(tokens))]
		err := e.reserve(t, len(t.Tokens)+len(next), chunk)
		if err != nil {
			return nil, err
		}
		last := done+len(next) == len(tokens)
		if logits, err = e.read(ctx, transfer.Prefill, []reading{{t, next}}, last); err != nil {
			return nil, err
		}
		done += len(next)
		if e.Observer != nil {
			e.Observer.Prefill(t.ID, done, len(tokens))
		}
	}
	return logits[0], nil
}

// Step reads one more token and returns the logits after it.
func (t *Text) Step(ctx context.Context, token int32) ([]float32, error) {
	if err := t.engine.reserve(t, len(t.Tokens)+1, 1); err != nil {
		return nil, err
	}
	logits, err := t.engine.read(ctx, transfer.Decode, []reading{{t, []int32{token}}}, true)
	if err != nil {
		return nil, err
	}
	return logits[0], nil
}

// reading is the tokens that a text reads next.
type reading struct {
	text   *Text
	tokens []int32
}

// read runs one pass over the next tokens of several texts, which must have room
// for them. With want it returns, for each, the logits [vocabulary] after its last
// token. Texts with the same base should follow each other.
func (e *Engine) read(ctx context.Context, kind transfer.PassKind, batch []reading, want bool) ([][]float32, error) {
	start := time.Now()
	e.passes.Lock()
	defer e.passes.Unlock()
	whole := false
	defer func() {
		if !whole && e.loop.InPass() {
			// Nothing may go on using the texts' memory.
			e.loop.Abort()
			_ = e.decoder.Compute().Synchronize()
			if e.Device.Err() == nil {
				e.timeline.Settle() // what has run belongs in the trace
			}
		}
	}()
	if err := e.grow(batch); err != nil {
		return nil, err
	}
	segments, tokens, longest := make([]model.Segment, len(batch)), 0, transfer.Range{}
	for i, r := range batch {
		past := r.text.Sequence.Tokens()
		segments[i] = model.Segment{Sequence: r.text.Sequence, Tokens: r.tokens, Length: r.text.length}
		tokens += len(r.tokens)
		if end := past + len(r.tokens); end > longest.To {
			longest = transfer.Range{From: past, To: end}
		}
	}
	e.timeline.Begin(kind, longest)
	logits, err := e.decoder.Forward(ctx, segments, want)
	if err != nil {
		return nil, e.explain(err)
	}
	whole = true
	for _, r := range batch {
		if err := r.text.Sequence.Evict(); err != nil {
			return nil, err
		}
		r.text.Tokens = append(r.text.Tokens, r.tokens...)
	}
	e.counts.add(kind, tokens, time.Since(start), e.decoder.Waited(), longest.To)
	return logits, nil
}

// grow makes a pass of so many texts and tokens possible, of which reserve or claim
// has made those of one.
func (e *Engine) grow(batch []reading) error {
	rows := 0
	for _, r := range batch {
		rows += len(r.tokens)
	}
	if rows <= e.decoder.MaxRows() && len(batch) <= e.decoder.MaxSegments() {
		return nil
	}
	e.loop.trim() // the ring takes what is left; the activations come first
	return e.activations(rows, len(batch))
}

// activations makes passes of some rows over some texts possible, unless the tiles
// of any text would then miss what they take at least: those that have begun could
// not go on.
func (e *Engine) activations(rows, segments int) error {
	rows, segments = max(rows, e.decoder.MaxRows()), max(segments, e.decoder.MaxSegments())
	if err := e.Device.Ledger().Room(e.decoder.More(rows, segments)+e.leastTiles(rows), kernels.Activations,
		fmt.Sprintf("passes of %d tokens in %d texts", rows, segments)); err != nil {
		return e.explain(err)
	}
	return e.explain(e.decoder.Grow(rows, segments))
}

// reserve makes room for a text of some tokens and for passes of some rows.
func (e *Engine) reserve(t *Text, tokens, rows int) error {
	e.passes.Lock()
	defer e.passes.Unlock()
	err := e.extend(t, tokens, rows)
	if noRoom(err) && !t.crowded() {
		// What passes of several texts have taken is missing for this one.
		e.shrink()
		err = e.extend(t, tokens, rows)
	}
	return err
}

func (e *Engine) extend(t *Text, tokens, rows int) error {
	if t.Sequence.Takes(tokens) {
		e.loop.trim() // what an earlier text took would be missing for the cache
	}
	if err := t.Sequence.Extend(tokens, rows); err != nil {
		return e.explain(err)
	}
	if rows > e.decoder.MaxRows() {
		e.loop.trim() // the ring takes what is left; the activations come first
	}
	return e.explain(e.decoder.Grow(rows, 1))
}

// shrink gives back what only passes need.
func (e *Engine) shrink() {
	e.loop.trim()
	e.decoder.Close()
}

// claim makes room for so many tokens more than a text holds, all that it will need,
// beside others. If it fails, the text is discarded.
func (e *Engine) claim(t *Text, tokens, rows int) (err error) {
	e.passes.Lock()
	defer e.passes.Unlock()
	defer func() {
		if err != nil { // before a pass could miss what it holds
			t.drop()
		}
	}()
	e.loop.trim()
	if !t.crowded() {
		e.shrink()
	}
	if err := e.activations(rows, 1); err != nil {
		return err
	}
	if err := t.Sequence.Extend(len(t.Tokens)+tokens, rows); err != nil {
		return e.explain(err)
	}
	return e.explain(e.Device.Ledger().Room(e.leastTiles(e.decoder.MaxRows()), kernels.KVCache, fmt.Sprintf("tiles of %d texts", e.InFlight())))
}

// leastTiles returns what the tiles of any text take at least, in passes of some
// rows.
func (e *Engine) leastTiles(rows int) (bytes int64) {
	e.texts.Lock()
	defer e.texts.Unlock()
	for t := range e.texts.live {
		shared, tokens := t.base != nil, t.most
		if shared {
			tokens = t.base.most
		}
		bytes = max(bytes, e.loop.leastTiles(tokens, shared, rows, e.Checkpoint.Config.Group()))
	}
	return bytes
}
