package graph

import (
	"context"
	"fmt"
	"reflect"
)

// bindSource makes n run src.
func bindSource[Out any](n *node, src Source[Out]) {
	emit := func(out Out) error {
		if n.set.tracer != nil {
			n.traceProduced(out)
		}
		return n.send(out)
	}
	n.produce = func(ctx context.Context) error { return src.Produce(ctx, emit) }
	n.bindCloser(src)
}

// bindStage makes n run st.
func bindStage[In, Out any](n *node, st Stage[In, Out]) {
	n.makeInlet()
	emit := func(out Out) error { return n.send(out) }
	n.process = func(ctx context.Context, item any) error {
		in, err := as[In](item)
		if err != nil {
			return err
		}
		return st.Process(ctx, in, emit)
	}
	if f, ok := st.(Flusher[Out]); ok {
		n.flush = func(ctx context.Context) error { return f.Flush(ctx, emit) }
	}
	n.bindCloser(st)
}

// bindSink makes n run sink.
func bindSink[In any](n *node, sink Sink[In]) {
	n.makeInlet()
	n.sink = true
	n.process = func(ctx context.Context, item any) error {
		in, err := as[In](item)
		if err != nil {
			return err
		}
		return sink.Consume(ctx, in)
	}
	if f, ok := sink.(Finisher); ok {
		n.finish = f.Finish
	}
	n.bindCloser(sink)
}

func (n *node) bindCloser(stage any) {
	if c, ok := stage.(Closer); ok {
		n.close = c.Close
	}
}

// as returns item as what a stage takes. A graph that Check has passed cannot fail here; one joined by hand can.
func as[In any](item any) (In, error) {
	in, ok := item.(In)
	if ok || item == nil && reflect.TypeFor[In]().Kind() == reflect.Interface {
		return in, nil
	}
	return in, fmt.Errorf("got an item of type %T, but takes %v; join it to a node that emits %v", item,
		reflect.TypeFor[In](), reflect.TypeFor[In]())
}
