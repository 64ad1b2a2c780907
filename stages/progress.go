package stages

import (
	"errors"
	"fmt"

	"headinfer/graph"
	"headinfer/stages/journal"
)

// Progress is what a run has done already.
type Progress interface {
	// Done reports whether the answer of an id is in the output.
	Done(id string) bool
}

// Corpus says how a run goes on with what earlier ones have left beside its
// outputs.
type Corpus struct {
	Restart       bool // begin anew
	AcceptChanges bool // go on though facts changed
	// Repeats says that an answer may come again, as from a queue; it is left out
	// then, where else its document would go to the dead letters.
	Repeats bool
	Facts   []journal.Fact // what must not change between runs
	// Failed, if there is one, counts the documents in the dead letters.
	Failed func() int64
}

// outputs are the journals of a run's sinks.
type outputs []*journal.Journal

// Done reports whether all of them have the record.
func (o outputs) Done(id string) bool {
	for _, j := range o {
		if !j.Done(id) {
			return false
		}
	}
	return true
}

// earlier reports whether earlier runs have done all that is to be done of a
// document, whose place in this run the outputs are told.
func (o outputs) earlier(id string, index int64) bool {
	done := true
	for _, j := range o {
		done = j.Earlier(id, index) && done
	}
	return done
}

// Journal opens the output of a sink, which it makes part of the engine's run:
// documents with a record in all outputs are left out from then on. Of opt only
// what concerns the kind of output counts; the rest is Corpus's.
func (e *Engine) Journal(path string, opt journal.Options) (*journal.Journal, error) {
	opt.Restart, opt.AcceptChanges, opt.Facts, opt.Failed = e.Corpus.Restart, e.Corpus.AcceptChanges, e.Corpus.Facts, e.Corpus.Failed
	j, err := journal.Open(path, opt)
	if err != nil {
		return nil, err
	}
	all, _ := e.Run.(outputs)
	all = append(all, j)
	e.Run = all
	return j, nil
}

// Keep adds an answer's record to an output. An answer of an id that has one
// in this run already is a DocumentError; one that only another output lacked is
// left out.
func (e *Engine) Keep(j *journal.Journal, a *Answer, record []byte) error {
	err := j.AppendAt(a.ID, a.Index, record)
	switch {
	case !errors.Is(err, journal.ErrDuplicate):
		if err != nil {
			return fmt.Errorf("output: %w", err)
		}
		return nil
	case e.Corpus.Repeats || errors.Is(err, journal.ErrEarlier):
		return nil
	}
	return &graph.DocumentError{ID: a.ID, Err: errors.New("another document of this run has the same id, and its answer is in the output; ids must differ")}
}

// done gives a document, or a question of one, its place in the run, and reports
// whether earlier runs have answered it. It is called once for each, in order.
func (e *Engine) done(in *Document, index int64) bool {
	in.Index = index
	switch run := e.Run.(type) {
	case nil:
		return false
	case outputs:
		return run.earlier(in.ID, index)
	default:
		return run.Done(in.ID)
	}
}
