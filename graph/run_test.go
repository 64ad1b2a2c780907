package graph

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"headinfer/config"
)

const teed = `
documents:
  - files
  - tokenize
  - prefill
  - decode: { max_tokens: 2, stop: halt }
  - jsonl
  - tap: { from: decode }
`

const threeHeads = "heads: [prefetch, attention, { quantize: { id: squeeze } }]\n"

func TestRunFromAFile(t *testing.T) {
	noLeaks(t)
	r := vocabulary(t)
	w := &world{texts: []string{"a b c", "", "d", "e f"}}
	var letters []string
	run, err := mustCheck(t, r, teed, config.Documents, Ends{}).Build(w, WithCapacity(2),
		WithDeadLetters(func(stage string, e *DocumentError) { letters = append(letters, stage+": "+e.Error()) }))
	if err != nil {
		t.Fatal(err)
	}
	if err := within(t, func() error { return run.Run(t.Context()) }); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(w.answers.items, w.taps.items); got != "[a+b d e+f] [a+b d e+f]" {
		t.Errorf("got %s", got)
	}
	if got := fmt.Sprint(letters); got != `[tokenize: document "1": no text]` {
		t.Errorf("dead letters: %s", got)
	}
	if f, c := w.answers.finished.Load(), w.taps.closed.Load(); f != 1 || c != 1 || fmt.Sprint(w.closed) != "[tokenize]" {
		t.Errorf("finished %d, closed %d, closed stages %v", f, c, w.closed)
	}
	var figures []string
	for _, s := range run.Stats() {
		figures = append(figures, fmt.Sprintf("%s %d→%d", s.Name, s.In, s.Out))
	}
	if got := fmt.Sprint(figures); got != "[files 0→4 tokenize 4→3 prefill 3→3 decode 3→3 jsonl 3→0 tap 3→0]" {
		t.Errorf("got %s", got)
	}
	if err := run.Run(t.Context()); err == nil {
		t.Error("a run ran twice")
	}
	if err := run.Send(t.Context(), 1); err == nil {
		t.Error("Send to a run with a source of its own succeeded")
	}
}

// TestFinishWaitsForTheWholeGraph fails one branch of a tee after the other has had all its items.
func TestFinishWaitsForTheWholeGraph(t *testing.T) {
	noLeaks(t)
	w := &world{texts: []string{"a", "b"}}
	w.taps.close = errBroken
	run, err := mustCheck(t, vocabulary(t), teed, config.Documents, Ends{}).Build(w)
	if err != nil {
		t.Fatal(err)
	}
	_ = stageOf(t, within(t, func() error { return run.Run(t.Context()) }), "tap", errBroken)

	w = &world{texts: []string{"a", "b"}, unclean: errBroken}
	run, err = mustCheck(t, vocabulary(t), teed, config.Documents, Ends{}).Build(w)
	if err != nil {
		t.Fatal(err)
	}
	_ = stageOf(t, within(t, func() error { return run.Run(t.Context()) }), "tokenize", errBroken)
	if f := w.answers.finished.Load(); f != 0 {
		t.Errorf("finished %d times though a stage failed to close", f)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errBroken)
	for range 100 { // a sink that comes late finds the barrier open and the run cancelled
		b := newBarrier(1)
		b.arrive()
		if err := b.wait(ctx); !errors.Is(err, errBroken) {
			t.Fatalf("the barrier let a sink finish after a failure: %v", err)
		}
	}

	w = &world{texts: []string{"a", "b", "halt", "c"}}
	run, err = mustCheck(t, vocabulary(t), teed, config.Documents, Ends{}).Build(w)
	if err != nil {
		t.Fatal(err)
	}
	_ = stageOf(t, within(t, func() error { return run.Run(t.Context()) }), "decode", errBroken)
	if f, c := w.answers.finished.Load(), w.answers.closed.Load(); f != 0 || c != 1 {
		t.Errorf("after a failure: finished %d and closed %d times, want 0 and 1", f, c)
	}
}

