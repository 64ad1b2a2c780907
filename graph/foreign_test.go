package graph

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/reugn/go-streams"
	"github.com/reugn/go-streams/extension"
	"github.com/reugn/go-streams/flow"

	"headinfer/config"
)

// channels is the environment of pipelines whose ends are connectors of go-streams.
type channels struct {
	in, out chan any
	failAt  string
}

func foreignVocabulary(t *testing.T) *Registry {
	t.Helper()
	r, err := NewRegistry(
		NewSource(config.Documents, "source", "", func(c channels, _ *none) (Source[string], error) {
			return SourceOf[string](extension.NewChanSource(c.in)), nil
		}),
		NewFlow[channels, string, []string](config.Documents, "fields", "", func(channels, *none) (streams.Flow, error) {
			return flow.NewMap(strings.Fields, 1), nil
		}),
		NewFlow[channels, string, int](config.Documents, "liar", "", func(channels, *none) (streams.Flow, error) {
			return flow.NewMap(strings.ToUpper, 1), nil
		}),
		NewStage(config.Documents, "join", "", func(c channels, _ *none) (Stage[[]string, string], error) {
			return stageFunc[[]string, string](func(_ context.Context, words []string, emit func(string) error) error {
				if words[0] == c.failAt {
					return errBroken
				}
				return emit(strings.Join(words, "-"))
			}), nil
		}),
		NewSink(config.Documents, "sink", "", func(c channels, _ *none) (Sink[any], error) {
			if c.out == nil {
				return nil, errBroken
			}
			return SinkOf[any](extension.NewChanSink(c.out)), nil
		}),
	)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestGoStreamsOperatorsInAFile(t *testing.T) {
	r := foreignVocabulary(t)
	n := 1 + seeded(t).IntN(300)
	text := "documents: [source, fields, join, sink]"
	for _, failAt := range []string{"", "a0", fmt.Sprint("a", n-1)} {
		noLeaks(t)
		c := channels{make(chan any), make(chan any, n), failAt}
		run, err := mustCheck(t, r, text, config.Documents, Ends{}).Build(c)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			defer close(c.in)
			for i := range n {
				c.in <- fmt.Sprintf("a%d  b", i)
			}
		}()
		err = within(t, func() error { return run.Run(t.Context()) })
		if failAt != "" {
			_ = stageOf(t, err, "join", errBroken)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		var got, want []string
		for item := range c.out {
			got = append(got, item.(string))
			want = append(want, fmt.Sprintf("a%d-b", len(want)))
		}
		if len(got) != n || !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestGoStreamsOperatorsThatDoNotRunEnd(t *testing.T) {
	noLeaks(t)
	g := mustCheck(t, foreignVocabulary(t), "documents: [source, fields, join, sink]", config.Documents, Ends{})
	if _, err := g.Build(channels{}); err == nil {
		t.Fatal("built without a channel for the sink")
	}
	run, err := g.Build(channels{out: make(chan any)})
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Close(); err != nil {
		t.Error(err)
	}
}

func TestAnOperatorOfAnotherTypeIsAnError(t *testing.T) {
	noLeaks(t)
	c := channels{in: make(chan any), out: make(chan any)}
	run, err := mustCheck(t, foreignVocabulary(t), "documents: [source, liar, sink]", config.Documents, Ends{}).Build(c)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.in)
		for range 5 {
			c.in <- "text"
		}
	}()
	err = within(t, func() error { return run.Run(t.Context()) })
	_ = stageOf(t, err, "liar", nil)
	if !strings.Contains(err.Error(), "what came out of the operator: got an item of type string, but takes int") {
		t.Error(err)
	}
}
