package graph

import (
	"context"
	"time"
)

// A Stage turns items of one type into items of another. Process is called for one item at a time, in order, from one
// goroutine. It may emit any number of items, from any goroutine, but not after it has returned. emit blocks while the
// readers are full, and returns the run's cause of failure once the run is cancelled; Process then returns too.
//
// Returning a [DocumentError] drops that document and the run goes on, if [WithDeadLetters] says where it goes; any other
// error stops the run.
type Stage[In, Out any] interface {
	Process(ctx context.Context, in In, emit func(Out) error) error
}

// A Source makes items. Produce is called once and returns when there are no more, or when emit fails. A document that it
// cannot read it reports with [Drop] and goes on; any error that it returns stops the run.
type Source[Out any] interface {
	Produce(ctx context.Context, emit func(Out) error) error
}

// A Sink takes items out of the graph. Consume is called for one item at a time, in order, from one goroutine. Errors are
// as for a [Stage].
type Sink[In any] interface {
	Consume(ctx context.Context, in In) error
}

// A Finisher is a sink that has something to do when all went well, such as renaming a finished file. Finish is called
// once, after the last item, and not at all when the run failed or was cancelled. In a [Run] it waits until every node of
// the graph is done; between nodes joined by hand it only waits for the sink's own input.
type Finisher interface {
	Finish(ctx context.Context) error
}

// A Closer is a source, stage or sink that owns something. Close is called exactly once, after everything else and
// whether or not the run succeeded. Its error fails a run that had not failed yet.
type Closer interface {
	Close() error
}

// A Flusher is a stage that holds items back. Flush is called once when the input has ended without a failure; emit is as
// in [Stage.Process].
type Flusher[Out any] interface {
	Flush(ctx context.Context, emit func(Out) error) error
}

// A Releaser is an item that owns something, such as a slot of a ring. Release is called on every item that is dropped
// because the run ends early or because the stage it was given to failed on it.
type Releaser interface {
	Release()
}

// A Retainer is a [Releaser] that counts its references. Before an item goes to n readers, Retain is called n-1 times.
type Retainer interface {
	Retain()
}

// A Tracer records what nodes do. Span is called after each Process and Consume, and for each item of a source with the
// time since the one before; track is the node's name, name the item's SpanName() string or "". It is called from many
// goroutines at once.
type Tracer interface {
	Span(track, name string, start, end time.Time)
}

// spanNamer is an item that says what its spans are called.
type spanNamer interface{ SpanName() string }
