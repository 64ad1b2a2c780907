package journal

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/zeebo/xxh3"
	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

var (
	bucketRun   = []byte("run")
	bucketKeys  = []byte("keys")
	bucketFacts = []byte("facts")
	keyState    = []byte("state")
)

const stateVersion = 1

// How long another process may hold the lock, as one that only looks at the
// state does for a moment.
const (
	lockPatience = 2 * time.Second
	lookPatience = 100 * time.Millisecond
)

// state is what PATH.run has besides keys and facts.
type state struct {
	Version   int    `json:"version"`
	ID        string `json:"id"`
	Records   int64  `json:"records"`
	Bytes     int64  `json:"bytes"`    // of PATH.partial that are committed
	CRC       uint32 `json:"crc32c"`   // of these
	KeySum    uint64 `json:"key_sum"`  // the sum of the keys' digests
	FactSum   uint64 `json:"fact_sum"` // that of the facts
	Finishing bool   `json:"finishing,omitempty"`
	Complete  bool   `json:"complete,omitempty"`  // PATH is whole and has all records
	Converted bool   `json:"converted,omitempty"` // when complete, the records are in PATH.records
	// Pending says that a process began, after it was Complete, with other inputs or
	// other facts, and has not come to its end.
	Pending   bool      `json:"pending,omitempty"`
	Failed    int64     `json:"failed,omitempty"` // documents without an answer, as the last process counted them
	Started   time.Time `json:"started"`
	Committed time.Time `json:"committed"` // the last commit
	Session   Session   `json:"session"`
}

// Session is one process's part of a run.
type Session struct {
	Started time.Time `json:"started"`
	Before  int64     `json:"before"` // records that were there when it started
	Bytes   int64     `json:"bytes"`  // and their length
}

func (s *state) put(tx *bolt.Tx) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return tx.Bucket(bucketRun).Put(keyState, binary.BigEndian.AppendUint64(data, xxh3.Hash(data)))
}

// parseState reads what put has written, with its checksum behind it.
func parseState(data []byte) (s state, err error) {
	n := len(data) - 8
	if n < 0 || binary.BigEndian.Uint64(data[n:]) != xxh3.Hash(data[:n]) {
		return s, fmt.Errorf("%w: its own checksum differs", errUnreadable)
	}
	if err := json.Unmarshal(data[:n], &s); err != nil {
		return s, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	return s, nil
}

// save writes the state without records.
func (j *Journal) save() error {
	if err := j.update(func(tx *bolt.Tx) error { return j.state.put(tx) }); err != nil {
		return fmt.Errorf("%s: %w", j.statePath(), err)
	}
	return nil
}

// openState opens PATH.run, makes it if there is none, and reads and checks all
// of it.
func (j *Journal) openState() error {
	path := j.statePath()
	for {
		err := j.lockState(false)
		if errors.Is(err, os.ErrNotExist) {
			if err := j.recordsAlone(); err != nil {
				return err
			}
			if j.made, err = j.createState(); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return j.describe(err)
		}
		// Another process may have removed the file while this one waited for it.
		mine, err := j.lock.Stat()
		if err != nil {
			return err
		}
		if there, err := os.Stat(path); err == nil && os.SameFile(mine, there) {
			break
		}
		if err := j.release(); err != nil {
			return err
		}
	}
	// Before all is read, so that nobody takes an earlier process for this one.
	s := Status{Path: j.path, Running: true, Process: os.Getpid(), Session: Session{Started: time.Now()}}
	_ = writeStatus(j.statusPath(), s) // a full disk shows elsewhere
	if err := j.readState(); err != nil {
		return j.describe(err)
	}
	return nil
}

// recordsAlone refuses records of which nothing says how many are whole: making a
// state would be the end of them.
func (j *Journal) recordsAlone() error {
	info, err := os.Stat(j.partial())
	if err != nil || info.Size() == 0 || j.opt.Restart {
		return nil //nolint:nilerr // what cannot be looked at, opening it will show
	}
	if _, err := os.Stat(j.statePath()); err == nil {
		return nil // another process has just made it
	}
	return fmt.Errorf("%s has records, and there is no %s that says which; continue with both files, or start over with --restart", j.partial(), j.statePath())
}

// createState makes PATH.run under another name first, so that it is there
// whole or not at all. It reports whether the one that is there now is its own.
func (j *Journal) createState() (made bool, err error) {
	// A name of its own: another process may be at the same.
	path, temporary := j.statePath(), fmt.Sprintf("%s.%d.new", j.statePath(), os.Getpid())
	if err := os.Remove(temporary); err != nil && !errors.Is(err, os.ErrNotExist) {
		return false, err
	}
	id := make([]byte, 8)
	if _, err := rand.Read(id); err != nil {
		return false, err
	}
	db, err := bolt.Open(temporary, 0o644, &bolt.Options{Timeout: lockPatience})
	if err != nil {
		return false, j.describe(err)
	}
	s := state{Version: stateVersion, ID: hex.EncodeToString(id), Started: time.Now()}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range [][]byte{bucketRun, bucketKeys, bucketFacts} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		return s.put(tx)
	})
	if err = errors.Join(err, db.Close()); err != nil {
		return false, errors.Join(fmt.Errorf("%s: %w", path, err), os.Remove(temporary))
	}
	// A link does not replace what another process has made meanwhile.
	switch err = os.Link(temporary, path); {
	case err == nil || errors.Is(err, os.ErrExist):
		made = err == nil
		err = os.Remove(temporary)
	case errors.Is(err, os.ErrNotExist): // a run that has just ended took it for a leftover
		err = nil
	default: // a file system without links
		err = os.Rename(temporary, path)
		made = err == nil
	}
	if err != nil {
		return made, err
	}
	return made, syncDir(path)
}

