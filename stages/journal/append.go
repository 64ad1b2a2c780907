package journal

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"
)

// MaxKey is the most bytes that a key may have.
const MaxKey = bolt.MaxKeySize

// entry is a record that is not committed.
type entry struct {
	key string
	place
	moved bool // only the index is new
}

// Append adds the record of a key: a line of JSON, without its end. It is
// committed soon, and by Finish and Close at the latest. The error is
// ErrDuplicate, after which the journal goes on, or that of a commit, after which
// it takes nothing more: what was committed before stays.
func (j *Journal) Append(key string, record []byte) error {
	return j.append(key, -1, record)
}

// AppendAt is Append for a record that belongs at some place of an output that
// is Ordered; the places of records need not follow each other.
func (j *Journal) AppendAt(key string, index int64, record []byte) error {
	return j.append(key, index, record)
}

func (j *Journal) append(key string, index int64, record []byte) error {
	switch {
	case key == "":
		return errors.New("the record has no key")
	case len(key) > MaxKey:
		return fmt.Errorf("the key %.40q… has %d bytes; expected %d at most", key, len(key), MaxKey)
	case bytes.IndexByte(record, '\n') >= 0:
		return fmt.Errorf("the record of %q has several lines; expected one", key)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.usable(); err != nil {
		return err
	}
	if _, ok := j.waiting[key]; ok {
		return fmt.Errorf("%q: %w", key, ErrDuplicate)
	}
	switch p, there, err := j.find(key); {
	case err != nil:
		return err
	case there && j.early(p):
		return fmt.Errorf("%q: %w", key, ErrEarlier)
	case there:
		return fmt.Errorf("%q: %w", key, ErrDuplicate)
	}
	if index < 0 {
		index = j.count()
	}
	e := entry{key: key, place: place{index, j.state.Bytes + int64(len(j.batch)), int64(len(record)) + 1}}
	j.batch = append(append(j.batch, record...), '\n')
	return j.add(e)
}

// count is how many records there are, with those that wait.
func (j *Journal) count() int64 { return j.state.Records + int64(len(j.entries)) }

// early reports whether an earlier process committed a record.
func (j *Journal) early(p place) bool { return p.from < j.state.Session.Bytes }

func (j *Journal) usable() error {
	switch {
	case j.failed != nil:
		j.told = true
		return j.failed
	case j.closed:
		return errClosed
	case j.held:
		return errHeld
	}
	return nil
}

// add takes an entry, and commits when it is time.
func (j *Journal) add(e entry) error {
	j.waiting[e.key] = len(j.entries)
	j.entries = append(j.entries, e)
	if len(j.entries) >= commitRecords || len(j.batch) >= commitBytes {
		err := j.commit()
		j.told = err != nil
		return err
	}
	if len(j.entries) == 1 {
		j.due = time.AfterFunc(commitAfter, func() {
			j.mu.Lock()
			defer j.mu.Unlock()
			_ = j.commit() // kept, and returned by what is called next
		})
	}
	return nil
}

// Done reports whether the record of key is committed, by this process or by an
// earlier one.
func (j *Journal) Done(key string) bool {
	_, there, err := j.find(key)
	return err == nil && there
}

// Has reports whether Append would refuse the key: unlike Done it knows the records
// that wait to be committed.
func (j *Journal) Has(key string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	_, waiting := j.waiting[key]
	return waiting || j.Done(key)
}

// Earlier reports whether an earlier process committed the record of key. In an
// output that is Ordered the record gets the place that it has in this run.
func (j *Journal) Earlier(key string, index int64) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	p, there, err := j.find(key)
	if err != nil || !there || !j.early(p) {
		return false
	}
	if _, waiting := j.waiting[key]; j.opt.Ordered && p.index != index && !waiting && j.usable() == nil {
		_ = j.add(entry{key: key, place: place{index, p.from, p.length}, moved: true}) // its error is kept
	}
	return true
}

// commit makes what was appended durable, as the package's comment says. Its
// error is kept: nothing can be appended after it.
func (j *Journal) commit() error {
	if j.failed != nil || len(j.entries) == 0 {
		return j.failed
	}
	if j.due != nil {
		j.due.Stop()
	}
	if err := j.write(); err != nil {
		j.failed = fmt.Errorf("%w; %d records are safe: see to it, and run again to go on", err, j.state.Records)
		return j.failed
	}
	j.batch, j.entries = j.batch[:0], j.entries[:0]
	clear(j.waiting)
	return nil
}

func (j *Journal) write() error {
	if j.state.Complete {
		if err := j.reopen(); err != nil {
			return err
		}
	}
	next := j.state
	if len(j.batch) > 0 {
		if err := j.writeBatch(); err != nil {
			return err
		}
		next.CRC = extend(next.CRC, j.batch)
		next.Bytes += int64(len(j.batch))
	}
	next.Committed = time.Now()
	err := j.update(func(tx *bolt.Tx) error {
		keys := tx.Bucket(bucketKeys)
		for _, e := range j.entries {
			if e.moved {
				next.KeySum -= digest([]byte(e.key), keys.Get([]byte(e.key)))
			} else {
				next.Records++
			}
			value := e.bytes()
			if err := keys.Put([]byte(e.key), value); err != nil {
				return err
			}
			next.KeySum += digest([]byte(e.key), value)
		}
		return next.put(tx)
	})
	if err != nil {
		return fmt.Errorf("%s: %w", j.statePath(), err)
	}
	j.state = next
	return nil
}

// writeBatch brings the waiting records to disk behind the committed ones, or takes
// what was written of them away. Once that is done they stay: a transaction that
// fails after it may be on disk all the same.
func (j *Journal) writeBatch() error {
	_, err := j.file.WriteAt(j.batch, j.state.Bytes)
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		_ = j.file.Truncate(j.state.Bytes) // or the next run does it
	}
	return err
}
