package graph

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

var errBroken = errors.New("broken")

// A fault is one way in which the middle stage of a chain can end early.
type fault struct {
	name  string
	stage func(ctx context.Context, b *buffer, emit func(*buffer) error) error
	want  func(t *testing.T, err error)
}

func faults() []fault {
	failed := func(t *testing.T, err error) { _ = stageOf(t, err, "middle", errBroken) }
	return []fault{
		{"error before emit", func(context.Context, *buffer, func(*buffer) error) error { return errBroken }, failed},
		{"error after emit", func(_ context.Context, b *buffer, emit func(*buffer) error) error {
			if err := emit(b); err != nil {
				return err
			}
			return fmt.Errorf("wrapped: %w", errBroken)
		}, failed},
		{"panic with an error", func(context.Context, *buffer, func(*buffer) error) error { panic(errBroken) },
			func(t *testing.T, err error) {
				failure := stageOf(t, err, "middle", errBroken)
				if !strings.Contains(string(failure.Stack), "failure_test.go") {
					t.Errorf("the stack does not show where the panic was:\n%s", failure.Stack)
				}
				if strings.Contains(failure.Error(), "failure_test.go") {
					t.Errorf("the message has the stack in it: %s", failure)
				}
			}},
		{"panic after emit", func(_ context.Context, b *buffer, emit func(*buffer) error) error {
			if err := emit(b); err != nil {
				return err
			}
			panic("out of range")
		}, func(t *testing.T, err error) {
			if failure := stageOf(t, err, "middle", nil); !strings.Contains(failure.Error(), "panic: out of range") {
				t.Errorf("got %q", failure)
			}
		}},
		{"goexit", func(context.Context, *buffer, func(*buffer) error) error { runtime.Goexit(); return nil },
			func(t *testing.T, err error) { _ = stageOf(t, err, "middle", nil) }},
	}
}

// TestFailuresReleaseEverything fails the middle of a chain at a random item, while an endless source fills the edges, and
// counts goroutines, buffers and calls of Finish and Close.
func TestFailuresReleaseEverything(t *testing.T) {
	random := seeded(t)
	for _, f := range faults() {
		for range 20 {
			at, capacity := random.IntN(60), random.IntN(9)
			t.Run(fmt.Sprintf("%s at %d of %d", f.name, at, capacity), func(t *testing.T) {
				noLeaks(t)
				var books ledger
				scope := NewScope(t.Context())
				opts := []NodeOption{WithScope(scope), WithCapacity(capacity)}
				seen := 0
				middle := stageFunc[*buffer, *buffer](func(ctx context.Context, b *buffer, emit func(*buffer) error) error {
					if seen++; seen > at {
						return f.stage(ctx, b, emit)
					}
					return emit(b)
				})
				sink := new(releasing)
				_ = within(t, func() error {
					FromSource("source", buffers(&books, -1), opts...).
						Via(Flow("before", pass[*buffer](), opts...)).
						Via(Flow("middle", middle, opts...)).
						Via(Flow("after", pass[*buffer](), opts...)).
						To(ToSink("sink", sink, opts...))
					return nil
				})
				f.want(t, within(t, scope.Wait))
				books.settled(t)
				if sink.finished.Load() != 0 || sink.closed.Load() != 1 {
					t.Errorf("finished %d and closed %d times, want 0 and 1", sink.finished.Load(), sink.closed.Load())
				}
				if got := scope.Stats(); len(got) != 5 {
					t.Errorf("figures of %d nodes, want 5", len(got))
				}
			})
		}
	}
}

// releasing is a sink that releases what it gets.
type releasing struct{ finished, closed atomic.Int64 }

func (r *releasing) Consume(_ context.Context, b *buffer) error { b.Release(); return nil }
func (r *releasing) Finish(context.Context) error               { r.finished.Add(1); return nil }
func (r *releasing) Close() error                               { r.closed.Add(1); return nil }

