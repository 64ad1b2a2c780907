package journal

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// TestFullDisk appends until a small file system is full, at random places of a
// commit: what was committed before stays, and once there is room it is gone on with.
func TestFullDisk(t *testing.T) {
	r, dir := random(t), t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=3m"); err != nil {
		t.Skip("cannot mount a small file system: ", err)
	}
	defer func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	path := filepath.Join(dir, "a.jsonl")
	full := 0
	for round := range 8 {
		// What is left for the journal differs each time.
		ballast := filepath.Join(dir, "ballast")
		if err := os.WriteFile(ballast, make([]byte, r.IntN(2<<20)), 0o644); err != nil && !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		j, err := begun(path, Options{Restart: round%4 == 0})
		if err != nil {
			if !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			}
			full++
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			continue
		}
		start := int(j.Records())
		done := start
		for i := start; i < start+100000 && err == nil; i++ {
			key := numbered(i, i+1)[0]
			if err = j.Append(key, line(r, key)); err == nil && i%50 == 49 {
				j.mu.Lock()
				err = j.commit()
				j.mu.Unlock()
				if err == nil {
					done = i + 1
				}
			}
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("with a full disk: %v", err)
		}
		full++
		t.Logf("round %d: %d records, then %v", round, done, err)
		if err := j.Finish(nil); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("it is finished all the same: %v", err)
		}
		if !j.Done("doc 0") && done > 0 {
			t.Error("what is committed cannot be read")
		}
		if err := j.Close(); err != nil && !errors.Is(err, syscall.ENOSPC) {
			t.Error(err)
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		if j, err = begun(path, Options{}); err != nil {
			t.Fatalf("with room again: %v", err)
		}
		if n := int(j.Records()); n < done {
			t.Errorf("%d records, and %d were committed", n, done)
		}
		if got := keysOf(t, read(t, path+".partial")); !slices.Equal(got, numbered(0, int(j.Records()))) {
			t.Errorf("%d records in the file", len(got))
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	}
	if full < 8 {
		t.Errorf("the disk was full %d times", full)
	}
	// A format that there is no room for leaves the records.
	j := open(t, path, Options{Restart: true})
	appendAll(t, j, r, numbered(0, 100)...)
	err := j.Finish(func(dst *os.File, records io.Reader) error {
		_, err := dst.Write(make([]byte, 4<<20))
		return err
	})
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("the error is %v", err)
	}
	closed(t, j)
	j = open(t, path, Options{})
	if err := j.Finish(nil); err != nil || j.Records() != 100 {
		t.Errorf("%d records, %v", j.Records(), err)
	}
	closed(t, j)
}
