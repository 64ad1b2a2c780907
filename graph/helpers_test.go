package graph

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// patience is how long a test waits for something that should happen at once.
const patience = 10 * time.Second

// seeded returns a source of random numbers and logs its seed.
func seeded(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// noLeaks fails the test if, at its end, more goroutines run than now.
func noLeaks(t *testing.T) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		deadline := time.Now().Add(patience)
		for runtime.NumGoroutine() > before {
			if time.Now().After(deadline) {
				stacks := make([]byte, 1<<16)
				stacks = stacks[:runtime.Stack(stacks, true)]
				t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, stacks)
			}
			time.Sleep(time.Millisecond)
		}
	})
}

// within fails the test if f takes longer than patience, and returns what f does.
func within[T any](t *testing.T, f func() T) T {
	t.Helper()
	result := make(chan T, 1)
	go func() { result <- f() }()
	select {
	case r := <-result:
		return r
	case <-time.After(patience):
		stacks := make([]byte, 1<<16)
		t.Fatalf("still running after %v:\n%s", patience, stacks[:runtime.Stack(stacks, true)])
		panic("unreachable")
	}
}

// A ledger counts the references to the buffers made from it.
type ledger struct{ made, live, over atomic.Int64 }

// A buffer is an item that owns something.
type buffer struct {
	of   *ledger
	id   int
	refs atomic.Int64
}

func (l *ledger) buffer(id int) *buffer {
	b := &buffer{of: l, id: id}
	b.refs.Store(1)
	l.made.Add(1)
	l.live.Add(1)
	return b
}

func (b *buffer) Retain() { b.refs.Add(1) }

func (b *buffer) Release() {
	switch left := b.refs.Add(-1); {
	case left == 0:
		b.of.live.Add(-1)
	case left < 0:
		b.of.over.Add(1)
	}
}

// settled fails the test unless every buffer was released exactly once a reference.
func (l *ledger) settled(t *testing.T) {
	t.Helper()
	if l.made.Load() == 0 {
		t.Error("no buffer was made: the test tests nothing")
	}
	if live, over := l.live.Load(), l.over.Load(); live != 0 || over != 0 {
		t.Errorf("of %d buffers %d were never released, and %d releases were too many", l.made.Load(), live, over)
	}
}

type sourceFunc[Out any] func(ctx context.Context, emit func(Out) error) error

func (f sourceFunc[Out]) Produce(ctx context.Context, emit func(Out) error) error {
	return f(ctx, emit)
}

type stageFunc[In, Out any] func(ctx context.Context, in In, emit func(Out) error) error

func (f stageFunc[In, Out]) Process(ctx context.Context, in In, emit func(Out) error) error {
	return f(ctx, in, emit)
}

type sinkFunc[In any] func(ctx context.Context, in In) error

func (f sinkFunc[In]) Consume(ctx context.Context, in In) error { return f(ctx, in) }

// count emits the numbers from 0 to below n; for ever if n is negative.
func count(n int) sourceFunc[int] {
	return func(_ context.Context, emit func(int) error) error {
		for i := 0; n < 0 || i < n; i++ {
			if err := emit(i); err != nil {
				return err
			}
		}
		return nil
	}
}

// buffers emits n buffers; no end of them if n is negative.
func buffers(l *ledger, n int) sourceFunc[*buffer] {
	return func(_ context.Context, emit func(*buffer) error) error {
		for i := 0; n < 0 || i < n; i++ {
			if err := emit(l.buffer(i)); err != nil {
				return err
			}
		}
		return nil
	}
}

// pass emits what it gets.
func pass[T any]() stageFunc[T, T] {
	return func(_ context.Context, in T, emit func(T) error) error { return emit(in) }
}

// A collector is a sink that keeps what it gets, and counts what else is done to it.
type collector[T any] struct {
	mu               sync.Mutex
	items            []T
	finished, closed atomic.Int64
	finish           error
	close            error
}

func (c *collector[T]) Consume(_ context.Context, in T) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.items = append(c.items, in)
	return nil
}

func (c *collector[T]) Finish(context.Context) error {
	c.finished.Add(1)
	return c.finish
}

func (c *collector[T]) Close() error {
	c.closed.Add(1)
	return c.close
}

// stageOf fails the test unless err is the failure of stage, caused by cause.
func stageOf(t *testing.T, err error, stage string, cause error) *StageError {
	t.Helper()
	failure, ok := errors.AsType[*StageError](err)
	if !ok {
		t.Fatalf("got %v, want a StageError of %q", err, stage)
	}
	if failure.Stage != stage {
		t.Errorf("the failure is of stage %q, want %q: %v", failure.Stage, stage, err)
	}
	if cause != nil && !errors.Is(err, cause) {
		t.Errorf("got %v, want it to be caused by %v", err, cause)
	}
	return failure
}

// repeat emits item n times.
func repeat[T any](n int, item T) sourceFunc[T] {
	return func(_ context.Context, emit func(T) error) error {
		for range n {
			if err := emit(item); err != nil {
				return err
			}
		}
		return nil
	}
}

// discard takes items and does nothing.
func discard[T any]() sinkFunc[T] {
	return func(context.Context, T) error { return nil }
}
