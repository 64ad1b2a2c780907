package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func random(t testing.TB) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// line is a record of a key, of random length.
func line(r *rand.Rand, key string) []byte {
	return fmt.Appendf(nil, `{"id":%q,"answer":%q}`, key, strings.Repeat("x", r.IntN(300)))
}

// begun opens the output of a run of its own.
func begun(path string, opt Options) (*Journal, error) {
	j, err := Hold(path, opt)
	if err == nil {
		if err = j.Begin(); err != nil {
			err = errors.Join(err, j.Close())
		}
	}
	return j, err
}

func open(t *testing.T, path string, opt Options) *Journal {
	t.Helper()
	j, err := begun(path, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func appendAll(t *testing.T, j *Journal, r *rand.Rand, keys ...string) {
	t.Helper()
	for _, k := range keys {
		if err := j.Append(k, line(r, k)); err != nil {
			t.Fatal(err)
		}
	}
}

func closed(t *testing.T, j *Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// keysOf returns the keys of an output's records, which must be whole.
func keysOf(t *testing.T, text string) []string {
	t.Helper()
	var keys []string
	for l := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(l, `{"id":"`)
		key, rest, _ := strings.Cut(rest, `"`)
		if !ok || !strings.HasSuffix(rest, "\"}\n") {
			t.Fatalf("the record %q is not whole", l)
		}
		keys = append(keys, key)
	}
	return keys
}

func numbered(from, to int) []string {
	var keys []string
	for i := from; i < to; i++ {
		keys = append(keys, fmt.Sprintf("doc %d", i))
	}
	return keys
}

// TestGoesOn appends in sessions of random length: what earlier ones have written
// is known, and is in the output once.
func TestGoesOn(t *testing.T) {
	t.Parallel()
	r, path := random(t), filepath.Join(t.TempDir(), "out", "a.jsonl")
	keys := numbered(0, 3000)
	var id string
	done := 0
	for session := 0; done < len(keys); session++ {
		j := open(t, path, Options{Facts: []Fact{{Name: "n", Value: "1"}}})
		if session == 0 {
			id = j.ID()
		}
		if j.ID() != id || len(id) != 16 || j.Records() != int64(done) {
			t.Fatalf("session %d: run %q with %d records, expected %q with %d", session, j.ID(), j.Records(), id, done)
		}
		for range 20 {
			k := r.IntN(len(keys))
			if early := k < done; j.Done(keys[k]) != early || j.Earlier(keys[k], 0) != early {
				t.Fatalf("session %d: %q of %d records: done %v", session, keys[k], done, j.Done(keys[k]))
			}
		}
		if done > 0 {
			if err := j.Append(keys[r.IntN(done)], nil); !errors.Is(err, ErrEarlier) || !errors.Is(err, ErrDuplicate) {
				t.Fatalf("a key of an earlier session: %v", err)
			}
		}
		next := min(done+1+r.IntN(700), len(keys))
		appendAll(t, j, r, keys[done:next]...)
		if err := j.Append(keys[done], nil); !errors.Is(err, ErrDuplicate) || errors.Is(err, ErrEarlier) {
			t.Fatalf("a key of this session: %v", err)
		}
		done = next
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("there is an output before the end: %v", err)
		}
		closed(t, j)
	}
	j := open(t, path, Options{Facts: []Fact{{Name: "n", Value: "1"}}})
	if err := j.Finish(nil); err != nil {
		t.Fatal(err)
	}
	closed(t, j)
	if got := keysOf(t, read(t, path)); !slices.Equal(got, keys) {
		t.Errorf("%d records of %d", len(got), len(keys))
	}
	left, err := filepath.Glob(path + "*")
	if err != nil || !slices.Equal(left, []string{path, path + ".run"}) {
		t.Errorf("%v is left, %v", left, err)
	}
	if s, err := ReadStatus(path); err != nil || !s.Complete || s.Running || s.Records != int64(len(keys)) {
		t.Errorf("status %+v, %v", s, err)
	}
}

// TestGroups commits by itself after a while, by count and by size.
func TestGroups(t *testing.T) {
	t.Parallel()
	r, path := random(t), filepath.Join(t.TempDir(), "a.jsonl")
	j := open(t, path, Options{})
	appendAll(t, j, r, "one")
	if j.Done("one") {
		t.Log("committed at once")
	}
	for start := time.Now(); !j.Done("one"); time.Sleep(10 * time.Millisecond) {
		if time.Since(start) > 20*time.Second {
			t.Fatal("never committed")
		}
	}
	appendAll(t, j, r, numbered(0, commitRecords)...)
	if !j.Done("doc 0") {
		t.Errorf("not committed after %d records", commitRecords)
	}
	if err := j.Append("large", bytes.Repeat([]byte("x"), commitBytes)); err != nil || !j.Done("large") {
		t.Errorf("%v; not committed after %d bytes", err, commitBytes)
	}
}

// TestRefusesRecords refuses what cannot be a record, and goes on.
func TestRefusesRecords(t *testing.T) {
	t.Parallel()
	j := open(t, filepath.Join(t.TempDir(), "a.jsonl"), Options{})
	for key, record := range map[string]string{"": "{}", strings.Repeat("k", 40000): "{}", "lines": "{\n}"} {
		if err := j.Append(key, []byte(record)); err == nil || errors.Is(err, ErrDuplicate) {
			t.Errorf("%.10q: %v", key, err)
		}
	}
	if err := j.Append("a", []byte("{}")); err != nil {
		t.Error(err)
	}
	closed(t, j)
	if err := j.Append("b", nil); !errors.Is(err, errClosed) {
		t.Errorf("after Close: %v", err)
	}
	if j.Done("b") || j.Close() != nil {
		t.Error("Done or Close after Close")
	}
}

// TestNothing leaves nothing.
func TestNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	closed(t, open(t, filepath.Join(dir, "a.jsonl"), Options{}))
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("%v is left, %v", left, err)
	}
	// Unless the run came to its end: it has no documents, and that is an answer.
	j := open(t, filepath.Join(dir, "a.jsonl"), Options{})
	if err := j.Finish(nil); err != nil {
		t.Fatal(err)
	}
	closed(t, j)
	if got := read(t, filepath.Join(dir, "a.jsonl")); got != "" {
		t.Errorf("%q", got)
	}
}