func TestSuccessReleasesEverything(t *testing.T) {
	noLeaks(t)
	var books ledger
	sink := new(releasing)
	scope := NewScope(t.Context())
	FromSource("source", buffers(&books, 1000), WithScope(scope)).
		Via(Flow("middle", pass[*buffer](), WithScope(scope))).To(ToSink("sink", sink, WithScope(scope)))
	if err := within(t, scope.Wait); err != nil {
		t.Fatal(err)
	}
	books.settled(t)
	if sink.finished.Load() != 1 || sink.closed.Load() != 1 {
		t.Errorf("finished %d and closed %d times, want 1 and 1", sink.finished.Load(), sink.closed.Load())
	}
}

// failing is a sink that is interrupted before its first item, and fails with it and when it is closed.
type failing struct{ stop func() }

func (f failing) Consume(context.Context, *buffer) error {
	f.stop()
	return fmt.Errorf("full: %w", errBroken)
}

func (failing) Close() error { return errors.New("not closed") }

// TestLateFailures reports what a sink lost after the run was interrupted.
func TestLateFailures(t *testing.T) {
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	var books ledger
	scope := NewScope(ctx)
	source := FromSource("source", buffers(&books, -1), WithScope(scope))
	source.Via(Flow("middle", pass[*buffer](), WithScope(scope))).To(ToSink("sink", Sink[*buffer](failing{func() { cancel(stop) }}), WithScope(scope)))
	err := within(t, scope.Wait)
	late, ok := errors.AsType[*LateError](err)
	if !errors.Is(err, stop) || !ok || !errors.Is(late, errBroken) || late.Error() != "stage \"sink\": full: broken\nstage \"sink\": not closed" {
		t.Errorf("got %v, want what the sink failed with beside the cause", err)
	}
	books.settled(t)

	// Where it is the sink's failure that ended the run, it is told once.
	scope = NewScope(t.Context())
	source = FromSource("source", buffers(&books, -1), WithScope(scope))
	source.Via(Flow("middle", pass[*buffer](), WithScope(scope))).To(ToSink("sink", Sink[*buffer](failing{func() {}}), WithScope(scope)))
	if err := within(t, scope.Wait); err == nil || err.Error() != "stage \"sink\": full: broken\nstage \"sink\": not closed" {
		t.Errorf("got %v, want the failure and the one after it", err)
	}
}

func TestCancelReleasesEverything(t *testing.T) {
	random := seeded(t)
	stop := errors.New("stop")
	for _, blocked := range []bool{false, true} {
		for range 20 {
			t.Run(fmt.Sprint("blocked ", blocked), func(t *testing.T) {
				noLeaks(t)
				ctx, cancel := context.WithCancelCause(t.Context())
				var books ledger
				sink := new(releasing)
				scope := NewScope(ctx)
				opts := []NodeOption{WithScope(scope), WithCapacity(random.IntN(4))}
				forward := func(ctx context.Context, b *buffer, emit func(*buffer) error) error {
					if blocked {
						<-ctx.Done()
						return fmt.Errorf("gave up waiting: %w", ctx.Err())
					}
					return emit(b)
				}
				middle := stageFunc[*buffer, *buffer](forward)
				after := time.Duration(random.IntN(2000)) * time.Microsecond
				time.AfterFunc(after, func() { cancel(stop) })
				source := FromSource("source", buffers(&books, -1), opts...)
				source.Via(Flow("middle", middle, opts...)).To(ToSink("sink", sink, opts...))
				if err := within(t, scope.Wait); !errors.Is(err, stop) {
					t.Errorf("got %v, want the cause of the cancellation", err)
				}
				books.settled(t)
				if sink.finished.Load() != 0 || sink.closed.Load() != 1 {
					t.Errorf("finished %d and closed %d times, want 0 and 1", sink.finished.Load(), sink.closed.Load())
				}
				if errs := source.Stats().Errors; errs != 0 {
					t.Errorf("the source counts %d errors, want 0: being cancelled is not a failure", errs)
				}
			})
		}
	}
}

// shared is a sink that checks that its buffers are still there.
func shared(fail int) sinkFunc[*buffer] {
	seen := 0
	return func(_ context.Context, b *buffer) error {
		if b.refs.Load() <= 0 {
			return errors.New("the buffer is gone already")
		}
		if seen++; seen == fail {
			return errBroken
		}
		b.Release()
		return nil
	}
}

