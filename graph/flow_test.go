package graph

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/reugn/go-streams/extension"
	"github.com/reugn/go-streams/flow"
)

func TestGoStreamsConnectorsAndOurStages(t *testing.T) {
	noLeaks(t)
	n := 1 + seeded(t).IntN(500)
	in := make(chan any)
	go func() {
		defer close(in)
		for i := range n {
			in <- i
		}
	}()
	odd := stageFunc[int, int](func(_ context.Context, i int, emit func(int) error) error {
		if i%2 == 0 {
			return nil
		}
		return emit(i)
	})
	text := stageFunc[string, string](func(_ context.Context, s string, emit func(string) error) error {
		if err := emit(s); err != nil {
			return err
		}
		return emit(s + "'")
	})
	scope := NewScope(t.Context())
	got := new(collector[string])
	extension.NewChanSource(in).
		Via(Flow("odd", odd, WithScope(scope))).
		Via(flow.NewMap(func(i int) string { return fmt.Sprint(i) }, 1)).
		Via(Flow("text", text, WithScope(scope), WithCapacity(7))).
		To(ToSink("got", got, WithScope(scope)))
	if err := within(t, scope.Wait); err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := 1; i < n; i += 2 {
		want = append(want, fmt.Sprint(i), fmt.Sprint(i, "'")[:len(fmt.Sprint(i))]+"'")
	}
	if !slices.Equal(got.items, want) {
		t.Errorf("got %v, want %v", got.items, want)
	}
	if got.finished.Load() != 1 || got.closed.Load() != 1 {
		t.Errorf("finished %d and closed %d times, want 1 and 1", got.finished.Load(), got.closed.Load())
	}
}

