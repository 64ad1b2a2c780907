package journal

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestHold discards what there is when the journal begins, and not before.
func TestHold(t *testing.T) {
	t.Parallel()
	r, path := random(t), filepath.Join(t.TempDir(), "a.jsonl")
	j := open(t, path, Options{})
	appendAll(t, j, r, "a", "b")
	closed(t, j)
	was := read(t, path+".partial")

	hold := func() *Journal {
		j, err := Hold(path, Options{Restart: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = j.Close() })
		return j
	}
	j = hold()
	if _, err := begun(path, Options{}); !errors.Is(err, ErrBusy) {
		t.Errorf("beside one that is held: %v", err)
	}
	if err := j.Append("c", line(r, "c")); err == nil || j.Done("a") || j.Has("a") || j.Earlier("a", 0) {
		t.Errorf("it is used before it began: %v", err)
	}
	closed(t, j)
	j = open(t, path, Options{})
	if read(t, path+".partial") != was || !j.Done("b") {
		t.Error("one that did not begin has discarded something")
	}
	closed(t, j)

	j = hold()
	if err := j.Begin(); err != nil {
		t.Fatal(err)
	}
	if j.Done("a") {
		t.Error("an earlier record counts")
	}
	appendAll(t, j, r, "c")
	closed(t, j)
	if got := keysOf(t, read(t, path+".partial")); len(got) != 1 {
		t.Errorf("the keys are %q", got)
	}
}

// TestRecordsAlone refuses records without a state, however often it is tried, and
// leaves them.
func TestRecordsAlone(t *testing.T) {
	t.Parallel()
	r, path := random(t), filepath.Join(t.TempDir(), "a.jsonl")
	j := open(t, path, Options{})
	appendAll(t, j, r, "a", "b")
	closed(t, j)
	was := read(t, path+".partial")
	if err := os.Remove(path + ".run"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := begun(path, Options{}); err == nil || !strings.Contains(err.Error(), "continue with both files") {
			t.Errorf("the error is %v", err)
		}
	}
	j, err := Hold(path, Options{Restart: true})
	if err != nil {
		t.Fatal(err)
	}
	closed(t, j)
	if _, err := os.Stat(path + ".run"); !errors.Is(err, os.ErrNotExist) || read(t, path+".partial") != was {
		t.Errorf("the records are others, or there is a state: %v", err)
	}
}

// TestFailedTransaction leaves records on disk whose transaction failed: it may be
// there all the same. Records that were not written whole are taken away.
func TestFailedTransaction(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		fail func(j *Journal) error
		more bool
	}{
		{"transaction", func(j *Journal) error { return j.lock.Close() }, true},
		{"records", func(j *Journal) error {
			var err error
			was := j.file
			j.file, err = os.Open(j.partial()) // which cannot be written
			return errors.Join(err, was.Close())
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, path := random(t), filepath.Join(t.TempDir(), "a.jsonl")
			j := open(t, path, Options{})
			appendAll(t, j, r, "a")
			if err := j.commitNow(); err != nil {
				t.Fatal(err)
			}
			committed := len(read(t, path+".partial"))
			if err := c.fail(j); err != nil {
				t.Fatal(err)
			}
			appendAll(t, j, r, "b")
			if !j.Has("b") || j.Done("b") {
				t.Error("a record that waits is not there, or done")
			}
			if err := j.commitNow(); err == nil {
				t.Fatal("the commit did not fail")
			}
			_ = j.Close() // it cannot unlock what is closed
			if more := len(read(t, path+".partial")) > committed; more != c.more {
				t.Errorf("behind the committed records there is something: %v", more)
			}
			// As after a failure whose transaction did not reach the disk.
			j = open(t, path, Options{})
			if !j.Done("a") || j.Done("b") {
				t.Error("the committed records are others")
			}
		})
	}
}

// commitNow commits without waiting.
func (j *Journal) commitNow() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.commit()
}
