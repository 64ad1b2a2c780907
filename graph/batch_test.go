package graph

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

type batchFunc[In, Out any] func(ctx context.Context, in *Inbox[In], emit func(Out) error) error

func (f batchFunc[In, Out]) Run(ctx context.Context, in *Inbox[In], emit func(Out) error) error {
	return f(ctx, in, emit)
}

// hold is a Batcher that has up to n buffers in work and gives on the newest first;
// after so many it ends with fail, unless that is nil.
func hold(n, after int, fail error) batchFunc[*buffer, *buffer] {
	return func(ctx context.Context, in *Inbox[*buffer], emit func(*buffer) error) error {
		var held []*buffer
		defer func() {
			for _, b := range held {
				b.Release()
			}
		}()
		for {
			for len(held) < n {
				b, ok, err := in.Next(ctx, len(held) == 0)
				if err != nil {
					return err
				}
				if !ok {
					break
				}
				held = append(held, b)
			}
			if len(held) == 0 {
				if !in.Ended() {
					return errors.New("nothing to do before the end")
				}
				return nil
			}
			if after--; after < 0 && fail != nil {
				return fail
			}
			last := held[len(held)-1]
			held = held[:len(held)-1]
			if err := emit(last); err != nil {
				return err
			}
		}
	}
}

func TestBatchersGiveOnEverything(t *testing.T) {
	for _, n := range []int{1, 2, 50} {
		noLeaks(t)
		var books ledger
		scope := NewScope(t.Context())
		seen := map[int]bool{}
		sink := sinkFunc[*buffer](func(_ context.Context, b *buffer) error {
			seen[b.id] = true
			b.Release()
			return nil
		})
		middle := BatchFlow("middle", hold(n, 0, nil), WithScope(scope))
		FromSource("source", buffers(&books, 300), WithScope(scope)).Via(middle).To(ToSink("sink", sink, WithScope(scope)))
		if err := within(t, scope.Wait); err != nil {
			t.Fatal(err)
		}
		books.settled(t)
		if len(seen) != 300 {
			t.Errorf("%d in work: %d of 300 came through", n, len(seen))
		}
		for _, s := range scope.Stats() {
			if s.Name == "middle" && (s.In != 300 || s.Out != 300) {
				t.Errorf("%d in work: the figures say %d in and %d out", n, s.In, s.Out)
			}
		}
	}
}

func TestBatchersThatEndEarlyReleaseEverything(t *testing.T) {
	random := seeded(t)
	for range 20 {
		at, n := random.IntN(60), 1+random.IntN(9)
		for name, want := range map[string]error{"error": errBroken, "cancel": nil} {
			t.Run(fmt.Sprintf("%s at %d of %d", name, at, n), func(t *testing.T) {
				noLeaks(t)
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				var books ledger
				scope := NewScope(ctx)
				sink := sinkFunc[*buffer](func(_ context.Context, b *buffer) error {
					if b.Release(); want == nil && b.id >= at {
						cancel(errBroken)
					}
					return nil
				})
				FromSource("source", buffers(&books, -1), WithScope(scope)).
					Via(BatchFlow("middle", hold(n, at, want), WithScope(scope))).
					To(ToSink("sink", sink, WithScope(scope)))
				if err := within(t, scope.Wait); !errors.Is(err, errBroken) {
					t.Errorf("got %v", err)
				}
				books.settled(t)
			})
		}
	}
}

func TestBatchersReportDocuments(t *testing.T) {
	noLeaks(t)
	scope := NewScope(t.Context())
	var letters []string
	odd := batchFunc[int, int](func(ctx context.Context, in *Inbox[int], emit func(int) error) error {
		for {
			i, ok, err := in.Next(ctx, true)
			if err != nil || !ok {
				return err
			}
			if i%2 == 0 {
				err = Drop(ctx, &DocumentError{ID: fmt.Sprint(i), Err: errBroken})
			} else {
				err = emit(i)
			}
			if err != nil {
				return err
			}
		}
	})
	got := new(collector[int])
	dead := WithDeadLetters(func(stage string, e *DocumentError) { letters = append(letters, stage+" "+e.ID) })
	FromSource("source", count(5), WithScope(scope)).Via(BatchFlow("odd", odd, WithScope(scope), dead)).To(ToSink("sink", got, WithScope(scope)))
	if err := within(t, scope.Wait); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got.items, letters) != "[1 3] [odd 0 odd 2 odd 4]" {
		t.Errorf("got %v and letters %v", got.items, letters)
	}
}

func TestBatchersThatStopBeforeTheEndFail(t *testing.T) {
	noLeaks(t)
	scope := NewScope(t.Context())
	lazy := batchFunc[int, int](func(ctx context.Context, in *Inbox[int], _ func(int) error) error {
		_, _, err := in.Next(ctx, true)
		return err
	})
	FromSource("source", count(5), WithScope(scope)).Via(BatchFlow("lazy", lazy, WithScope(scope))).To(ToSink("sink", discard[int](), WithScope(scope)))
	_ = stageOf(t, within(t, scope.Wait), "lazy", nil)
}
