package graph

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
)

// A Scope is what nodes that run together share: a context, and the first failure, which cancels it.
//
// A node starts when it is first connected and belongs to the scope from then on; a node that is never connected never
// starts, and its stage is not closed.
type Scope struct {
	ctx     context.Context
	cancel  context.CancelCauseFunc
	running sync.WaitGroup
	aborted atomic.Bool // a node ended before its input did
	sinks   *barrier    // what Finish waits for; nil when only for the sink's own input

	mu    sync.Mutex
	nodes []*node
	late  []*StageError // of sinks, once the scope was cancelled
}

// NewScope returns a scope whose context derives from ctx. Wait must be called, or the scope lives as long as ctx does.
func NewScope(ctx context.Context) *Scope {
	s := new(Scope)
	s.open(ctx)
	return s
}

func (s *Scope) open(ctx context.Context) {
	s.ctx, s.cancel = context.WithCancelCause(ctx)
}

// Context is cancelled at the first failure, with its [StageError] as the cause, and by Wait.
func (s *Scope) Context() context.Context { return s.ctx }

// Wait blocks until every node of the scope that was started has exited, and cancels the scope's context. It returns nil
// when every node came to the end of its input; else the first failure, a [*StageError], or the cause with which the
// context given to NewScope was cancelled, joined with a [*LateError] where finished work was lost after that. It is called
// once, when all nodes are connected.
func (s *Scope) Wait() error { return s.wait(nil) }

// wait is Wait, which cancels the context of a run without failure with the given cause.
func (s *Scope) wait(over error) error {
	s.running.Wait()
	var err error
	if s.aborted.Load() {
		err = context.Cause(s.ctx)
		if len(s.late) > 0 {
			var late error
			for _, e := range s.late {
				late = errors.Join(late, e)
			}
			err = errors.Join(err, &LateError{late})
		}
	}
	s.cancel(over)
	return err
}

// Stats returns the figures of the nodes started so far, in the order in which they started. It may be called at any time.
func (s *Scope) Stats() []Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Stats, len(s.nodes))
	for i, n := range s.nodes {
		all[i] = n.stats()
	}
	return all
}

func (s *Scope) add(n *node) {
	s.running.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nodes = append(s.nodes, n)
}

// A barrier opens when everyone expected has arrived.
type barrier struct {
	missing atomic.Int64
	open    chan struct{}
}

func newBarrier(expected int) *barrier {
	b := &barrier{open: make(chan struct{})}
	b.missing.Store(int64(expected))
	return b
}

func (b *barrier) arrive() {
	if b != nil && b.missing.Add(-1) == 0 {
		close(b.open)
	}
}

// wait blocks until the barrier opens or ctx is cancelled, and returns the cause of the latter. A stage that fails while it
// closes cancels ctx and then arrives: that counts as cancelled.
func (b *barrier) wait(ctx context.Context) error {
	if b == nil {
		return nil
	}
	select {
	case <-b.open:
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}
