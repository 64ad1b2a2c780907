package stages

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync/atomic"

	"headinfer/config"
	"headinfer/graph"
	"headinfer/kernels"
	"headinfer/model"
	"headinfer/transfer"
)

// HeadLoop runs the heads level of a pipeline for one decoder. It implements
// model.Heads: a pass is planned as a list of tiles, which flow through the
// graph's stages; these enqueue work on three streams and never wait for the
// device. The stages' constructors fill in its settings.
type HeadLoop struct {
	dev   kernels.Device
	plain transfer.Shape // as attention takes it
	shape transfer.Shape // as the cache has it
	time  *transfer.Timeline
	host  *transfer.Slabs
	pace  pace

	ring     *transfer.Ring // nil without a prefetch stage that has slots
	partial  kernels.Buffer // f32 results of a tile's heads until its last span is merged
	decoded  kernels.Buffer // a tile of an encoded cache as attention takes it
	encoded  kernels.Buffer // a pass's keys and values of a tile's heads on their way to an encoded cache
	grouping transfer.Grouping
	cut      transfer.Cut // of the latest pass; only its group changes
	autoSpan bool         // the engine is to choose the cut's span
	onHost   bool
	pageable bool // the cache's host memory is not pinned
	whole    bool // tiles are written back to the host
	heavy    transfer.Heavy
	lossy    []string // what makes the results inexact, for the report

	copyIn, copyOut kernels.Stream
	moved           Moved
	lent            bool // host is that of a Loaded

	run     *graph.Run
	stop    context.CancelCauseFunc
	stopped chan struct{} // closed when run has ended, with failure set
	failure error
	aborted bool

	// Events of the layer in each of the pass's two sets of new KV.
	projected, attended, kept [2]kernels.Event
	pass                      *headPass
}

// Moved counts bytes between host and device.
type Moved struct{ In, Out atomic.Int64 }

// headEnds are the types at the open ends of the heads level.
func headEnds() graph.Ends {
	return graph.Ends{In: reflect.TypeFor[Planned](), Out: reflect.TypeFor[Stored]()}
}

// NewHeadLoop builds the heads level g for a cache of some shape on dev, and
// starts its stages; opts are for these. hostMemory is the budget of a cache on
// the host, in bytes; 0 is what the machine has free.
func NewHeadLoop(g *graph.Graph, dev kernels.Device, shape transfer.Shape, hostMemory int64, time *transfer.Timeline, opts ...graph.BuildOption) (*HeadLoop, error) {
	h := &HeadLoop{
		dev: dev, plain: shape, shape: shape, time: time,
		copyIn:  dev.NewStream(string(transfer.CopyIn)),
		copyOut: dev.NewStream(string(transfer.CopyOut)),
		stopped: make(chan struct{}),
	}
	for i := range h.projected {
		h.projected[i], h.attended[i], h.kept[i] = dev.NewEvent(), dev.NewEvent(), dev.NewEvent()
	}
	run, err := g.Build(h, append(opts, graph.WithDrain(h.drain))...)
	if err != nil {
		return nil, err
	}
	if err := h.check(); err != nil {
		return nil, errors.Join(fmt.Errorf("heads: %w", err), run.Close())
	}
	if !h.onHost {
		time.Still()
	}
	memory := dev.Host()
	if h.pageable {
		memory = dev.Pageable()
	}
	h.host = transfer.NewSlabs(memory, hostMemory)
	h.run = run
	ctx, stop := context.WithCancelCause(context.Background())
	h.stop = stop
	go func() {
		defer close(h.stopped)
		h.failure = run.Run(ctx)
	}()
	return h, nil
}

// check refuses what stages of the loop ask for that does not go together.
func (h *HeadLoop) check() error {
	if h.onHost && h.ring == nil {
		return errors.New("the KV cache is kept on the host, and there is no prefetch stage with slots to bring it to the device; add `prefetch: { slots: 2 }` or set heads.offload.to=device")
	}
	if err := h.checkHeavy(); err != nil {
		return err
	}
	return h.checkEncoding()
}

