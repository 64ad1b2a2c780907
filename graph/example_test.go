package graph_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/reugn/go-streams/flow"

	"headinfer/graph"
)

type lines []string

func (l lines) Produce(_ context.Context, emit func(string) error) error {
	for _, line := range l {
		if err := emit(line); err != nil {
			return err
		}
	}
	return nil
}

type words struct{}

func (words) Process(_ context.Context, line string, emit func(string) error) error {
	for word := range strings.FieldsSeq(line) {
		if err := emit(word); err != nil {
			return err
		}
	}
	return nil
}

type printer struct{}

func (printer) Consume(_ context.Context, word string) error {
	fmt.Println(word)
	return nil
}

// Stages of this package and operators of go-streams make one pipeline.
func ExampleFlow() {
	scope := graph.NewScope(context.Background())
	graph.FromSource("lines", lines{"one head", "at a time"}, graph.WithScope(scope)).
		Via(flow.NewMap(strings.ToUpper, 1)).
		Via(graph.Flow("words", words{}, graph.WithScope(scope))).
		To(graph.ToSink("print", printer{}, graph.WithScope(scope)))
	if err := scope.Wait(); err != nil {
		fmt.Println(err)
	}
	// Output:
	// ONE
	// HEAD
	// AT
	// A
	// TIME
}
