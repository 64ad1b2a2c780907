package stages

import (
	"context"
	"sync"

	"headinfer/kernels"
	"headinfer/transfer"
)

// pace says when tiles are copied. The zero pace is as early as there are slots, beside
// whatever is computed.
type pace struct {
	within bool       // not before their layer's queries are there
	alone  bool       // nor beside computing: on its stream; within is set too
	turn   sync.Mutex // of stages that share that stream
}

// inward returns the stream on which tiles are brought to the device, when their turn
// has come.
func (h *HeadLoop) inward(ctx context.Context, b *bundle) (kernels.Stream, error) {
	if !h.pace.within {
		return h.copyIn, nil
	}
	if err := b.projected(ctx); err != nil {
		return nil, err
	}
	if h.pace.alone {
		return b.pass.Compute, nil
	}
	h.copyIn.Wait(h.projected[b.layer%2])
	return h.copyIn, nil
}

// outward is the stream on which keys and values are kept: the one that computes where
// no copy is to run beside it, and for a cache on the device, as a wait between two
// streams costs more than such a copy.
func (h *HeadLoop) outward(p *headPass) kernels.Stream {
	if h.onHost && !h.pace.alone {
		return h.copyOut
	}
	return p.Compute
}

// outwardAfter is outward once e, of the stream that computes, has fired. No stream may
// wait for itself: e may stand for a later point already, which is about to be enqueued.
func (h *HeadLoop) outwardAfter(e kernels.Event, p *headPass) kernels.Stream {
	out := h.outward(p)
	if out != p.Compute {
		out.Wait(e)
	}
	return out
}

// around enqueues work on tiles and notes it. Stages that share a stream do so one at a
// time, or each would be timed with the others' work.
func (h *HeadLoop) around(s kernels.Stream, track transfer.Track, b *bundle, f func()) {
	if h.pace.alone {
		h.pace.turn.Lock()
		defer h.pace.turn.Unlock()
	}
	h.time.Around(s, track, b, f)
}
