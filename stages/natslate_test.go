package stages

import (
	"context"
	"errors"
	"strings"
	"testing"

	"headinfer/config"
	"headinfer/graph"
	"headinfer/stages/queue"
)

// part builds a run of a source and a sink.
func part[T any](t *testing.T, produce sourceFunc[T], consume sinkFunc[T]) *graph.Run {
	t.Helper()
	r, err := graph.NewRegistry(
		graph.NewSource(config.Documents, "from", "", func(*Engine, *struct{}) (graph.Source[T], error) { return produce, nil }),
		graph.NewSink(config.Documents, "to", "", func(*Engine, *struct{}) (graph.Sink[T], error) { return consume, nil }))
	if err != nil {
		t.Fatal(err)
	}
	entries := []config.Entry{{Stage: "from", ID: "from", Options: &struct{}{}}, {Stage: "to", ID: "to", From: "from", Options: &struct{}{}}}
	g, err := r.Check(&config.Pipeline{Documents: entries}, config.Documents, graph.Ends{})
	if err != nil {
		t.Fatal(err)
	}
	run, err := g.Build(&Engine{})
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// TestSubmissionTellsLateFailures checks that what an output fails with after a
// submission was interrupted, or has failed, is told with why it ended.
func TestSubmissionTellsLateFailures(t *testing.T) {
	full, why := errors.New("the disk is full"), errors.New("why it ended")
	for name, fails := range map[string]bool{"interrupted": false, "failed": true} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			taken := make(chan struct{})
			before := part(t, func(ctx context.Context, _ func(*Document) error) error {
				select {
				case <-taken:
					return why
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}, func(context.Context, *Document) error { return nil })
			after := part(t, func(ctx context.Context, emit func(*Answer) error) error {
				if err := emit(&Answer{ID: "a"}); err != nil {
					return err
				}
				<-ctx.Done()
				return context.Cause(ctx)
			}, func(ctx context.Context, _ *Answer) error {
				if fails {
					close(taken)
				} else {
					cancel(why)
				}
				<-ctx.Done()
				return full
			})
			s := NewSubmission(&Engine{}, &queue.Run{}, SubmissionOptions{Depth: 1})
			err := s.Run(ctx, before, after)
			late, ok := errors.AsType[*graph.LateError](err)
			if !errors.Is(err, why) || !ok || !errors.Is(late, full) || strings.Count(err.Error(), full.Error()) != 1 {
				t.Errorf("the error is %v", err)
			}
		})
	}
}
