package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"headinfer/model"
	"headinfer/stages"
	"headinfer/stages/journal"
)

// resumption is how a run goes on with what earlier ones have left.
type resumption struct{ corpus stages.Corpus }

// look finds out what has to be done before the model is on a device. It
// returns the outputs' states when that is nothing. What refuses the run is an
// error.
func (r *resumption) look(p *pipeline) ([]journal.Status, error) {
	facts, err := stages.Facts(p.Pipeline)
	if err != nil {
		return nil, err
	}
	r.corpus.Facts = facts
	begun, err := r.begun(p)
	if err != nil || !begun {
		return nil, err
	}
	print, err := fingerprint(p.Model.Path)
	if err != nil {
		return nil, err
	}
	opt := journal.Options{Restart: r.corpus.Restart, AcceptChanges: r.corpus.AcceptChanges, Facts: append(facts[:len(facts):len(facts)], print)}
	complete := []journal.Status{}
	all := true
	for _, o := range stages.Outputs(p.Pipeline) {
		if !o.Journaled {
			all = false
			continue
		}
		s, err := o.Look(opt)
		if err != nil {
			return nil, err
		}
		all = all && s.Complete
		complete = append(complete, s.Status)
	}
	if !all {
		return nil, nil
	}
	return complete, nil
}

// begun reports whether an output has a state that counts.
func (r *resumption) begun(p *pipeline) (bool, error) {
	if r.corpus.Restart {
		return false, nil
	}
	for _, o := range stages.Outputs(p.Pipeline) {
		if !o.Journaled {
			continue
		}
		if there, err := journal.Begun(o.Path); there || err != nil {
			return there, err
		}
	}
	return false, nil
}

// fingerprint says which model is at a path.
func fingerprint(path string) (journal.Fact, error) {
	checkpoint, err := model.Open(path)
	if err != nil {
		return journal.Fact{}, err
	}
	print, err := stages.ModelFact(checkpoint)
	return print, errors.Join(err, checkpoint.Close())
}

// documents is how many there are, where each input file is one with one answer and
// no stage makes more or fewer of them; else 0.
func documents(p *pipeline, facts []journal.Fact) int64 {
	for _, e := range p.Documents {
		if o, ok := e.Options.(interface{ Asks() int }); ok && o.Asks() > 1 {
			return 0
		}
		switch e.Stage {
		case "files", "tokenize", "chunked-prefill", "decode", "map", "tee":
		default:
			if !isOutput(p, e.ID) {
				return 0
			}
		}
	}
	keys := map[string]bool{}
	for _, f := range facts {
		if f.Input {
			keys[f.Key] = true // "" for a pipe, too
		}
	}
	if keys[""] {
		return 0
	}
	return int64(len(keys))
}

func isOutput(p *pipeline, id string) bool {
	for _, o := range stages.Outputs(p.Pipeline) {
		if o.ID == id {
			return true
		}
	}
	return false
}

// statuses are those of a pipeline's outputs that have one.
func statuses(p *pipeline) []journal.Status {
	all := []journal.Status{}
	for _, o := range stages.Outputs(p.Pipeline) {
		if !o.Journaled {
			continue
		}
		if s, err := journal.ReadStatus(o.Path); err == nil {
			all = append(all, s)
		}
	}
	return all
}

// printComplete says that there is nothing to do.
func printComplete(w io.Writer, outputs []journal.Status, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(struct {
			Complete bool             `json:"complete"`
			Outputs  []journal.Status `json:"outputs"`
		}{true, outputs})
	}
	for _, o := range outputs {
		if _, err := fmt.Fprintf(w, "%s is complete: %d records, the last of %s; --restart starts over\n", o.Path, o.Records, o.Committed.Local().Format(time.DateTime)); err != nil {
			return err
		}
	}
	return nil
}
