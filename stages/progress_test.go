package stages

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"headinfer/graph"
	"headinfer/stages/journal"
)

// TestOutputsTogether has a document done when all outputs of a run have its answer,
// and tells one that comes twice from one that only another output lacked.
func TestOutputsTogether(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open := func(e *Engine, name string) *journal.Journal {
		j, err := e.Journal(filepath.Join(dir, name), journal.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = j.Close() })
		return j
	}
	keep := func(e *Engine, j *journal.Journal, id string) error { return e.Keep(j, &Answer{ID: id}, []byte("{}")) }

	first := &Engine{}
	if first.done(&Document{ID: "a"}, 0) {
		t.Error("done without outputs")
	}
	one := open(first, "one")
	for i := range 5 {
		if err := keep(first, one, fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	var dropped *graph.DocumentError
	if err := keep(first, one, "3"); !errors.As(err, &dropped) || dropped.ID != "3" {
		t.Errorf("a second document of an id: %v", err)
	}
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}

	again := &Engine{}
	one = open(again, "one")
	doc := &Document{ID: "2"}
	if !again.done(doc, 7) || doc.Index != 7 || again.done(&Document{ID: "5"}, 8) {
		t.Error("what the earlier run has done is not known")
	}
	two := open(again, "two")
	if again.done(&Document{ID: "2"}, 7) || again.Run.Done("2") {
		t.Error("done, and an output lacks it")
	}
	for _, j := range []*journal.Journal{one, two} {
		if err := keep(again, j, "2"); err != nil {
			t.Errorf("an answer that one output lacks: %v", err)
		}
	}
	if err := keep(again, two, "2"); !errors.As(err, &dropped) {
		t.Errorf("a second document of an id: %v", err)
	}
	again.Corpus.Repeats = true
	if err := keep(again, two, "2"); err != nil {
		t.Errorf("an answer that may come again: %v", err)
	}
}
