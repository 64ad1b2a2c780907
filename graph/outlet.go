package graph

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// An outlet is where a node's items go: straight into the inlets of its readers, without a channel and a goroutine in
// between. Readers may be added while the node runs; they see the items emitted from then on.
type outlet struct {
	drain func(item any) error // the open end of a graph: reads after all others
	sinks bool                 // all readers are sinks of the same run, which take what they are sent to the end

	mu      sync.Mutex
	closed  bool
	own     chan any      // what Out returned, if it was called
	ready   chan struct{} // closed when there is a reader
	readers atomic.Pointer[[]chan<- any]
}

// attach adds readers. The outlet closes them at its end, and at once if that has been.
func (o *outlet) attach(inlets ...chan<- any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		for _, in := range inlets {
			close(in)
		}
		return
	}
	if len(inlets) == 0 {
		return
	}
	old := o.readers.Load()
	if old == nil {
		all := slices.Clone(inlets)
		o.readers.Store(&all)
		close(o.ready) // after the store, which whoever waits for this then loads
		return
	}
	all := slices.Concat(*old, inlets)
	o.readers.Store(&all)
}

// channel returns the outlet as a channel, for readers that are not inlets.
func (o *outlet) channel() <-chan any {
	o.mu.Lock()
	if o.own != nil {
		defer o.mu.Unlock()
		return o.own
	}
	o.own = make(chan any)
	o.mu.Unlock()
	o.attach(o.own)
	return o.own
}

// close ends the stream for all readers. It may panic, if somebody else has closed an inlet.
func (o *outlet) close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	var failed error
	if readers := o.readers.Load(); readers != nil {
		for _, in := range *readers {
			failed = errors.Join(failed, protect(func() error { close(in); return nil }))
		}
	}
	return failed
}

// await returns the readers, when there are any.
func (o *outlet) await(ctx context.Context) ([]chan<- any, error) {
	if readers := o.readers.Load(); readers != nil {
		return *readers, nil
	}
	if o.drain != nil {
		return nil, nil
	}
	select {
	case <-o.ready:
		return *o.readers.Load(), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// send gives item to every reader, and blocks until the last of them has it. It owns item in any case. When the run is
// cancelled it returns the cause.
func (n *node) send(item any) error {
	n.handed.Store(true)
	ctx := n.scope.ctx
	if n.out.sinks {
		ctx = context.WithoutCancel(ctx)
	}
	if ctx.Err() != nil {
		n.release(item)
		return context.Cause(ctx)
	}
	readers, err := n.out.await(ctx)
	if err != nil {
		n.release(item)
		return err
	}
	ends := len(readers)
	if n.out.drain != nil {
		ends++
	}
	if r, ok := item.(Retainer); ok {
		for range ends - 1 {
			r.Retain()
		}
	}
	n.count.out.Add(1)
	for i, in := range readers {
		select {
		case in <- item:
			continue
		default:
		}
		start := since()
		select {
		case in <- item:
			n.count.blocked.Add(since() - start)
		case <-ctx.Done():
			for range ends - i {
				n.release(item)
			}
			return context.Cause(ctx)
		}
	}
	if n.out.drain == nil {
		return nil
	}
	start := since()
	err = n.out.drain(item)
	n.count.blocked.Add(since() - start)
	return err
}

// traceProduced reports the time between two items of a source as a span.
func (n *node) traceProduced(item any) {
	now := time.Now()
	start := n.last.Swap(now.UnixNano())
	n.set.tracer.Span(n.name, spanName(item), time.Unix(0, start), now)
}
