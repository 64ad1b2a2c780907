package graph

import (
	"context"
	"errors"
	"reflect"
	"time"

	"headinfer/config"
)

// A Batcher is a stage that works on several items at a time. Run is called once; it takes items from the inbox as it has
// room for them, emits from its own goroutine, and returns when the input has ended and all is emitted. Items that it has
// taken are its own, to be released if it fails. A document that it cannot process it reports with [Drop] and goes on; any
// error that it returns stops the run.
type Batcher[In, Out any] interface {
	Run(ctx context.Context, in *Inbox[In], emit func(Out) error) error
}

// An Inbox is where a [Batcher] gets its items from. Only the goroutine that runs the Batcher may use it.
type Inbox[In any] struct {
	node  *node
	ended bool
}

// Next returns the next item. ok is false when there is none: with wait at the end of the input only, without wait also
// when none has come yet. It returns the run's cause of failure once the run is cancelled.
func (b *Inbox[In]) Next(ctx context.Context, wait bool) (item In, ok bool, err error) {
	n := b.node
	if b.ended {
		return item, false, nil
	}
	var next any
	select {
	case <-ctx.Done():
		return item, false, context.Cause(ctx)
	case next, ok = <-n.in:
		b.ended = !ok
	default:
		if !wait {
			return item, false, nil
		}
		n.pause()
		select {
		case <-ctx.Done():
			n.resume()
			return item, false, context.Cause(ctx)
		case next, ok = <-n.in:
			b.ended = !ok
		}
		n.resume()
	}
	if !ok {
		return item, false, nil
	}
	if ctx.Err() != nil { // both were ready
		n.release(next)
		return item, false, context.Cause(ctx)
	}
	n.count.in.Add(1)
	if item, err = as[In](next); err != nil {
		n.release(next)
		return item, false, err
	}
	return item, true, nil
}

// Idle runs f, which waits for something other than the next item; that time does not count as the stage's own.
func (b *Inbox[In]) Idle(f func()) {
	b.node.pause()
	defer b.node.resume()
	f()
}

// Ended reports whether Next has come to the end of the input.
func (b *Inbox[In]) Ended() bool { return b.ended }

// NewBatcher describes a stage that works on several items at a time; see [NewSource].
func NewBatcher[E, In, Out, O any](level config.Level, name, doc string,
	makeStage func(env E, options *O) (Batcher[In, Out], error)) Spec {
	s := newSpec[O](level, name, doc, reflect.TypeFor[In](), reflect.TypeFor[Out]())
	s.build = builder(makeStage, bindBatcher[In, Out])
	return s
}

// pause and resume enclose what is not a Batcher's own time.
func (n *node) pause()  { n.count.busy.Add(since() - n.count.working.Swap(0)) }
func (n *node) resume() { n.count.working.Store(since()) }

// bindBatcher makes n run b.
func bindBatcher[In, Out any](n *node, b Batcher[In, Out]) {
	n.makeInlet()
	emit := func(out Out) error { return n.send(out) }
	n.batch = func(ctx context.Context) error {
		in := &Inbox[In]{node: n}
		n.resume()
		defer n.pause()
		err := b.Run(ctx, in, emit)
		if err == nil && !in.ended {
			err = errors.New("the stage returned before its input had ended; take items until Ended says so, or return an error")
		}
		return err
	}
	n.bindCloser(b)
}

// Span reports to the tracer, if there is one, what the stage that ctx belongs to did for some time: a [Batcher] has no
// spans but those. name may be empty.
func Span(ctx context.Context, name string, start, end time.Time) {
	if n, ok := ctx.Value(nodeKey{}).(*node); ok && n.set.tracer != nil {
		n.set.tracer.Span(n.name, name, start, end)
	}
}
