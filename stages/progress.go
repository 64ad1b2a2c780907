package stages

import (
	"errors"
	"fmt"
	"hash/maphash"
	"slices"

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
	// Ways are those of the pipeline, from Ways; without any, what a document is made
	// into is asked of all outputs.
	Ways map[any][]string
	// Failed, if there is one, counts the documents in the dead letters.
	Failed func() int64
}

// outputs are the journals of a run's sinks.
type outputs []output

type output struct {
	*journal.Journal
	path string // as the sink has it
}

// Done reports whether all of them have the record.
func (o outputs) Done(id string) bool {
	for _, out := range o {
		if !out.Done(id) {
			return false
		}
	}
	return true
}

// earlier reports whether earlier runs have done all that is to be done of a
// document, whose place in this run the outputs are told: those at some paths, or all.
func (o outputs) earlier(id string, index int64, at []string) bool {
	asked, done := false, true
	for _, out := range o {
		if at == nil || slices.Contains(at, out.path) {
			asked, done = true, out.Earlier(id, index) && done
		}
	}
	return asked && done
}

// Journal opens the output of a sink, which it makes part of the engine's run:
// documents with a record in all outputs are left out from then on. Of opt only
// what concerns the kind of output counts; the rest is Corpus's. What Corpus.Restart
// discards is there until Begin.
func (e *Engine) Journal(path string, opt journal.Options) (*journal.Journal, error) {
	opt.Restart, opt.AcceptChanges, opt.Facts, opt.Failed = e.Corpus.Restart, e.Corpus.AcceptChanges, e.Corpus.Facts, e.Corpus.Failed
	j, err := journal.Hold(path, opt)
	if err != nil {
		return nil, err
	}
	all, _ := e.Run.(outputs)
	all = append(all, output{j, path})
	e.Run = all
	return j, nil
}

// openJournal is Journal for a sink's options.
func (e *Engine) openJournal(o outputOptions) (*journal.Journal, error) {
	path, _ := o.output()
	return e.Journal(path, o.journal())
}

// Begin discards what Corpus.Restart says is to be discarded. It is called when all
// stages are built, and so all outputs are this run's, and before any of them runs.
func (e *Engine) Begin() error {
	all, _ := e.Run.(outputs)
	for _, out := range all {
		if err := out.Begin(); err != nil {
			return fmt.Errorf("output: %w", err)
		}
	}
	return nil
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
	return &graph.DocumentError{ID: a.ID, Err: errSameID}
}

var errSameID = errors.New("another document of this run has the same id; ids must differ")

// roll are the ids that a stage has met in this run, 8 bytes each: what the outputs
// had before it, it could not tell from what another document has just been given.
type roll struct {
	seed maphash.Seed
	met  map[uint64]struct{}
}

func newRoll() roll { return roll{maphash.MakeSeed(), map[uint64]struct{}{}} }

// again reports whether an id was met before. One in some 10^12 that was not is
// taken for one that was, among ten million, and another one the next time.
func (r *roll) again(id string) bool {
	sum := maphash.String(r.seed, id)
	_, there := r.met[sum]
	r.met[sum] = struct{}{}
	return there
}

// done gives a document, or a question of one, its place in the run, and reports
// whether earlier runs have answered it. It is called once for each, in order.
func (e *Engine) done(in *Document, index int64) bool { return e.doneAt(nil, in, index) }

// doneAt is done for the outputs that the stage with these options leads to.
func (e *Engine) doneAt(options any, in *Document, index int64) bool {
	in.Index = index
	switch run := e.Run.(type) {
	case nil:
		return false
	case outputs:
		return run.earlier(in.ID, index, e.Corpus.Ways[options])
	default:
		return run.Done(in.ID)
	}
}
