package stages

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"headinfer/config"
	"headinfer/graph"
	"headinfer/kernels"
	"headinfer/model"
	"headinfer/transfer"
)

// Engine is a model on a device with its head loop: what the documents'
// stages share. Passes take turns; a sequence is in flight from Admit until
// its Release. A pass that fails half-way, or whose context is cancelled, ends
// the engine: further passes are refused.
type Engine struct {
	Checkpoint *model.Checkpoint
	Device     kernels.Device
	Observer   Observer

	loop     *HeadLoop
	decoder  *model.Decoder
	timeline *transfer.Timeline
	passes   sync.Mutex
	inFlight chan struct{}
	counts   counts
	answer   int // the most tokens that a decode stage writes, for which a prefill leaves room
	spanLogs
}

// Observer is told how documents get on. Its methods are called from the
// stages and must return soon.
type Observer interface {
	// Prefill reports that done of total prompt tokens have been read.
	Prefill(document string, done, total int)
	// Text reports text that was just generated.
	Text(document, text string)
}

// counts are the engine's sums over a run.
type counts struct {
	answers, answerTokens       atomic.Int64
	prefillTokens, decodeTokens atomic.Int64
	prefill, decode             atomic.Int64 // nanoseconds
	longest                     atomic.Int64 // tokens of the longest sequence
}

// EngineOptions says how an engine is put together.
type EngineOptions struct {
	Heads *graph.Graph // the heads level
	// HostMemory is the budget of the caches on the host, in bytes; 0 is what
	// the machine has free.
	HostMemory int64
	KeepSpans  bool // keep what Trace returns
}

// HeadsError is an error of the heads level as the pipeline has it, not of the
// device.
type HeadsError struct{ Err error }

// Error says what is wrong with it.
func (e *HeadsError) Error() string { return e.Err.Error() }

// Unwrap returns the error itself.
func (e *HeadsError) Unwrap() error { return e.Err }

// NewEngine puts the checkpoint on the device and starts its head loop. The
// engine owns neither. What it returns is a *HeadsError, or a failure.
func NewEngine(c *model.Checkpoint, dev kernels.Device, opt EngineOptions) (*Engine, error) {
	e := &Engine{
		Checkpoint: c, Device: dev,
		timeline: transfer.NewTimeline(dev, opt.KeepSpans),
		inFlight: make(chan struct{}, 1),
	}
	var heads []graph.BuildOption
	if opt.KeepSpans {
		e.spanLogs = newSpanLogs()
		heads = append(heads, graph.WithTracer(e.heads))
	}
	var err error
	e.loop, err = NewHeadLoop(opt.Heads, dev, c.Config.KVShape(dev.Info().Activations), opt.HostMemory, e.timeline, heads...)
	if err != nil {
		return nil, &HeadsError{err}
	}
	if e.decoder, err = model.NewDecoder(c, dev, e.loop, e.timeline); err != nil {
		return nil, errors.Join(e.explain(err), e.loop.Close())
	}
	return e, nil
}

// Close ends the head loop and gives back the memory of passes and of the ring.
// The weights stay with the device.
func (e *Engine) Close() error {
	// A failure of the compute stream has been the failure of a pass.
	_ = e.decoder.Compute().Synchronize()
	err := e.loop.Close()
	e.decoder.Close()
	return err
}

// Text is a token sequence in flight: its cache and its ids.
type Text struct {
	ID       string
	Tokens   []int32 // those in the cache
	Sequence *transfer.Sequence
	length   int // of the prompt: what a rotary embedding may depend on
	engine   *Engine
	once     sync.Once
}