// TestBusy refuses a second writer and names the first, and lets others look.
func TestBusy(t *testing.T) {
	t.Parallel()
	r, path := random(t), filepath.Join(t.TempDir(), "a.jsonl")
	j := open(t, path, Options{})
	appendAll(t, j, r, "a")
	for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if s, err := ReadStatus(path); err == nil && s.Records == 1 {
			if !s.Running || s.Process != os.Getpid() || s.Complete {
				t.Errorf("status %+v", s)
			}
			break
		}
		if time.Since(start) > 20*time.Second {
			t.Fatal("no status")
		}
	}
	for _, restart := range []bool{false, true} {
		_, err := begun(path, Options{Restart: restart})
		if !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) {
			t.Errorf("a second writer: %v", err)
		}
	}
	closed(t, j)
	closed(t, open(t, path, Options{}))
}

// TestRestart begins anew, also where the state is of no use, and leaves the
// output of the earlier run until its own is whole.
func TestRestart(t *testing.T) {
	t.Parallel()
	r, path := random(t), filepath.Join(t.TempDir(), "a.jsonl")
	for _, spoil := range []func(){
		func() {},
		func() { write(t, path+".run", "no database") },
		func() { write(t, path+".run", "") },
		func() { _ = os.Remove(path + ".run"); write(t, path+".partial", "left") },
		func() { write(t, path, "edited") },
	} {
		j := open(t, path, Options{Restart: true})
		appendAll(t, j, r, "a", "b")
		if err := j.Finish(nil); err != nil {
			t.Fatal(err)
		}
		closed(t, j)
		whole := read(t, path)
		spoil()
		j = open(t, path, Options{Restart: true})
		if j.Done("a") || j.Records() != 0 {
			t.Error("an earlier record counts")
		}
		appendAll(t, j, r, "c")
		closed(t, j)
		if got := read(t, path); got != whole && got != "edited" {
			t.Errorf("the earlier output is %q", got)
		}
	}
}