func TestAFailingReaderOfABroadcastReleasesEverything(t *testing.T) {
	random := seeded(t)
	for range 50 {
		noLeaks(t)
		var books ledger
		scope := NewScope(t.Context())
		opts := []NodeOption{WithScope(scope), WithCapacity(random.IntN(4))}
		FromSource("source", buffers(&books, -1), opts...).Tee(
			ToSink("a", shared(0), opts...), ToSink("b", shared(1+random.IntN(40)), opts...), ToSink("c", shared(0), opts...))
		_ = stageOf(t, within(t, scope.Wait), "b", errBroken)
		books.settled(t)
	}
}

func TestDeadLettersAndDrop(t *testing.T) {
	noLeaks(t)
	type letter struct {
		stage string
		e     *DocumentError
	}
	letters := make(chan letter, 10)
	dead := WithDeadLetters(func(stage string, e *DocumentError) { letters <- letter{stage, e} })
	scope := NewScope(t.Context())
	var books ledger
	source := sourceFunc[*buffer](func(ctx context.Context, emit func(*buffer) error) error {
		if err := Drop(ctx, &DocumentError{ID: "lost", Err: errBroken}); err != nil {
			return err
		}
		return buffers(&books, 10)(ctx, emit)
	})
	stage := stageFunc[*buffer, *buffer](func(_ context.Context, b *buffer, emit func(*buffer) error) error {
		switch b.id {
		case 3:
			return &DocumentError{ID: "three", Err: errBroken}
		case 5:
			return fmt.Errorf("while reading: %w", &DocumentError{ID: "five", Err: errBroken})
		}
		return emit(b)
	})
	sink := ToSink("sink", new(releasing), WithScope(scope))
	middle := Flow("middle", stage, WithScope(scope), dead)
	FromSource("source", source, WithScope(scope), dead).Via(middle).To(sink)
	if err := within(t, scope.Wait); err != nil {
		t.Fatal(err)
	}
	close(letters)
	var got []string
	for l := range letters {
		got = append(got, fmt.Sprintf("%s %s %v", l.stage, l.e.ID, l.e.Err))
		if !errors.Is(l.e, errBroken) {
			t.Errorf("%v does not lead to its reason", l.e)
		}
	}
	want := `[source lost broken middle three broken middle five while reading: document "five": broken]`
	if fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
	if s := middle.Stats(); s.In != 10 || s.Out != 8 || s.Dead != 2 || s.Errors != 0 {
		t.Errorf("got %+v", s)
	}
	if sink.Stats().In != 8 {
		t.Errorf("the sink got %d items, want 8", sink.Stats().In)
	}
	books.settled(t)
}

func TestWithoutDeadLettersADocumentErrorStopsTheRun(t *testing.T) {
	noLeaks(t)
	e := &DocumentError{ID: "nobody's", Err: errBroken}
	scope := NewScope(t.Context())
	sink := sinkFunc[int](func(context.Context, int) error { return e })
	FromSource("source", count(-1), WithScope(scope)).To(ToSink("sink", sink, WithScope(scope)))
	_ = stageOf(t, within(t, scope.Wait), "sink", errBroken)

	dropping := FromSource("source", sourceFunc[int](func(ctx context.Context, _ func(int) error) error { return Drop(ctx, e) }))
	dropping.To(ToSink("sink", discard[int]()))
	_ = stageOf(t, dropping.Err(), "source", errBroken)
	if err := Drop(t.Context(), e); err != error(e) { //nolint:errorlint // the very same error is wanted
		t.Errorf("Drop outside a stage returned %v, want the error itself", err)
	}
}

// ending is a stage that does things at the end of its input.
type ending struct {
	stageFunc[int, int]
	flush error
	close error
}

func (e *ending) Flush(_ context.Context, emit func(int) error) error {
	if err := emit(-1); err != nil {
		return err
	}
	return e.flush
}

func (e *ending) Close() error { return e.close }