// removeLeftovers removes states that processes were making when they were killed.
func (j *Journal) removeLeftovers() error {
	dir, name := filepath.Split(j.statePath())
	entries, err := os.ReadDir(filepath.Clean(dir))
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), name+".") && strings.HasSuffix(entry.Name(), ".new") {
			err = errors.Join(err, removeIfThere(dir+entry.Name()))
		}
	}
	return err
}

// lockState opens the database and locks it. What is damaged makes bbolt panic, or
// fault where the file is shorter than its pages say.
func (j *Journal) lockState(readOnly bool) (err error) {
	defer func() {
		if err != nil && j.lock != nil {
			_ = j.lock.Close() // where bbolt panicked, or else has closed it
		}
	}()
	defer caught(debug.SetPanicOnFault(true), &err)
	patience := lockPatience
	if readOnly {
		patience = lookPatience
	}
	opt := &bolt.Options{
		Timeout: patience, ReadOnly: readOnly, FreelistType: bolt.FreelistMapType,
		OpenFile: func(name string, flag int, mode os.FileMode) (*os.File, error) {
			file, err := os.OpenFile(name, flag&^os.O_CREATE, mode)
			if err == nil {
				j.lock = file
			}
			return file, err
		},
	}
	if err := cutShort(j.statePath()); err != nil {
		return err
	}
	db, err := bolt.Open(j.statePath(), 0o644, opt)
	if err != nil {
		return err
	}
	j.db = db
	return nil
}

// caught turns a panic over a damaged database into an error; before is what
// SetPanicOnFault returned.
func caught(before bool, err *error) {
	debug.SetPanicOnFault(before)
	if what := recover(); what != nil {
		*err = fmt.Errorf("%w: %v", errUnreadable, what)
	}
}

var errUnreadable = errors.New("the state cannot be read")

// describe says of an error of the database what it means and what to do.
func (j *Journal) describe(err error) error {
	path := j.statePath()
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		who := ""
		if s, statusErr := readStatus(StatusPath(j.path)); statusErr == nil {
			who = fmt.Sprintf(", process %d since %s,", s.Process, s.Session.Started.Format(time.DateTime))
		}
		return fmt.Errorf("%s: %w: the run%s has to end first", j.path, ErrBusy, who)
	case errors.Is(err, errUnreadable), errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum), errors.Is(err, bolterrors.ErrVersionMismatch):
		return fmt.Errorf("%s, the state of the run, is cut or %w (%w); put it back, or start over with --restart", path, ErrDamaged, err)
	}
	return err
}