func TestOurSourceIntoGoStreamsSink(t *testing.T) {
	noLeaks(t)
	out := make(chan any, 100)
	source := FromSource("count", count(50))
	source.Via(flow.NewFilter(func(i int) bool { return i >= 40 }, 1)).To(extension.NewChanSink(out))
	if err := source.Err(); err != nil {
		t.Fatal(err)
	}
	var got []int
	for item := range out {
		got = append(got, item.(int))
	}
	if want := []int{40, 41, 42, 43, 44, 45, 46, 47, 48, 49}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestOutIsOneChannel(t *testing.T) {
	noLeaks(t)
	source := FromSource("count", count(3))
	var got []int
	for item := range source.Out() {
		got = append(got, item.(int))
		if first, second := source.Out(), source.Out(); first != second {
			t.Fatal("Out returned two channels")
		}
	}
	if !slices.Equal(got, []int{0, 1, 2}) {
		t.Errorf("got %v", got)
	}
	late := Flow("late", pass[int]())
	source.Via(late)
	if _, ok := <-late.Out(); ok {
		t.Error("a reader attached after the end got an item")
	}
	if err := late.Err(); err != nil {
		t.Error(err)
	}
}

func TestTeeGivesEachReaderEveryItem(t *testing.T) {
	noLeaks(t)
	scope := NewScope(t.Context())
	var books ledger
	seen := make([]atomic.Int64, 3)
	source := FromSource("buffers", buffers(&books, 200), WithScope(scope))
	readers := make([]*SinkNode, len(seen))
	for i := range readers {
		readers[i] = ToSink(fmt.Sprint("reader", i), sinkFunc[*buffer](func(_ context.Context, b *buffer) error {
			defer b.Release()
			if int64(b.id) != seen[i].Add(1)-1 {
				return fmt.Errorf("got buffer %d in place %d", b.id, seen[i].Load()-1)
			}
			if b.refs.Load() <= 0 {
				return errors.New("a buffer was released before its reader was done")
			}
			return nil
		}), WithScope(scope))
	}
	source.Tee(readers[0], readers[1], readers[2])
	if err := within(t, scope.Wait); err != nil {
		t.Fatal(err)
	}
	for i := range seen {
		if seen[i].Load() != 200 {
			t.Errorf("reader %d got %d items, want 200", i, seen[i].Load())
		}
	}
	books.settled(t)
	if out := source.Stats().Out; out != 200 {
		t.Errorf("the source counts %d items out, want 200: one for all readers", out)
	}
}

func TestTypeMismatchIsAnErrorOfTheReader(t *testing.T) {
	noLeaks(t)
	scope := NewScope(t.Context())
	FromSource("count", count(-1), WithScope(scope)).
		To(ToSink("text", new(collector[string]), WithScope(scope)))
	err := within(t, scope.Wait)
	_ = stageOf(t, err, "text", nil)
	if want := "got an item of type int, but takes string"; !strings.Contains(err.Error(), want) {
		t.Errorf("got %q, want %q in it", err, want)
	}
}

func TestAnInletClosedByAnotherIsAnError(t *testing.T) {
	noLeaks(t)
	scope := NewScope(t.Context())
	sink := ToSink("sink", new(collector[int]), WithScope(scope))
	source := FromSource("count", count(0), WithScope(scope))
	close(sink.In())
	source.Tee(sink)
	_ = stageOf(t, within(t, scope.Wait), "count", nil)
}

func TestNodesWithoutAScopeFailAlone(t *testing.T) {
	noLeaks(t)
	broken := errors.New("broken")
	source := FromSource("count", count(100))
	middle := Flow("middle", stageFunc[int, int](func(_ context.Context, i int, emit func(int) error) error {
		if i == 50 {
			return broken
		}
		return emit(i)
	}))
	got := new(collector[int])
	sink := ToSink("got", got)
	source.Via(middle).To(sink)
	if err := source.Err(); err != nil {
		t.Errorf("the source failed too: %v", err)
	}
	_ = stageOf(t, middle.Err(), "middle", broken)
	if err := sink.Err(); err != nil || len(got.items) != 50 {
		t.Errorf("the sink got %d items and %v, want the 50 before the failure", len(got.items), err)
	}
}

func TestASlowReaderHoldsTheSourceBack(t *testing.T) {
	noLeaks(t)
	start := time.Now()
	scope := NewScope(t.Context())
	gate := make(chan struct{})
	source := FromSource("count", count(100), WithScope(scope))
	slow := ToSink("slow", sinkFunc[int](func(context.Context, int) error { <-gate; return nil }), WithScope(scope),
		WithCapacity(3))
	fast := new(collector[int])
	source.Tee(ToSink("fast", fast, WithScope(scope)), slow)
	for slow.Stats().Queue < 3 {
		time.Sleep(time.Millisecond)
	}
	const stuck = 40 * time.Millisecond
	time.Sleep(stuck)
	// One item with the slow reader, three in its inlet, one in the source's hands.
	if out := source.Stats().Out; out != 5 {
		t.Errorf("the source emitted %d items against a stuck reader, want 5", out)
	}
	close(gate)
	if err := within(t, scope.Wait); err != nil {
		t.Fatal(err)
	}
	if s := slow.Stats(); s.In != 100 || s.Queue != 0 || s.Capacity != 3 || s.Name != "slow" {
		t.Errorf("got %+v", s)
	}
	if busy, all := source.Stats().Busy, time.Since(start); busy > all-stuck/2 {
		t.Errorf("the source counts %v of %v as busy, though it waited for %v", busy, all, stuck)
	}
}

// TestEmitFromSeveralGoroutines has each item split over goroutines that emit at the same time, until one branch fails.
func TestEmitFromSeveralGoroutines(t *testing.T) {
	for _, failAt := range []int{-1, 70} {
		noLeaks(t)
		var books ledger
		split := stageFunc[int, *buffer](func(_ context.Context, i int, emit func(*buffer) error) error {
			results := make(chan error)
			for range 4 {
				go func() { results <- emit(books.buffer(i)) }()
			}
			return errors.Join(<-results, <-results, <-results, <-results)
		})
		var seen int
		sink := sinkFunc[*buffer](func(_ context.Context, b *buffer) error {
			if seen++; seen == failAt {
				return errBroken
			}
			b.Release()
			return nil
		})
		scope := NewScope(t.Context())
		FromSource("count", count(50), WithScope(scope)).
			Via(Flow("split", split, WithScope(scope))).
			To(ToSink("sink", sink, WithScope(scope)))
		err := within(t, scope.Wait)
		if failAt < 0 && (err != nil || seen != 200) {
			t.Errorf("got %d items and %v, want 200", seen, err)
		} else if failAt >= 0 {
			_ = stageOf(t, err, "sink", errBroken)
		}
		books.settled(t)
	}
}

// brittle is an item that cannot be released.
type brittle struct{}

func (*brittle) Release() { panic("brittle") }

func TestAReleaseThatPanicsStaysInside(t *testing.T) {
	noLeaks(t)
	scope := NewScope(t.Context())
	source := sourceFunc[*brittle](func(_ context.Context, emit func(*brittle) error) error {
		for {
			if err := emit(new(brittle)); err != nil {
				return err
			}
		}
	})
	sink := sinkFunc[*brittle](func(context.Context, *brittle) error { return errBroken })
	FromSource("source", source, WithScope(scope)).To(ToSink("sink", sink, WithScope(scope)))
	_ = stageOf(t, within(t, scope.Wait), "sink", errBroken)
	if scope.Context().Err() == nil {
		t.Error("the scope's context is not cancelled")
	}
}