// Admit waits until another text may be in flight, and starts it.
func (e *Engine) Admit(ctx context.Context, id string) (*Text, error) {
	select {
	case e.inFlight <- struct{}{}:
		return &Text{ID: id, Sequence: e.loop.NewSequence(), engine: e}, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Release gives the text's memory back and lets the next one in.
func (t *Text) Release() {
	t.once.Do(func() {
		t.engine.passes.Lock()
		defer t.engine.passes.Unlock()
		t.Sequence.Release()
		<-t.engine.inFlight
	})
}

// Prefill reads the prompt's tokens, chunk at a time (0: all at once), and
// returns the logits [vocabulary] after the last. room is for how many more
// tokens the cache should have place.
func (t *Text) Prefill(ctx context.Context, tokens []int32, chunk, room int) ([]float32, error) {
	e := t.engine
	start := time.Now()
	if chunk <= 0 || chunk > len(tokens) {
		chunk = len(tokens)
	}
	t.Sequence.Expect(len(t.Tokens) + len(tokens) + room)
	if t.length == 0 {
		t.length = len(tokens)
	}
	var logits []float32
	for done := 0; done < len(tokens); {
		next := tokens[done:min(done+chunk, len(tokens))]
		last := done+len(next) == len(tokens)
		err := e.reserve(t, len(t.Tokens)+len(next), chunk)
		if err != nil {
			return nil, err
		}
		if logits, err = e.forward(ctx, t, transfer.Prefill, next, last); err != nil {
			return nil, err
		}
		done += len(next)
		if e.Observer != nil {
			e.Observer.Prefill(t.ID, done, len(tokens))
		}
	}
	e.counts.prefillTokens.Add(int64(len(tokens)))
	e.counts.prefill.Add(int64(time.Since(start)))
	return logits, nil
}

// Step reads one more token and returns the logits after it.
func (t *Text) Step(ctx context.Context, token int32) ([]float32, error) {
	start := time.Now()
	if err := t.engine.reserve(t, len(t.Tokens)+1, 1); err != nil {
		return nil, err
	}
	logits, err := t.engine.forward(ctx, t, transfer.Decode, []int32{token}, true)
	t.engine.counts.decodeTokens.Add(1)
	t.engine.counts.decode.Add(int64(time.Since(start)))
	return logits, err
}

// reserve makes room for a text of some tokens and for passes of some rows.
func (e *Engine) reserve(t *Text, tokens, rows int) error {
	e.passes.Lock()
	defer e.passes.Unlock()
	if t.Sequence.Takes(tokens) {
		e.loop.trim() // what an earlier text took would be missing for the cache
	}
	if err := t.Sequence.Extend(tokens, rows); err != nil {
		return e.explain(err)
	}
	if rows > e.decoder.MaxRows() {
		e.loop.trim() // the ring takes what is left; the activations come first
	}
	if err := e.decoder.Grow(rows, 1); err != nil {
		return e.explain(err)
	}
	return nil
}

func (e *Engine) forward(ctx context.Context, t *Text, kind transfer.PassKind, tokens []int32, want bool) ([]float32, error) {
	e.passes.Lock()
	defer e.passes.Unlock()
	whole := false
	defer func() {
		if !whole && e.loop.InPass() {
			// Nothing may go on using the text's memory.
			e.loop.Abort()
			_ = e.decoder.Compute().Synchronize()
			if e.Device.Err() == nil {
				e.timeline.Settle() // what has run belongs in the trace
			}
		}
	}()
	past := t.Sequence.Tokens()
	e.timeline.Begin(kind, transfer.Range{From: past, To: past + len(tokens)})
	logits, err := e.decoder.Forward(ctx, []model.Segment{{Sequence: t.Sequence, Tokens: tokens, Length: t.length}}, want)
	if err != nil {
		return nil, e.explain(err)
	}
	whole = true
	if err := t.Sequence.Evict(); err != nil {
		return nil, err
	}
	t.Tokens = append(t.Tokens, tokens...)
	if n := int64(t.Sequence.Tokens()); n > e.counts.longest.Load() {
		e.counts.longest.Store(n)
	}
	if !want {
		return nil, nil
	}
	return logits[0], nil
}

// explain adds to a budget error which option would make it fit.
func (e *Engine) explain(err error) error {
	var host *transfer.HostMemoryError
	if errors.As(err, &host) && host.Hint == "" {
		host.Hint = "a shorter document takes less; a cache on the device takes none (heads.offload.to=device)"
		if host.Budget > 0 {
			host.Hint = "raise device.host_memory"
		}
	}
	var short *kernels.BudgetError
	if !errors.As(err, &short) || short.Hint != "" {
		return err
	}
	// What else will be asked for is not known here.
	raise := atLeast(short.Budget+short.Asked-short.Left) + " or more is needed"
	switch {
	case short.Purpose == kernels.KVCache && e.loop.heavy != (transfer.Heavy{}):
		short.Hint = "smaller heads.offload.heavy and heavy_recent, or a smaller documents.chunked-prefill.chunk, take less; else " + raise
	case short.Purpose == kernels.KVCache && e.loop.plain.Local != nil && (e.loop.onHost || e.loop.shape.Full() == 0):
		short.Hint = "layers with a window keep it on the device; " + raise
	case short.Purpose == kernels.KVCache && e.loop.onHost: // the tail of an encoded one
		short.Hint = "heads.offload.scale_group=32 takes less; else " + raise
	case short.Purpose == kernels.KVCache:
		short.Hint = "heads.offload.to=host (with heads.prefetch.slots=2) keeps the cache in host memory; else " + raise
	case short.Purpose == kernels.Weights:
		short.Hint = raise + " for the weights alone"
	default:
		short.Hint = "a smaller documents.chunked-prefill.chunk takes less; else " + raise
	}
	return err
}

// atLeast writes the option for a budget of some bytes as a person types it.
func atLeast(bytes int64) string {
	const mib = 1 << 20
	return "device.memory=" + config.Bytes((bytes+mib-1)/mib*mib).String()
}