func TestBuildNamesWhatCannotBeMade(t *testing.T) {
	g := mustCheck(t, vocabulary(t), teed, config.Documents, Ends{})
	for refuse, want := range map[string]string{
		"decode": `prompt.yaml:6:5: stage "decode": broken`,
		"jsonl!": `prompt.yaml:7:5: stage "jsonl": panic: broken`,
		"files":  `prompt.yaml:3:5: stage "files": broken`,
	} {
		w := &world{refuse: refuse}
		_, err := g.Build(w)
		if err == nil || err.Error() != want || !errors.Is(err, errBroken) {
			t.Errorf("got %v, want %s", err, want)
		}
		if closed := len(w.closed) == 1; closed != (refuse != "files") {
			t.Errorf("%s refused: closed %v", refuse, w.closed)
		}
	}
	const want = "the environment is a string; expected a *graph.world"
	if _, err := g.Build("no world"); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s in it", err, want)
	}
	drain := WithDrain(func(any) error { return nil })
	feed := WithFeed(func(context.Context, func(any) error) error { return nil })
	if _, err := g.Build(new(world), drain); err == nil {
		t.Error("a drain where there is no open end was accepted")
	}
	if _, err := g.Build(new(world), feed); err == nil {
		t.Error("a feed where there is a source was accepted")
	}
	if _, err := mustCheck(t, vocabulary(t), threeHeads, config.Heads, headEnds).Build(new(world)); err == nil {
		t.Error("an open end without a drain was accepted")
	}
}

func TestCloseOfARunThatDoesNotRun(t *testing.T) {
	noLeaks(t)
	w := new(world)
	w.answers.close = errBroken
	run, err := mustCheck(t, vocabulary(t), teed, config.Documents, Ends{}).Build(w)
	if err != nil {
		t.Fatal(err)
	}
	_ = stageOf(t, run.Close(), "jsonl", errBroken)
	if err := run.Close(); err != nil || len(w.closed) != 1 || w.taps.closed.Load() != 1 {
		t.Errorf("second Close: %v; closed %v", err, w.closed)
	}
	if err := run.Run(t.Context()); err == nil {
		t.Error("a closed run ran")
	}
}

