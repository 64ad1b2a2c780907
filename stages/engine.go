package stages

import (
	"errors"
	"fmt"
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
// stages share. Passes take turns, and each may read tokens of several texts; a
// text is in flight from Admit until its Release. A pass that fails half-way, or whose context is cancelled, ends
// the engine: further passes are refused.
type Engine struct {
	Checkpoint *model.Checkpoint
	Device     kernels.Device
	Observer   Observer
	Corpus     Corpus   // how the run goes on; set before the stages are built
	Run        Progress // what is done of it; nil is nothing

	loop     *HeadLoop
	decoder  *model.Decoder
	timeline *transfer.Timeline
	passes   sync.Mutex
	slots    chan struct{} // one taken by each text in flight
	released chan struct{} // gets something when a text gives its memory back
	texts    texts
	counts   counts
	answer   int // the most tokens that a decode stage writes, for which a prefill leaves room
	spanLogs
	queueing
	autoSizes
}

// Observer is told how documents get on. Its methods are called from the stages,
// several at a time and of several documents in turn, and must return soon.
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
	decodeHost                  atomic.Int64 // of decode, without waiting for the device
	longest                     atomic.Int64 // tokens of the longest sequence
}

// add counts a pass over some tokens, of texts of which the longest now has so many. It
// took some time, of which the host waited for the device.
func (c *counts) add(kind transfer.PassKind, tokens int, took, waited time.Duration, longest int) {
	if kind == transfer.Prefill {
		c.prefillTokens.Add(int64(tokens))
		c.prefill.Add(int64(took))
	} else {
		c.decodeTokens.Add(int64(tokens))
		c.decode.Add(int64(took))
		c.decodeHost.Add(int64(took - waited))
	}
	if n := int64(longest); n > c.longest.Load() {
		c.longest.Store(n)
	}
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
	return newEngine(c, dev, opt, func(e *Engine) (*model.Decoder, error) {
		return model.NewDecoder(c, dev, e.loop, e.timeline)
	})
}

// newEngine is NewEngine with a decoder, which it asks for once there is a head loop.
func newEngine(c *model.Checkpoint, dev kernels.Device, opt EngineOptions, decoder func(*Engine) (*model.Decoder, error)) (*Engine, error) {
	e := &Engine{
		Checkpoint: c, Device: dev,
		timeline: transfer.NewTimeline(dev, opt.KeepSpans),
		slots:    make(chan struct{}, 1),
		released: make(chan struct{}, 1),
		texts:    texts{live: map[*Text]bool{}},
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
	if to := dev.Info().Products; to != 0 {
		e.loop.lossy = append(e.loop.lossy, fmt.Sprintf(
			"device.products=%s: in passes of more than %d tokens activations are rounded to %s before products with weights in %s", to, kernels.ExactRows, to, to))
	}
	if e.decoder, err = decoder(e); err != nil {
		return nil, errors.Join(e.explain(err), e.loop.Close())
	}
	e.choose()
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
	case short.Purpose == kernels.KVCache && e.loop.onHost && !e.loop.encodes(): // of a branch
		short.Hint = "each question about a document has a cache of its own on the device, beside the document's: shorter questions and answers (documents.decode.max_tokens) take less; else " + raise
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
