package journal

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// left makes what a run that was cut short has left: its keys are doc 0, doc 1, …
func left(t *testing.T, r *rand.Rand, path string, records int) {
	t.Helper()
	j := open(t, path, Options{Facts: []Fact{{Name: "n", Value: "1"}}})
	for from := 0; from < records; from += 50 {
		appendAll(t, j, r, numbered(from, min(from+50, records))...)
		j.mu.Lock()
		err := j.commit()
		j.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
	}
	closed(t, j)
}

// TestTail cuts off what a commit that did not come to its end has written.
func TestTail(t *testing.T) {
	t.Parallel()
	r, path := random(t), filepath.Join(t.TempDir(), "a.jsonl")
	left(t, r, path, 70)
	before := read(t, path+".partial")
	write(t, path+".partial", before+`{"id":"torn","ans`)
	j := open(t, path, Options{Facts: []Fact{{Name: "n", Value: "1"}}})
	if got := read(t, path+".partial"); got != before {
		t.Errorf("%d bytes, expected %d", len(got), len(before))
	}
	if err := j.Finish(nil); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path); got != before {
		t.Errorf("the output has %d bytes, expected %d", len(got), len(before))
	}
}

// TestDamage cuts, edits and removes the files of a run: what cannot be gone on
// with is refused by name with what to do, and what can is whole.
func TestDamage(t *testing.T) {
	t.Parallel()
	r, dir := random(t), t.TempDir()
	path := filepath.Join(dir, "a.jsonl")
	left(t, r, path, 300)
	partial, state := read(t, path+".partial"), read(t, path+".run")
	want := keysOf(t, partial)
	try := func(what, file, content string, mustRefuse bool) {
		t.Helper()
		write(t, path+".partial", partial)
		write(t, path+".run", state)
		if content == "" {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		} else {
			write(t, file, content)
		}
		j, err := begun(path, Options{Facts: []Fact{{Name: "n", Value: "1"}}})
		if err != nil {
			if !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "--restart") {
				t.Errorf("%s: the error is %v", what, err)
			}
			_, _ = ReadStatus(path) // which need not see it, and must not fail over it
			return
		}
		if mustRefuse {
			t.Errorf("%s: gone on with", what)
		}
		// An older state may be what is left; then its records are the first.
		n := int(j.Records())
		for i, k := range want {
			if j.Done(k) != (i < n) {
				t.Errorf("%s: %d records, and %q is done: %v", what, n, k, j.Done(k))
			}
		}
		if err := j.Finish(nil); err != nil {
			t.Errorf("%s: %v", what, err)
		} else if got := keysOf(t, read(t, path)); !slices.Equal(got, want[:n]) {
			t.Errorf("%s: %d records in the output, expected %d", what, len(got), n)
		}
		if err := errors.Join(j.Close(), os.Remove(path)); err != nil {
			t.Error(err)
		}
	}
	flip := func(text string, at int) string {
		b := []byte(text)
		b[at] ^= 1 << r.IntN(8)
		return string(b)
	}
	for range 30 {
		at := 1 + r.IntN(len(partial)-1)
		try("records cut", path+".partial", partial[:at], true)
		try("records edited", path+".partial", flip(partial, at), true)
	}
	try("records gone", path+".partial", "", true)
	for range 60 {
		try("state cut", path+".run", state[:1+r.IntN(len(state)-1)], false)
		try("state edited", path+".run", flip(state, r.IntN(len(state))), false)
	}
	try("state overwritten", path+".run", strings.Repeat("x", len(state)), true)
	try("state gone", path+".run", "", true)
}

// TestCrashInFinish continues from every point at which Finish may be cut
// short.
func TestCrashInFinish(t *testing.T) {
	t.Parallel()
	r := random(t)
	for _, c := range []struct {
		name      string
		converted bool
		steps     []string // renames that were done
	}{
		{"marked", false, nil},
		{"renamed", false, []string{".partial", ""}},
		{"marked, converted", true, nil},
		{"output renamed, converted", true, []string{".new", ""}},
		{"all renamed, converted", true, []string{".new", "", ".partial", ".records"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "a.jsonl")
			left(t, r, path, 120)
			want := keysOf(t, read(t, path+".partial"))
			j := open(t, path, Options{Facts: []Fact{{Name: "n", Value: "1"}}})
			j.state.Finishing, j.state.Converted = true, c.converted
			if err := j.save(); err != nil {
				t.Fatal(err)
			}
			records := read(t, path+".partial")
			if c.converted {
				write(t, path+".new", strings.ToUpper(records))
			}
			for i := 0; i < len(c.steps); i += 2 {
				if err := os.Rename(path+c.steps[i], path+c.steps[i+1]); err != nil {
					t.Fatal(err)
				}
			}
			if err := j.release(); err != nil { // as if killed
				t.Fatal(err)
			}
			j.mu.Lock()
			j.closed = true
			j.mu.Unlock()
			finished := len(c.steps) == 4 || len(c.steps) == 2 && !c.converted
			if s, err := ReadStatus(path); err != nil || s.Complete != finished || s.Running {
				t.Errorf("status %+v, %v; expected finished: %v", s, err, finished)
			}
			j = open(t, path, Options{Facts: []Fact{{Name: "n", Value: "1"}}})
			if j.Records() != int64(len(want)) || !j.Done(want[0]) {
				t.Errorf("%d records of %d", j.Records(), len(want))
			}
			appendAll(t, j, r, "one more")
			if err := j.Finish(nil); err != nil {
				t.Fatal(err)
			}
			closed(t, j)
			if got := keysOf(t, read(t, path)); !slices.Equal(got, append(want, "one more")) {
				t.Errorf("%d records of %d", len(got), len(want)+1)
			}
		})
	}
}

// TestComplete refuses an output that is not as it was finished.
func TestComplete(t *testing.T) {
	t.Parallel()
	r, path := random(t), filepath.Join(t.TempDir(), "a.jsonl")
	j := open(t, path, Options{})
	appendAll(t, j, r, "a", "b")
	if err := j.Finish(nil); err != nil {
		t.Fatal(err)
	}
	closed(t, j)
	whole := read(t, path)
	for _, changed := range []string{whole[1:], "x" + whole[1:], whole + "x", ""} {
		write(t, path, changed)
		if changed == "" {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := begun(path, Options{}); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "--restart") {
			t.Errorf("with %d bytes of %d: %v", len(changed), len(whole), err)
		}
	}
	write(t, path, whole)
	closed(t, open(t, path, Options{}))
}