// buildHeads builds a chain of three stages between Send and drain.
func buildHeads(t testing.TB, drain func(any) error, opts ...BuildOption) *Run {
	t.Helper()
	g := mustCheck(t, vocabulary(t), threeHeads, config.Heads, headEnds)
	run, err := g.Build(new(world), append(opts, WithDrain(drain))...)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// inBackground runs run and returns what gives its result.
func inBackground(ctx context.Context, run *Run) func() error {
	result := make(chan error, 1)
	go func() { result <- run.Run(ctx) }()
	return func() error { return <-result }
}

func TestSendAndDrain(t *testing.T) {
	noLeaks(t)
	var got []int
	run := buildHeads(t, func(item any) error {
		got = append(got, item.(*task).id)
		return nil
	})
	result := inBackground(t.Context(), run)
	n := 1 + seeded(t).IntN(3000)
	for i := range n {
		if err := run.Send(t.Context(), &task{i}); err != nil {
			t.Fatal(err)
		}
	}
	run.CloseInput()
	run.CloseInput()
	if err := within(t, result); err != nil {
		t.Fatal(err)
	}
	if len(got) != n || !slices.IsSorted(got) {
		t.Errorf("sent %d tasks in order, got %d, sorted: %v", n, len(got), slices.IsSorted(got))
	}
	if err := run.Send(t.Context(), &task{}); !errors.Is(err, ErrInputClosed) {
		t.Errorf("Send after the end: %v", err)
	}
}

func TestFeed(t *testing.T) {
	for _, fail := range []error{nil, errBroken} {
		noLeaks(t)
		var got atomic.Int64
		run := buildHeads(t, func(any) error { got.Add(1); return nil },
			WithFeed(func(_ context.Context, emit func(any) error) error {
				for i := range 100 {
					if err := emit(&task{i}); err != nil {
						return err
					}
				}
				return fail
			}))
		err := within(t, func() error { return run.Run(t.Context()) })
		switch {
		case fail != nil:
			_ = stageOf(t, err, "the input", fail)
		case err != nil || got.Load() != 100:
			t.Errorf("got %d items and %v", got.Load(), err)
		}
		if name := run.Stats()[0].Name; name != "the input" {
			t.Errorf("the first figures are of %q", name)
		}
	}
}

// TestSendersLoseNothing has several goroutines send buffers until the run fails or is cancelled under them.
func TestSendersLoseNothing(t *testing.T) {
	random := seeded(t)
	same := func(any, *none) (Stage[*buffer, *buffer], error) { return pass[*buffer](), nil }
	r, err := NewRegistry(NewStage(config.Heads, "one", "", same), NewStage(config.Heads, "two", "", same))
	if err != nil {
		t.Fatal(err)
	}
	var one *buffer
	ends := Ends{In: reflect.TypeOf(one), Out: reflect.TypeOf(one)}
	for range 60 {
		noLeaks(t)
		var books ledger
		stopAt := 1 + random.Int64N(200)
		byDrain := random.IntN(2) == 0
		ctx, cancel := context.WithCancelCause(t.Context())
		var drained atomic.Int64
		run, err := mustCheck(t, r, "heads: [one, two]", config.Heads, ends).Build(nil, WithCapacity(random.IntN(4)),
			WithDrain(func(item any) error {
				item.(*buffer).Release()
				if drained.Add(1) < stopAt {
					return nil
				}
				if byDrain {
					return errBroken
				}
				cancel(errBroken)
				return nil
			}))
		if err != nil {
			t.Fatal(err)
		}
		result := inBackground(ctx, run)
		var senders sync.WaitGroup
		for range 3 {
			senders.Go(func() {
				for i := 0; ; i++ {
					if err := run.Send(context.Background(), books.buffer(i)); err != nil {
						if !errors.Is(err, errBroken) {
							t.Errorf("Send: %v", err)
						}
						return
					}
				}
			})
		}
		if err := within(t, result); !errors.Is(err, errBroken) {
			t.Errorf("got %v", err)
		}
		_ = within(t, func() error { senders.Wait(); return nil })
		books.settled(t)
		cancel(nil)
	}
}

func TestSendGivesUpWithItsOwnContext(t *testing.T) {
	noLeaks(t)
	var books ledger
	run := buildHeads(t, func(any) error { return nil })
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errBroken)
	if err := run.Send(ctx, books.buffer(0)); !errors.Is(err, errBroken) {
		t.Errorf("Send before Run: %v", err)
	}
	result := inBackground(t.Context(), run)
	<-run.ready
	if err := run.Send(ctx, books.buffer(1)); !errors.Is(err, errBroken) {
		t.Errorf("Send during Run: %v", err)
	}
	run.CloseInput()
	if err := within(t, result); err != nil {
		t.Error(err)
	}
	books.settled(t)
}

func TestSendOfAnotherTypeFailsTheFirstStage(t *testing.T) {
	noLeaks(t)
	run := buildHeads(t, func(any) error { return nil })
	result := inBackground(t.Context(), run)
	if err := run.Send(t.Context(), "a text"); err != nil {
		t.Fatal(err)
	}
	_ = stageOf(t, within(t, result), "prefetch", nil)
}

// BenchmarkSend sends tasks through the three stages of the head loop and reports the cost of a task and of a hop; there
// are three, since the drain is called in the last stage's goroutine.
func BenchmarkSend(b *testing.B) {
	run := buildHeads(b, func(any) error { return nil }, WithCapacity(2))
	result := inBackground(b.Context(), run)
	item := new(task)
	b.ReportAllocs()
	for b.Loop() {
		if err := run.Send(b.Context(), item); err != nil {
			b.Fatal(err)
		}
	}
	run.CloseInput()
	if err := result(); err != nil {
		b.Fatal(err)
	}
	each := float64(b.Elapsed().Nanoseconds()) / float64(b.N) / 3
	b.ReportMetric(each, "ns/hop")
	b.ReportMetric(each/goalNanoseconds, "of-goal")
}
