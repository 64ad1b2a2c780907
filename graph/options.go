package graph

import "context"

// settings is what options change.
type settings struct {
	capacity    int
	tracer      Tracer
	deadLetters func(stage string, e *DocumentError)
	scope       *Scope
	feed        func(ctx context.Context, emit func(item any) error) error
	drain       func(item any) error
}

// defaultCapacity is one item waiting while one is being processed: enough for two stages to overlap, and little memory.
const defaultCapacity = 1

// A NodeOption changes how one node made by [FromSource], [Flow] or [ToSink] runs.
type NodeOption interface{ forNode(*settings) }

// A BuildOption changes how all nodes of a [Run] run.
type BuildOption interface{ forBuild(*settings) }

// An Option is both a [NodeOption] and a [BuildOption].
type Option func(*settings)

func (o Option) forNode(s *settings)  { o(s) }
func (o Option) forBuild(s *settings) { o(s) }

type nodeOption func(*settings)

func (o nodeOption) forNode(s *settings) { o(s) }

type buildOption func(*settings)

func (o buildOption) forBuild(s *settings) { o(s) }

// WithCapacity sets how many items may wait in a node's inlet; the default is 1, and 0 makes a writer wait until the node
// takes its item. A negative number counts as 0.
func WithCapacity(items int) Option {
	return func(s *settings) { s.capacity = max(items, 0) }
}

// WithTracer has every span reported to t.
func WithTracer(t Tracer) Option {
	return func(s *settings) { s.tracer = t }
}

// WithDeadLetters has f called for each dropped document, from the goroutine of the stage that dropped it. e.Err holds all
// that the stage said. f is called from several goroutines at once and blocks the stage while it runs. Without this option
// a [DocumentError] stops the run like any other error: no document is lost without a trace.
func WithDeadLetters(f func(stage string, e *DocumentError)) Option {
	return func(s *settings) { s.deadLetters = f }
}

// WithScope makes the node part of scope. Without it a node is a scope of its own: its failure does not stop others.
func WithScope(scope *Scope) NodeOption {
	return nodeOption(func(s *settings) { s.scope = scope })
}

// WithFeed gives the items of a graph that is open at its start: f is called once, in its own goroutine, and the input
// ends when it returns. It replaces [Run.Send], which then returns an error. An error of f fails the run as the stage
// "the input".
func WithFeed(f func(ctx context.Context, emit func(item any) error) error) BuildOption {
	return buildOption(func(s *settings) { s.feed = f })
}

// WithDrain gives what takes the items of a graph that is open at its end. f owns each item it is given, also when it
// returns an error. It runs in the goroutine of the last stage: a slow f holds the stage back, and its error is what that
// stage's emit returns.
func WithDrain(f func(item any) error) BuildOption {
	return buildOption(func(s *settings) { s.drain = f })
}
