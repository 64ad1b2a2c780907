package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// reportEvery is how often PATH.run.status is written while there is news.
const reportEvery = time.Second

// Status is how a run gets on.
type Status struct {
	Path      string    `json:"path"`
	ID        string    `json:"id"`
	Running   bool      `json:"running"`           // a process has the output now
	Process   int       `json:"process,omitempty"` // its id
	Complete  bool      `json:"complete"`          // PATH is whole, and no document failed
	Finished  bool      `json:"finished"`          // PATH is whole, and has all that could be answered
	Records   int64     `json:"records"`
	Bytes     int64     `json:"bytes"`
	Failed    int64     `json:"failed"` // documents without an answer, as the last process counted them
	Started   time.Time `json:"started"`
	Committed time.Time `json:"committed"` // the last commit
	Session   Session   `json:"session"`   // the last process's part
}

// Rate returns the records a second of the last process; 0 where there is
// nothing to go by.
func (s Status) Rate() float64 {
	took := s.Committed.Sub(s.Session.Started).Seconds()
	if took <= 0 || s.Records <= s.Session.Before {
		return 0
	}
	return float64(s.Records-s.Session.Before) / took
}

// StatusPath is where a process that has an output reports.
func StatusPath(path string) string { return path + ".run.status" }

func (j *Journal) status() Status {
	s := &j.state
	return Status{
		Path: j.path, ID: s.ID, Complete: s.Complete && !s.Pending && s.Failed == 0, Finished: s.Complete && !s.Pending, Records: s.Records, Bytes: s.Bytes,
		Failed: s.Failed, Started: s.Started, Committed: s.Committed, Session: s.Session,
	}
}

// report writes PATH.run.status now and then, until the journal is closed.
func (j *Journal) report() {
	defer close(j.stopped)
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	var last Status
	for {
		j.mu.Lock()
		now := j.status()
		j.mu.Unlock()
		now.Running, now.Process = true, os.Getpid()
		if j.opt.Failed != nil {
			now.Failed = j.opt.Failed()
		}
		if now != last && writeStatus(j.statusPath(), now) == nil { // a full disk shows elsewhere
			last = now
		}
		select {
		case <-tick.C:
		case <-j.stop:
			return
		}
	}
}

// writeStatus replaces the file, so that a reader finds one report or the other.
func writeStatus(path string, s Status) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	temporary := path + ".new"
	if err := os.WriteFile(temporary, append(data, '\n'), 0o644); err != nil {
		return errors.Join(err, removeIfThere(temporary))
	}
	return os.Rename(temporary, path)
}

func readStatus(path string) (s Status, err error) {
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	return s, err
}

// ReadStatus returns how the run of an output gets on, also while a process has
// it. The error is os.ErrNotExist where there is no run.
func ReadStatus(path string) (Status, error) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	if _, err := os.Stat(path + ".run"); err != nil {
		return Status{}, err
	}
	var s Status
	_, err := look(path, Options{}, func(j *Journal, _ differences) { s = j.status() })
	if !errors.Is(err, ErrBusy) {
		return s, err
	}
	// The process that has it says.
	s, statusErr := readStatus(StatusPath(path))
	if statusErr != nil {
		return Status{}, fmt.Errorf("%w; it has not reported yet", err)
	}
	return s, nil
}

// Standing is what opening an output would find.
type Standing struct {
	Begun    bool // there is a state
	Complete bool // nothing is left to do: all is answered, and no input is new
	Status
}

// Look says what opening an output with these options would find, and changes nothing.
// The error is that of Hold, *ChangedError included.
func Look(path string, opt Options) (Standing, error) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	if _, err := os.Stat(path + ".run"); errors.Is(err, os.ErrNotExist) || opt.Restart {
		return Standing{}, nil
	}
	var s Standing
	found, err := look(path, opt, func(j *Journal, d differences) {
		s = Standing{Begun: true, Status: j.status()}
		// A change matters to no record where there is none, and may make some.
		s.Complete = s.Status.Complete && !d.newInput && !(d.any && s.Records == 0)
	})
	if err == nil && len(found.changes) > 0 {
		if !opt.AcceptChanges {
			return s, &ChangedError{Path: path, Records: s.Records, Changes: found.changes}
		}
		s.Complete = false
	}
	return s, err
}

// look reads a state without changing it.
func look(path string, opt Options, then func(*Journal, differences)) (d differences, err error) {
	j := &Journal{path: path}
	defer func() { err = errors.Join(err, j.release()) }()
	if err := j.lockState(true); err != nil {
		return d, j.describe(err)
	}
	if err := j.readState(); err != nil {
		return d, j.describe(err)
	}
	if d, err = j.differences(opt.facts()); err != nil {
		return d, j.describe(err)
	}
	if j.state.Finishing { // by a process that was killed: if the last rename is done, so is all
		if _, err := os.Stat(j.partial()); errors.Is(err, os.ErrNotExist) {
			j.state.Complete = true
		}
	}
	if j.state.Complete {
		if _, err := os.Stat(path); err != nil {
			return d, j.damaged(path, "which was complete, is missing")
		}
		if opt.Elsewhere != nil {
			if err := opt.Elsewhere(path); err != nil {
				return d, err
			}
		}
	}
	then(j, d)
	return d, nil
}

// Begun reports whether an output has the state of a run.
func Begun(path string) (bool, error) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	_, err := os.Stat(path + ".run")
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