// checkHeavy refuses what does not go with a cache that drops tokens: its heads
// keep different ones, and what they receive is known once all are attended to.
func (h *HeadLoop) checkHeavy() error {
	if h.heavy == (transfer.Heavy{}) {
		return nil
	}
	for _, c := range []struct {
		wrong bool
		set   string
	}{
		{h.cut.Span > 0 || h.autoSpan, "heads.attention.span=all"}, {h.cut.Keep.Recent > 0, "heads.attention.recent=all"},
	} {
		if c.wrong {
			return fmt.Errorf("heads.offload.heavy=%d goes with %s only; set it, or heads.offload.heavy=none", h.heavy.Most, c.set)
		}
	}
	return nil
}

// InPass reports whether a pass has begun and not ended.
func (h *HeadLoop) InPass() bool { return h.pass != nil }

// errAborted is what a loop says that lost a pass half-way.
var errAborted = errors.New("heads: an earlier pass failed half-way, and the head loop with it; open the engine anew")

// Abort ends the loop in the middle of a pass. It returns when no copy that was
// enqueued on a stream of the loop's own is still to run.
func (h *HeadLoop) Abort() {
	h.stop(errAborted)
	<-h.stopped
	h.aborted, h.pass = true, nil
	// What failed, if it was a stream, has been reported already.
	_, _ = h.copyIn.Synchronize(), h.copyOut.Synchronize()
}

// Close ends the stages, waits for the copies, and gives the ring back.
func (h *HeadLoop) Close() error {
	h.run.CloseInput()
	<-h.stopped
	h.stop(nil)
	var err error
	if !h.aborted { // else what failed has been reported
		err = errors.Join(h.failure, h.copyIn.Synchronize(), h.copyOut.Synchronize())
	}
	h.trim()
	if !h.lent {
		h.host.Close()
	}
	return err
}

// trim gives back the device memory that only passes need. None may be running.
func (h *HeadLoop) trim() {
	if h.ring != nil {
		h.ring.Release()
	}
	for _, b := range h.buffers() {
		h.dev.Free(*b)
		*b = kernels.Buffer{}
	}
}

// buffers are those of the device memory that only passes need, beside the ring.
func (h *HeadLoop) buffers() []*kernels.Buffer {
	return []*kernels.Buffer{&h.partial, &h.decoded, &h.encoded}
}

// NewSequence returns an empty cache where this loop keeps it.
func (h *HeadLoop) NewSequence() *transfer.Sequence {
	var s *transfer.Sequence
	if h.onHost {
		s = transfer.NewHostSequence(h.shape, h.host)
	} else {
		s = transfer.NewDeviceSequence(h.shape, h.dev)
	}
	s.KeepRecent(h.dev, h.copyOut, h.plain.DType)
	if h.encodes() && h.shape.Full() > 0 {
		s.KeepTail(h.dev, h.plain.DType)
	}
	if h.heavy != (transfer.Heavy{}) {
		s.KeepHeavy(h.dev, h.copyOut, h.heavy)
	}
	return s
}

// quantum is by how many tokens the ring grows, so that a decode does not
// allocate at every step.
const quantum = 256

// Begin plans the pass's tiles and feeds them to the loop.
func (h *HeadLoop) Begin(ctx context.Context, p *model.Pass) error {
	if h.aborted {
		return errAborted
	}
	pasts := pastsOf(p)
	if err := h.fit(p, pasts); err != nil {
		return err
	}
	pass := &headPass{Pass: p, layers: make([]layerProgress, h.shape.Layers), fed: make(chan error, 1)}
	bundles := transfer.Bundles(h.needed(p, h.cut.Tiles(h.shape, pasts)), h.together())
	for i := range pass.layers {
		pass.layers[i].projected = make(chan struct{})
		pass.layers[i].enqueued = make(chan struct{})
	}
	for _, tiles := range bundles {
		pass.layers[tiles[0].Layer].left.Add(1)
	}
	h.pass = pass
	go func() {
		for _, tiles := range bundles {
			if err := h.run.Send(ctx, Planned{newBundle(pass, tiles)}); err != nil {
				pass.fed <- err
				return
			}
		}
		pass.fed <- nil
	}()
	return nil
}