func TestTheEndOfTheInput(t *testing.T) {
	for _, test := range []struct {
		name          string
		flush, close  error
		finish, clean error
		stage         string
		finished      int64
	}{
		{name: "all well", finished: 1},
		{name: "flush fails", flush: errBroken, stage: "middle"},
		{name: "flush drops a document", flush: &DocumentError{ID: "x", Err: errBroken}, finished: 1},
		{name: "finish fails", finish: errBroken, stage: "sink", finished: 1},
		{name: "close of the sink fails", clean: errBroken, stage: "sink", finished: 1},
		{name: "close of the stage fails", close: errBroken, stage: "middle", finished: -1},
	} {
		t.Run(test.name, func(t *testing.T) {
			noLeaks(t)
			dead := WithDeadLetters(func(string, *DocumentError) {})
			scope := NewScope(t.Context())
			sink := &collector[int]{finish: test.finish, close: test.clean}
			middle := &ending{stageFunc: pass[int](), flush: test.flush, close: test.close}
			FromSource("source", count(3), WithScope(scope)).Via(Flow("middle", middle, WithScope(scope), dead)).
				To(ToSink("sink", sink, WithScope(scope)))
			err := within(t, scope.Wait)
			if test.stage == "" && err != nil {
				t.Fatal(err)
			}
			if test.stage != "" {
				_ = stageOf(t, err, test.stage, errBroken)
			} else if got := fmt.Sprint(sink.items); got != "[0 1 2 -1]" {
				t.Errorf("got %s, want what was flushed at the end", got)
			}
			if got := sink.finished.Load(); test.finished >= 0 && got != test.finished || sink.closed.Load() != 1 {
				t.Errorf("finished %d and closed %d times", got, sink.closed.Load())
			}
		})
	}
}

// spans is a tracer that counts by track and name.
type spans struct {
	t    *testing.T
	seen chan string
}

func (s spans) Span(track, name string, start, end time.Time) {
	if end.Before(start) || time.Since(start) > time.Minute {
		s.t.Errorf("a span of %s from %v to %v", track, start, end)
	}
	s.seen <- track + "/" + name
}

func (b *buffer) SpanName() string { return fmt.Sprint("buffer", b.id) }

func TestTracer(t *testing.T) {
	noLeaks(t)
	seen := spans{t, make(chan string, 100)}
	tracer := WithTracer(seen)
	var books ledger
	scope := NewScope(t.Context())
	FromSource("source", buffers(&books, 3), WithScope(scope), tracer).
		To(ToSink("sink", new(releasing), WithScope(scope), tracer))
	if err := within(t, scope.Wait); err != nil {
		t.Fatal(err)
	}
	close(seen.seen)
	got := map[string]int{}
	for s := range seen.seen {
		got[s]++
	}
	want := "map[sink/buffer0:1 sink/buffer1:1 sink/buffer2:1 source/buffer0:1 source/buffer1:1 source/buffer2:1]"
	if fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

// TestCallbacksThatPanic has the program's own callbacks panic: they fail the run and leak nothing.
func TestCallbacksThatPanic(t *testing.T) {
	for name, opt := range map[string]Option{
		"dead letters": WithDeadLetters(func(string, *DocumentError) { panic(errBroken) }),
		"tracer":       WithTracer(panicking{}),
	} {
		t.Run(name, func(t *testing.T) {
			noLeaks(t)
			var books ledger
			scope := NewScope(t.Context())
			stage := stageFunc[*buffer, *buffer](func(_ context.Context, b *buffer, emit func(*buffer) error) error {
				if b.id == 5 {
					return &DocumentError{ID: "five", Err: errors.New("no text")}
				}
				return emit(b)
			})
			FromSource("source", buffers(&books, -1), WithScope(scope)).
				Via(Flow("middle", stage, WithScope(scope), opt)).
				To(ToSink("sink", new(releasing), WithScope(scope)))
			_ = stageOf(t, within(t, scope.Wait), "middle", errBroken)
			books.settled(t)
		})
	}
}

type panicking struct{}

func (panicking) Span(string, string, time.Time, time.Time) { panic(errBroken) }