// TestLink puts the output where a link points to.
func TestLink(t *testing.T) {
	t.Parallel()
	r, dir := random(t), t.TempDir()
	write(t, filepath.Join(dir, "real.jsonl"), "old")
	if err := os.Symlink("real.jsonl", filepath.Join(dir, "link.jsonl")); err != nil {
		t.Skip(err)
	}
	j := open(t, filepath.Join(dir, "link.jsonl"), Options{})
	appendAll(t, j, r, "a")
	if err := j.Finish(nil); err != nil {
		t.Fatal(err)
	}
	closed(t, j)
	if info, err := os.Lstat(filepath.Join(dir, "link.jsonl")); err != nil || info.Mode().IsRegular() {
		t.Errorf("the link is gone: %v", err)
	}
	keysOf(t, read(t, filepath.Join(dir, "real.jsonl")))
	if s, err := ReadStatus(filepath.Join(dir, "link.jsonl")); err != nil || !s.Complete {
		t.Errorf("%+v, %v", s, err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestConverts makes another format of the records, and goes on with them when more
// come.
func TestConverts(t *testing.T) {
	t.Parallel()
	r, path := random(t), filepath.Join(t.TempDir(), "a.txt")
	upper := func(dst *os.File, records io.Reader) error {
		data, err := io.ReadAll(records)
		if err != nil {
			return err
		}
		_, err = dst.Write(bytes.ToUpper(data))
		return err
	}
	var failed int64 = 1
	failing := Options{Failed: func() int64 { return failed }}
	want := ""
	for i, keys := range [][]string{{"a", "b"}, nil, {"c"}, nil} {
		j := open(t, path, failing)
		appendAll(t, j, r, keys...)
		if i == 2 {
			failed = 0
			broken := errors.New("broken")
			if err := j.Finish(func(*os.File, io.Reader) error { return broken }); !errors.Is(err, broken) {
				t.Fatal(err)
			}
			closed(t, j)
			if got := read(t, path); got != want {
				t.Errorf("after a format that failed the output is %q", got)
			}
			j = open(t, path, failing)
		}
		if err := j.Finish(upper); err != nil {
			t.Fatal(err)
		}
		closed(t, j)
		records := read(t, path+".records")
		if got, wantKeys := keysOf(t, records), []string{"a", "b", "c"}[:min(2+i/2, 3)]; !slices.Equal(got, wantKeys) {
			t.Errorf("session %d: the records are %q", i, got)
		}
		if want = strings.ToUpper(records); read(t, path) != want {
			t.Errorf("session %d: the output is %q", i, read(t, path))
		}
		if s, err := ReadStatus(path); err != nil || s.Complete != (i >= 2) || !s.Finished || s.Failed != failed {
			t.Errorf("session %d: %+v, %v", i, s, err)
		}
	}
	left, err := filepath.Glob(path + "*")
	if err != nil || !slices.Equal(left, []string{path, path + ".records", path + ".run"}) {
		t.Errorf("%v is left, %v", left, err)
	}
}

// TestOrder puts records in the order of their indexes, as the last session has
// these.
func TestOrder(t *testing.T) {
	t.Parallel()
	r, path := random(t), filepath.Join(t.TempDir(), "a.jsonl")
	var want []string
	for session := range 3 {
		// Keys of earlier sessions get new places, among new ones.
		for i := range 400 {
			want = append(want, fmt.Sprintf("%d/%d", session, i))
		}
		r.Shuffle(len(want), func(a, b int) { want[a], want[b] = want[b], want[a] })
		j := open(t, path, Options{Ordered: true})
		for _, k := range r.Perm(len(want)) {
			key := want[k]
			if strings.HasPrefix(key, fmt.Sprint(session)) {
				if err := j.AppendAt(key, int64(k)*3, line(r, key)); err != nil {
					t.Fatal(err)
				}
			} else if !j.Earlier(key, int64(k)*3) {
				t.Fatalf("%q is not there", key)
			}
		}
		if err := j.Finish(nil); err != nil {
			t.Fatal(err)
		}
		closed(t, j)
		if got := keysOf(t, read(t, path)); !slices.Equal(got, want) {
			t.Fatalf("session %d: %d records, not in order", session, len(got))
		}
	}
	// Nothing was lost of what the order is made from.
	if got := keysOf(t, read(t, path+".records")); len(got) != len(want) {
		t.Errorf("%d records of %d", len(got), len(want))
	}
}