// skips reports whether a layer is not attended to in a pass: nothing reads the result,
// nor does a cache ask which tokens receive how much.
func (h *HeadLoop) skips(p *model.Pass, layer int) bool {
	return p.Unread(layer) && h.heavy == (transfer.Heavy{})
}

// needed leaves out the past that is not attended to. What stays of such a layer are the
// tiles with which the pass's own keys and values are kept.
func (h *HeadLoop) needed(p *model.Pass, tiles []transfer.Tile) []transfer.Tile {
	needed := tiles[:0]
	for _, t := range tiles {
		if h.skips(p, t.Layer) {
			if !t.Last {
				continue
			}
			t.First, t.Token = true, transfer.Range{}
		}
		needed = append(needed, t)
	}
	return needed
}

// pastsOf returns what the segments of a pass attend to: those that have branched
// from the same cache, and follow each other, to its tokens together.
func pastsOf(p *model.Pass) []transfer.Past {
	var pasts []transfer.Past
	for i, s := range p.Segments {
		base := s.Sequence.Base()
		if i > 0 && base != nil && base == p.Segments[i-1].Sequence.Base() {
			pasts[len(pasts)-1].Segments.To++
			continue
		}
		past := transfer.Past{Segments: transfer.Range{From: i, To: i + 1}, Tokens: p.Past[i], Branched: base != nil}
		if past.Branched {
			past.Tokens = base.Stored()
		}
		pasts = append(pasts, past)
	}
	return pasts
}

// Attend lets the layer's tiles be attended to and waits until that is enqueued.
func (h *HeadLoop) Attend(ctx context.Context, layer int) error {
	set := layer % 2
	if h.onHost {
		h.pass.Compute.Record(h.projected[set])
	}
	l := &h.pass.layers[layer]
	close(l.projected)
	select {
	case <-l.enqueued:
	case <-h.stopped:
		return h.broken()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	// The next layer writes the other set of new KV: the copy of what the
	// layer before this one left there must have run.
	if h.onHost {
		h.pass.Compute.Wait(h.kept[1-set])
	}
	return nil
}

// End makes what follows on the streams see what this pass has stored.
func (h *HeadLoop) End(ctx context.Context) error {
	select {
	case err := <-h.pass.fed:
		if err != nil {
			return err
		}
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if h.onHost {
		for _, e := range h.kept {
			h.copyIn.Wait(e)
			h.pass.Compute.Wait(e)
		}
	}
	h.pass = nil
	return nil
}

func (h *HeadLoop) broken() error {
	if h.failure != nil {
		return h.failure
	}
	return errors.New("heads: the loop has ended")
}

// drain takes what has left the loop.
func (h *HeadLoop) drain(item any) error {
	b, ok := item.(Stored)
	if !ok {
		return fmt.Errorf("heads: a %T came out of the loop", item)
	}
	l := &b.pass.layers[b.layer]
	if l.left.Add(-1) == 0 {
		close(l.enqueued)
	}
	return nil
}

// headEnv is the type under which the stages' constructors get the loop.
type headEnv = *HeadLoop

func headSpecs() []graph.Spec {
	return []graph.Spec{
		graph.NewStage[headEnv, Planned, Fetched](config.Heads, "prefetch",
			"Brings each tile's keys and values from the host to a ring of slots on the device, as many tiles ahead of the attention as there are slots, across the borders of layers. Does nothing for a cache that lies on the device.",
			newPrefetch),
		graph.NewStage[headEnv, Fetched, Attended](config.Heads, "attention",
			"Attends to each tile: the queries of some KV heads against a span of tokens. Tiles of one head are merged exactly by their log-sum-exp, so every group and span gives the same result.",
			newAttention),
		graph.NewStage[headEnv, Attended, Stored](config.Heads, "offload",
			"Keeps the new keys and values of each pass where the cache lies: on the host, or on the device.",
			newOffload),
	}
}
