package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
)

// What a caller may test errors of this package for.
var (
	// ErrDuplicate is the refusal of a key that has a record.
	ErrDuplicate = errors.New("there is a record of this key already")
	// ErrEarlier is an ErrDuplicate of a record that an earlier process committed.
	ErrEarlier = fmt.Errorf("%w, of an earlier run", ErrDuplicate)
	// ErrBusy says that another process has the output.
	ErrBusy = errors.New("another run is writing it")
	// ErrDamaged says that the files are not as they were left.
	ErrDamaged = errors.New("damaged")
	errClosed  = errors.New("the journal is closed")
	errHeld    = errors.New("the journal is only held; Begin it first")
)

// When a commit is due. What is not committed is lost in a crash and made again.
const (
	commitRecords = 4096
	commitBytes   = 4 << 20
	commitAfter   = 250 * time.Millisecond
)

// Options says how an output is opened.
type Options struct {
	Restart       bool   // begin anew, whatever is there
	AcceptChanges bool   // go on though facts changed
	Facts         []Fact // what must not change between runs
	// Ordered has Finish put the records in the order of their indexes, in
	// place of that of Append.
	Ordered bool
	// Form is what Finish makes, such as csv: a fact like the others. If it has changed,
	// and AcceptChanges, a complete output is made anew of its records.
	Form string
	// Elsewhere, if there is one, looks at what a complete output was copied to; its
	// error is that of opening the output.
	Elsewhere func(output string) error
	// Failed, if there is one, counts the documents that this process could not
	// answer. A run that is finished and lacks some is not complete.
	Failed func() int64
}

// Journal is an output that is being written.
type Journal struct {
	path string // the output, links resolved
	opt  Options

	mu      sync.Mutex
	db      *bolt.DB
	lock    *os.File // what db has open
	file    *os.File // PATH.partial; nil while a complete output gets nothing new
	state   state
	batch   []byte
	entries []entry
	waiting map[string]int // keys of entries that are not committed, by their place
	due     *time.Timer
	failed  error // of a commit; nothing is written after it
	told    bool  // somebody was
	closed  bool
	held    bool          // what Restart discards is still there
	made    bool          // PATH.run was not there before
	stop    chan struct{} // ends the writing of PATH.run.status
	stopped chan struct{}
}

// Hold opens the run's state beside an output, to go on where an earlier run ended.
// What Restart is to discard is there until Begin, so that nothing is lost where
// another output of the run is refused. The error is ErrBusy, ErrDamaged or
// *ChangedError, each with the path and what to do, or one of the file system.
func Hold(path string, opt Options) (*Journal, error) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // a rename would put a file in the link's place
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	j := &Journal{path: path, opt: opt, waiting: map[string]int{}}
	if err := j.open(); err != nil {
		if !errors.Is(err, ErrBusy) { // the status says that this process runs
			err = errors.Join(err, removeIfThere(j.statusPath()))
		}
		return nil, errors.Join(err, j.release())
	}
	j.stop, j.stopped = make(chan struct{}), make(chan struct{})
	go j.report()
	return j, nil
}

func (j *Journal) open() error {
	err := j.openState()
	if j.opt.Restart && (err == nil || errors.Is(err, ErrDamaged)) {
		j.held = true
		return nil
	}
	if err != nil {
		return err
	}
	return j.start()
}

// Begin discards what is there of an earlier run, if it is to be discarded. Before
// it a journal that is held takes no records and has none.
func (j *Journal) Begin() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.held {
		return nil
	}
	j.made = false
	err := j.discard()
	if err == nil {
		err = j.openState()
	}
	if err == nil {
		err = j.start()
	}
	if err != nil {
		j.failed, j.told = err, true
	}
	j.held = err != nil
	return err
}

// start makes what openState found ready to be added to.
func (j *Journal) start() error {
	if err := j.settle(); err != nil {
		return err
	}
	if err := j.compareFacts(); err != nil {
		return err
	}
	now := time.Now()
	j.state.Session = Session{Started: now, Before: j.state.Records, Bytes: j.state.Bytes}
	if j.state.Started.IsZero() {
		j.state.Started = now
	}
	return nil
}

