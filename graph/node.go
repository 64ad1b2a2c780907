package graph

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// A node runs one source, stage or sink. It knows nothing of item types: the functions below are bound by the generic
// constructors of bind.go.
type node struct {
	name string
	set  settings
	in   <-chan any // nil for a source
	out  outlet
	// inlet is where writers send for in to receive: the same channel, unless a go-streams operator stands between.
	inlet   chan<- any
	foreign bool // such an operator stands between, and runs from its construction until inlet is closed

	produce func(ctx context.Context) error           // sources
	process func(ctx context.Context, item any) error // stages and sinks
	batch   func(ctx context.Context) error           // Batchers
	flush   func(ctx context.Context) error           // stages that are Flushers
	finish  func(ctx context.Context) error           // sinks that are Finishers
	close   func() error                              // Closers
	sink    bool

	scope *Scope
	ctx   context.Context // the scope's, which also knows this node; set before the node starts
	once  sync.Once
	done  chan struct{} // closed when the node has exited

	count   counters
	started atomic.Int64 // when a source began, for since
	ended   atomic.Int64 // when a source was done
	last    atomic.Int64 // when a source emitted its last item, in Unix nanoseconds; only with a tracer

	// Of the item in process: what it is, while the node has to release it if the stage fails, and whether the stage has
	// emitted since it got it. Only the node's goroutine touches current.
	current any
	handed  atomic.Bool

	returned  bool // the stage did not end the goroutine
	completed bool // the input came to its end and nothing failed; to be read when done is closed
}

func newNode(name string, set settings) *node {
	n := &node{name: name, set: set, done: make(chan struct{}), scope: set.scope}
	n.out.ready = make(chan struct{})
	return n
}

// makeInlet gives the node a bounded inlet.
func (n *node) makeInlet() {
	ch := make(chan any, n.set.capacity)
	n.in, n.inlet = ch, ch
}

// nodeKey is the key under which a stage's context holds its node.
type nodeKey struct{}

// Drop sends a document to the dead letters from within a stage that goes on, such as a source that cannot read one of its
// files. ctx is the context that the stage was called with. Drop returns nil when the dead letters have taken e, and else e
// itself, for the stage to return.
func Drop(ctx context.Context, e *DocumentError) error {
	n, ok := ctx.Value(nodeKey{}).(*node)
	if !ok || n.set.deadLetters == nil {
		return e
	}
	n.dead(e)
	return nil
}

func (n *node) dead(e *DocumentError) {
	n.count.dead.Add(1)
	n.set.deadLetters(n.name, e)
}

// start runs the node in its scope; further calls do nothing.
func (n *node) start() {
	n.once.Do(func() {
		if n.scope == nil {
			n.scope = NewScope(context.Background())
		}
		n.ctx = context.WithValue(n.scope.ctx, nodeKey{}, n)
		n.scope.add(n)
		go n.run()
	})
}

func (n *node) run() {
	defer n.exit()
	err := protect(n.loop)
	n.returned = true
	if err != nil {
		n.fail(err)
		return
	}
	n.completed = true
}

// fail makes err the run's failure, unless the run is over already: then err is most likely a consequence.
func (n *node) fail(err error) {
	if n.scope.ctx.Err() != nil {
		n.late(err)
		return
	}
	n.count.errors.Add(1)
	n.scope.cancel(stageError(n.name, err))
}

// late keeps the failure of a sink of a run that is over, which is no consequence of that: finished work is lost.
func (n *node) late(err error) {
	if !n.sink || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Cause(n.scope.ctx)) {
		return
	}
	n.scope.mu.Lock()
	defer n.scope.mu.Unlock()
	all := n.scope.late
	if first, ok := errors.AsType[*StageError](context.Cause(n.scope.ctx)); ok {
		all = append(all[:len(all):len(all)], first)
	}
	for _, told := range all {
		if told.Stage == n.name && errors.Is(told.Cause, err) {
			return // take has told it, and returned it
		}
	}
	n.count.errors.Add(1)
	n.scope.late = append(n.scope.late, stageError(n.name, err))
}

// exit is what every node does at its end, whatever brought it there. It runs deferred so that it also does when a stage
// ends its goroutine.
func (n *node) exit() {
	if !n.returned {
		n.fail(errors.New("the stage ended its goroutine with runtime.Goexit; return an error instead"))
	}
	if n.current != nil && !n.handed.Load() {
		n.release(n.current) // the stage did not return from it
	}
	if err := protect(n.out.close); err != nil {
		n.abort(err)
	}
	if n.in != nil {
		for item := range n.in {
			n.release(item)
		}
	}
	if n.close != nil {
		if err := protect(n.close); err != nil {
			n.abort(err)
		}
	}
	if !n.sink {
		n.scope.sinks.arrive()
	}
	if !n.completed {
		n.scope.aborted.Store(true)
	}
	close(n.done)
	n.scope.running.Done()
}

