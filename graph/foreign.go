package graph

import (
	"context"
	"fmt"
	"reflect"

	"github.com/reugn/go-streams"

	"headinfer/config"
)

// NewFlow describes a stage that is an operator of go-streams, such as flow.NewMap[In, Out]; see [NewSource]. The operator
// runs in goroutines of its library: a panic there ends the program, since nothing can recover it. Its figures count what
// comes out of it, as both In and Out.
func NewFlow[E, In, Out, O any](level config.Level, name, doc string,
	makeFlow func(env E, options *O) (streams.Flow, error)) Spec {
	s := newSpec[O](level, name, doc, reflect.TypeFor[In](), reflect.TypeFor[Out]())
	s.build = builder(makeFlow, bindFlow[Out])
	return s
}

// bindFlow makes n pass on what comes out of an operator.
func bindFlow[Out any](n *node, operator streams.Flow) {
	n.in, n.inlet, n.foreign = operator.Out(), operator.In(), true
	n.process = func(_ context.Context, item any) error {
		out, err := as[Out](item)
		if err != nil {
			return fmt.Errorf("what came out of the operator: %w", err)
		}
		return n.send(out)
	}
}

// SourceOf makes a [Source] of a connector of go-streams. Connectors cannot be stopped: when the run ends early, what the
// connector still gives is received and released in the background until it closes its outlet.
func SourceOf[Out any](connector streams.Source) Source[Out] { return sourceOf[Out]{connector} }

type sourceOf[Out any] struct{ connector streams.Source }

func (s sourceOf[Out]) Produce(ctx context.Context, emit func(Out) error) error {
	items := s.connector.Out()
	for {
		select {
		case item, ok := <-items:
			if !ok {
				return nil
			}
			out, err := as[Out](item)
			if err == nil {
				err = emit(out)
			} else {
				releaseQuietly(item)
			}
			if err != nil {
				go discardAll(items)
				return err
			}
		case <-ctx.Done():
			go discardAll(items)
			return context.Cause(ctx)
		}
	}
}

func discardAll(items <-chan any) {
	for item := range items {
		releaseQuietly(item)
	}
}

// releaseQuietly releases an item that no node answers for.
func releaseQuietly(item any) {
	if r, ok := item.(Releaser); ok {
		// There is nobody left to tell of a Release that panics.
		_ = protect(func() error { r.Release(); return nil })
	}
}

// SinkOf makes a [Sink] of a connector of go-streams, which owns the items it is given. It is closed, and waited for, when
// the run ends, well or not.
func SinkOf[In any](connector streams.Sink) Sink[In] { return sinkOf[In]{connector} }

type sinkOf[In any] struct{ connector streams.Sink }

func (s sinkOf[In]) Consume(ctx context.Context, in In) error {
	select {
	case s.connector.In() <- in:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s sinkOf[In]) Close() error {
	close(s.connector.In())
	s.connector.AwaitCompletion()
	return nil
}