// update and view are the database's, without its panics.
func (j *Journal) update(f func(*bolt.Tx) error) (err error) {
	defer caught(debug.SetPanicOnFault(true), &err)
	return j.db.Update(f)
}

func (j *Journal) view(f func(*bolt.Tx) error) (err error) {
	defer caught(debug.SetPanicOnFault(true), &err)
	return j.db.View(f)
}

// readState reads the state and checks that all of its keys are there, and can
// be found.
func (j *Journal) readState() error {
	return j.view(func(tx *bolt.Tx) error {
		run, keys, facts := tx.Bucket(bucketRun), tx.Bucket(bucketKeys), tx.Bucket(bucketFacts)
		if run == nil || keys == nil || facts == nil {
			return fmt.Errorf("%w: it lacks a part", errUnreadable)
		}
		s, err := parseState(run.Get(keyState))
		if err != nil {
			return err
		}
		if s.Version != stateVersion {
			return fmt.Errorf("%s has version %d, and this program knows %d; start over with --restart", j.statePath(), s.Version, stateVersion)
		}
		var records int64
		var keySum, factSum uint64
		if err := keys.ForEach(func(k, v []byte) error {
			records++
			keySum += digest(k, v)
			return nil
		}); err != nil {
			return err
		}
		if err := facts.ForEach(func(k, v []byte) error {
			factSum += digest(k, v)
			return nil
		}); err != nil {
			return err
		}
		if records != s.Records || keySum != s.KeySum || factSum != s.FactSum {
			return fmt.Errorf("%w: its keys are not those that it counted", errUnreadable)
		}
		j.state = s
		if j.db.IsReadOnly() {
			return nil
		}
		// What is written next must not go over pages in use.
		var wrong error
		for err := range tx.Check() {
			if wrong == nil {
				wrong = fmt.Errorf("%w: %w", errUnreadable, err)
			}
		}
		return wrong
	})
}

// place is where a key's record is: in the order of the input, and in
// PATH.partial, its line's end included.
type place struct{ index, from, length int64 }

func (p place) bytes() []byte {
	b := binary.AppendUvarint(nil, uint64(p.index))
	b = binary.AppendUvarint(b, uint64(p.from))
	return binary.AppendUvarint(b, uint64(p.length))
}

func parsePlace(b []byte) (p place, ok bool) {
	for _, into := range []*int64{&p.index, &p.from, &p.length} {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return place{}, false
		}
		*into, b = int64(v), b[n:]
	}
	return p, len(b) == 0
}

// find looks a committed key up.
func (j *Journal) find(key string) (p place, there bool, err error) {
	if j.held || key == "" || len(key) > MaxKey {
		return place{}, false, nil
	}
	err = j.view(func(tx *bolt.Tx) error {
		value := tx.Bucket(bucketKeys).Get([]byte(key))
		if value == nil {
			return nil
		}
		if p, there = parsePlace(value); !there {
			return j.damaged(j.statePath(), fmt.Sprintf("has the key %q without its place", key))
		}
		return nil
	})
	return p, there, err
}

// digest of a key and its value; the sum over all does not depend on their order.
func digest(key, value []byte) uint64 {
	return xxh3.HashSeed(value, xxh3.Hash(key))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func extend(sum uint32, data []byte) uint32 { return crc32.Update(sum, castagnoli, data) }

// checksum extends the checksum of what came before with all of r.
func checksum(sum uint32, r io.Reader) (uint32, error) {
	buffer := make([]byte, 1<<20)
	for {
		n, err := r.Read(buffer)
		sum = extend(sum, buffer[:n])
		if errors.Is(err, io.EOF) {
			return sum, nil
		}
		if err != nil {
			return 0, err
		}
	}
}