// discard removes what is there of a run. It has the lock, unless the state was
// too damaged to be opened.
func (j *Journal) discard() error {
	remove := func() error {
		for _, name := range []string{j.partial(), j.records(), j.statePath()} {
			if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
		return nil
	}
	// With the lock, where the system lets open files be removed.
	err := remove()
	if closing := j.release(); err != nil || closing != nil {
		err = errors.Join(remove(), closing)
	}
	return err
}

func (j *Journal) partial() string    { return j.path + ".partial" }
func (j *Journal) records() string    { return j.path + ".records" }
func (j *Journal) statePath() string  { return j.path + ".run" }
func (j *Journal) statusPath() string { return StatusPath(j.path) }

// Path returns the output's path, with links resolved.
func (j *Journal) Path() string { return j.path }

// ID returns the run's name: 16 hexadecimal digits, made when the output was
// begun.
func (j *Journal) ID() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.state.ID
}

// Records returns how many records are committed.
func (j *Journal) Records() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.state.Records
}

// settle brings the files to where the state says that they are, and checks
// that they are.
func (j *Journal) settle() (err error) {
	s := &j.state
	if s.Finishing {
		// The last of Finish's renames is that of PATH.partial.
		if _, err := os.Stat(j.partial()); errors.Is(err, os.ErrNotExist) {
			s.Finishing, s.Complete = false, true
			if err := syncDir(j.path); err != nil {
				return err
			}
			if err := j.save(); err != nil {
				return err
			}
		}
		s.Finishing = false
	}
	if s.Complete {
		if err := j.checkFile(j.whole(), false); err != nil {
			return err
		}
		if _, err := os.Stat(j.path); err != nil {
			return j.damaged(j.path, "which was complete, is missing")
		}
		if j.opt.Elsewhere != nil {
			if err := j.opt.Elsewhere(j.path); err != nil {
				return err
			}
		}
		return removeIfThere(j.partial()) // of a process that had just begun to add to it
	}
	if s.Records > 0 {
		if err := j.checkFile(j.partial(), true); err != nil {
			return err
		}
	}
	flags := os.O_RDWR | os.O_CREATE
	if j.file, err = os.OpenFile(j.partial(), flags, 0o644); err != nil {
		return err
	}
	if err := j.file.Truncate(s.Bytes); err != nil {
		return err
	}
	return syncDir(j.path)
}

// whole is where the records of a complete output are.
func (j *Journal) whole() string {
	if j.state.Converted {
		return j.records()
	}
	return j.path
}

// checkFile compares a file with the committed length and checksum. tail lets
// it have more, of a commit that did not come to its end.
func (j *Journal) checkFile(name string, tail bool) error {
	file, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return j.damaged(name, fmt.Sprintf("which has %d records, is missing", j.state.Records))
	}
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	switch size := info.Size(); {
	case size < j.state.Bytes:
		return j.damaged(name, fmt.Sprintf("has %d bytes, and %d were committed: it was cut", size, j.state.Bytes))
	case size > j.state.Bytes && !tail:
		return j.damaged(name, fmt.Sprintf("has %d bytes, and %d were committed: something was added to it", size, j.state.Bytes))
	}
	sum, err := checksum(0, io.LimitReader(file, j.state.Bytes))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if sum != j.state.CRC {
		return j.damaged(name, "is not as it was written: its checksum differs")
	}
	return nil
}

// damaged is an error about a file, with what to do.
func (j *Journal) damaged(name, what string) error {
	return fmt.Errorf("%s, %s (%w); put back what was there, or start over with --restart", name, what, ErrDamaged)
}

// Close commits what was appended and gives the output back. A run that has
// no records leaves nothing. An error that another call has returned is not
// returned again.
func (j *Journal) Close() error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return nil
	}
	told := j.told
	err := j.commit()
	if told {
		err = nil
	}
	if (j.state.Records > 0 || j.state.Complete) && j.failed == nil && !j.held {
		if j.opt.Failed != nil && !j.state.Complete {
			j.state.Failed = j.opt.Failed()
		}
		err = j.save()
	}
	j.closed = true
	if j.due != nil {
		j.due.Stop()
	}
	nothing := j.state.Records == 0 && !j.state.Complete && j.failed == nil
	j.mu.Unlock()
	close(j.stop)
	<-j.stopped
	j.mu.Lock()
	defer j.mu.Unlock()
	if rm := os.Remove(j.statusPath()); rm != nil && !errors.Is(rm, os.ErrNotExist) {
		err = errors.Join(err, rm)
	}
	switch {
	case j.held && j.made:
		return errors.Join(err, removeIfThere(j.statePath()), j.release()) // while no other process can have it
	case nothing && !j.held:
		return errors.Join(err, j.discard())
	}
	return errors.Join(err, j.release())
}

// release closes the files.
func (j *Journal) release() error {
	var err error
	if j.file != nil {
		err = j.file.Close()
		j.file = nil
	}
	if j.db != nil {
		err = errors.Join(err, j.db.Close()) // a closed one answers with an error
	}
	return err
}