func (n *node) abort(err error) {
	n.completed = false
	n.fail(err)
}

// release drops an item that nobody will take.
func (n *node) release(item any) {
	r, ok := item.(Releaser)
	if !ok {
		return
	}
	if err := protect(func() error { r.Release(); return nil }); err != nil {
		n.abort(err)
	}
}

// loop is the life of a node between start and exit. It returns nil only at the end of the input.
func (n *node) loop() error {
	if n.produce != nil {
		return n.runSource()
	}
	if n.batch != nil {
		return n.batch(n.ctx)
	}
	if n.sink {
		if err := n.consume(); err != nil {
			return err
		}
	}
	for ended := n.sink; !ended; {
		select {
		case item, ok := <-n.in:
			if n.scope.ctx.Err() != nil {
				if ok {
					n.release(item)
				}
				return context.Cause(n.ctx)
			}
			if !ok {
				ended = true
				break
			}
			if err := n.take(item); err != nil {
				return err
			}
		case <-n.scope.ctx.Done():
			return context.Cause(n.ctx)
		}
	}
	if n.flush != nil {
		if err := n.settle(n.timed(n.flush)); err != nil {
			return err
		}
	}
	if n.sink {
		n.scope.sinks.arrive()
		if err := n.scope.sinks.wait(n.ctx); err != nil {
			return err
		}
	}
	if n.finish != nil {
		return n.timed(n.finish)
	}
	return nil
}

// consume has a sink take its input to the end. It does so even when the run is cancelled, or fails elsewhere: what has
// come as far as a sink is finished work. It need not watch for that, since everything before it closes its outlet then.
func (n *node) consume() error {
	for item := range n.in {
		if n.scope.ctx.Err() != nil {
			n.ctx = context.WithoutCancel(n.ctx)
		}
		if err := n.take(item); err != nil {
			return err
		}
	}
	if n.scope.ctx.Err() != nil {
		return context.Cause(n.scope.ctx)
	}
	return nil
}

// timed runs what a stage does at the end of its input.
func (n *node) timed(f func(context.Context) error) error {
	start := since()
	err := f(n.ctx)
	n.count.busy.Add(since() - start)
	return err
}

func (n *node) runSource() error {
	n.started.Store(max(since(), 1))
	if n.set.tracer != nil {
		n.last.Store(time.Now().UnixNano())
	}
	err := n.produce(n.ctx)
	end := since()
	n.count.busy.Store(end - n.started.Load())
	n.ended.Store(end)
	if n.scope.ctx.Err() != nil {
		return context.Cause(n.ctx) // a source that ignores emit's error has not come to its end
	}
	return err
}

// take has the stage process one item.
func (n *node) take(item any) error {
	n.count.in.Add(1)
	n.handed.Store(false)
	n.current = item
	var err error
	if n.set.tracer == nil {
		start := since()
		err = n.call(item)
		n.count.busy.Add(since() - start)
	} else {
		name := spanName(item) // before the item is given on
		start := time.Now()
		err = n.call(item)
		end := time.Now()
		n.count.busy.Add(int64(end.Sub(start)))
		n.set.tracer.Span(n.name, name, start, end)
	}
	if err == nil {
		return nil
	}
	if err = n.settle(err); err != nil {
		n.fail(err) // first, so that it is the cause even if Release panics
	}
	if n.current != nil {
		n.current = nil
		n.release(item)
	}
	return err
}

// call runs the stage on item, and clears current if the item is the stage's now.
func (n *node) call(item any) error {
	err := n.process(n.ctx, item)
	if err == nil || n.handed.Load() {
		n.current = nil
	}
	return err
}

// settle sends a DocumentError to the dead letters, if there are any, and returns any other error.
func (n *node) settle(err error) error {
	if err == nil || n.set.deadLetters == nil || n.scope.ctx.Err() != nil && !n.sink {
		return err
	}
	e, ok := errors.AsType[*DocumentError](err)
	if !ok {
		return err
	}
	if error(e) != err { //nolint:errorlint // whether anything is wrapped around e is the question
		e = &DocumentError{ID: e.ID, Err: err} // keep what the stage said around it
	}
	n.dead(e)
	return nil
}

func spanName(item any) string {
	if s, ok := item.(spanNamer); ok {
		return s.SpanName()
	}
	return ""
}
