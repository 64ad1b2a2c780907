package graph

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// inputName is the name of the node that WithFeed adds. It cannot be the id of an entry, which has no spaces.
const inputName = "the input"

// A Run is a graph whose stages have been constructed. It runs once.
type Run struct {
	nodes []*node // the graph's boxes in their order, after the feed if there is one
	scope *Scope
	begun atomic.Bool
	ready chan struct{} // closed when the scope is open

	inlet  chan<- any // the first stage's, when Send feeds it; else nil
	mu     sync.RWMutex
	closed bool // inlet is closed; Send holds mu for reading while it sends
}

// Build constructs the graph's stages, in the order of the file. env is what their constructors are given. A graph that is
// open at its end needs [WithDrain]; one that is open at its start gets its items from [WithFeed] or [Run.Send]. The error
// names the stage and its place in the file, and wraps what its constructor returned; stages that were constructed before
// it have been closed.
func (g *Graph) Build(env any, opts ...BuildOption) (*Run, error) {
	set := settings{capacity: defaultCapacity}
	for _, o := range opts {
		o.forBuild(&set)
	}
	switch {
	case g.ends.Out != nil && set.drain == nil:
		return nil, fmt.Errorf("graph: %s give %s and nothing takes it; build with WithDrain", g.level, typeName(g.ends.Out))
	case g.ends.Out == nil && set.drain != nil:
		return nil, fmt.Errorf("graph: %s end in sinks; build without WithDrain", g.level)
	case g.ends.In == nil && set.feed != nil:
		return nil, fmt.Errorf("graph: %s start with a source; build without WithFeed", g.level)
	}
	r := &Run{scope: new(Scope), ready: make(chan struct{})}
	set.scope = r.scope
	for _, b := range g.boxes {
		n := newNode(b.entry.ID, set)
		if err := protect(func() error { return b.construct(n, env) }); err != nil {
			err = fmt.Errorf("%s:%v: stage %q: %w", g.file, b.entry.Pos, b.entry.ID, err)
			return nil, errors.Join(err, r.closeStages())
		}
		r.nodes = append(r.nodes, n)
	}
	r.connect(g, set)
	return r, nil
}

func (b *box) construct(n *node, env any) error {
	bind, err := b.spec.build(env, b.entry.Options)
	if err != nil {
		return err
	}
	bind(n)
	return nil
}

// connect joins the nodes, which are the graph's boxes, and the ends.
func (r *Run) connect(g *Graph, set settings) {
	for i, b := range g.boxes {
		sinks := len(b.readers) > 0
		for _, reader := range b.readers {
			r.nodes[i].out.attach(r.nodes[reader].inlet)
			sinks = sinks && r.nodes[reader].sink
		}
		r.nodes[i].out.sinks = sinks
		if len(b.readers) == 0 && b.spec.Out != nil {
			r.nodes[i].out.drain = set.drain
		}
	}
	switch {
	case set.feed != nil:
		feed := newNode(inputName, set)
		bindSource(feed, feedSource(set.feed))
		feed.out.attach(r.nodes[0].inlet)
		r.nodes = append([]*node{feed}, r.nodes...)
	case g.ends.In != nil:
		r.inlet = r.nodes[0].inlet
	}
	r.scope.sinks = newBarrier(len(r.nodes))
}

type feedSource func(ctx context.Context, emit func(any) error) error

func (f feedSource) Produce(ctx context.Context, emit func(any) error) error { return f(ctx, emit) }

// Run starts every stage and blocks until all have exited. It returns nil when every item has gone through and every sink
// is finished and closed; else the first failure, a [*StageError], or the cause with which ctx was cancelled. A second call
// returns an error.
func (r *Run) Run(ctx context.Context) error {
	if r.begun.Swap(true) {
		return errors.New("graph: the run has run, or was closed; build another")
	}
	r.scope.open(ctx)
	close(r.ready)
	// Whatever ends the run closes the input, or the first stage would wait for it.
	context.AfterFunc(r.scope.ctx, r.CloseInput)
	for _, n := range r.nodes {
		n.start()
	}
	return r.scope.wait(ErrInputClosed)
}

// Close releases what the stages of a run that will not be run have opened, and fails Send. Run does so itself: after it,
// and after the first Close, Close does nothing.
func (r *Run) Close() error {
	if r.begun.Swap(true) {
		return nil
	}
	r.scope.open(context.Background())
	r.scope.cancel(ErrInputClosed)
	close(r.ready)
	return r.closeStages()
}

func (r *Run) closeStages() error {
	var failed error
	for _, n := range r.nodes {
		if n.foreign {
			close(n.inlet)
			discardAll(n.in) // until the operator has seen it
		}
		if n.close == nil {
			continue
		}
		if err := protect(n.close); err != nil {
			failed = errors.Join(failed, stageError(n.name, err))
		}
	}
	return failed
}

// Stats returns what each stage has done so far, in the order of the file; first comes "the input" when there is a
// [WithFeed]. It may be called at any time.
func (r *Run) Stats() []Stats {
	all := make([]Stats, len(r.nodes))
	for i, n := range r.nodes {
		all[i] = n.stats()
	}
	return all
}

// Send gives item to the first stage of a graph that is open at its start. It blocks until the stage's inlet has room, and
// before that until the run has started. It owns item in any case. The error is the cause when ctx or the run is cancelled,
// and [ErrInputClosed] after CloseInput. Several goroutines may send at once.
func (r *Run) Send(ctx context.Context, item any) error {
	err := r.send(ctx, item)
	if err != nil {
		if owner, ok := item.(Releaser); ok {
			owner.Release()
		}
	}
	return err
}

func (r *Run) send(ctx context.Context, item any) error {
	if r.inlet == nil {
		return errors.New("graph: the run has its own input; Send to one that is open at its start and built without WithFeed")
	}
	select {
	case <-r.ready:
	default:
		select {
		case <-r.ready:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	run := r.scope.ctx
	switch {
	case run.Err() != nil:
		return context.Cause(run)
	case r.closed:
		return ErrInputClosed
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	select {
	case r.inlet <- item:
		return nil
	default:
	}
	select {
	case r.inlet <- item:
		return nil
	case <-run.Done():
		return context.Cause(run)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// CloseInput says that no more items will be sent, so that the run ends when those sent have gone through. It waits for
// Send calls under way. Further calls do nothing.
func (r *Run) CloseInput() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.inlet != nil && !r.closed {
		r.closed = true
		close(r.inlet)
	}
}
