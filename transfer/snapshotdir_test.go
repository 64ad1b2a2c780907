package transfer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// store opens a directory of snapshots.
func (b *snapshotBench) store(dir string, most int64) *Snapshots {
	b.t.Helper()
	d, err := OpenSnapshots(dir, most)
	if err != nil {
		b.t.Fatal(err)
	}
	return d
}

// save keeps a sequence of random contents under some tokens.
func (b *snapshotBench) save(d *Snapshots, c snapshotCase, ids []int32) bool {
	b.t.Helper()
	c.tokens = len(ids)
	s, _ := b.filled(c)
	written, err := d.Save(b.t.Context(), b.of(c), s, SnapshotText{Tokens: ids}, b.port)
	if err != nil {
		b.t.Fatal(err)
	}
	return written
}

// asMany says that all that is in common is of use.
func asMany(s *Snapshot, common int) int { return s.Usable(common) }

// found returns how many tokens of a text a directory spares.
func (b *snapshotBench) found(d *Snapshots, c snapshotCase, ids []int32) int {
	b.t.Helper()
	s, n, refused := d.Find(b.of(c), ids, asMany)
	if len(refused) > 0 {
		b.t.Errorf("refused: %v", refused)
	}
	if s != nil {
		d.Used(s)
		_ = s.Close()
	}
	return n
}

func snapshotNames(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"+snapshotSuffix))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestTheLongestBeginningIsFound(t *testing.T) {
	b := newSnapshotBench(t)
	c := snapshotCases()[0]
	ids := b.ids(1000)
	dir := t.TempDir()
	d := b.store(dir, 0)
	for _, n := range []int{64, 300, 130} {
		if !b.save(d, c, ids[:n]) || b.save(d, c, ids[:n]) {
			t.Errorf("%d tokens are to be saved once", n)
		}
	}
	other := slices.Concat(ids[:200], b.ids(500))
	b.save(d, c, other)
	for _, d := range []*Snapshots{d, b.store(dir, 0)} { // known, and read from the directory
		for _, w := range []struct {
			text []int32
			want int
		}{
			{ids, 300}, {ids[:300], 300}, {ids[:299], 299}, {ids[:150], 150}, {ids[:64], 64}, {ids[:63], 0}, {other, 700},
			{slices.Concat(ids[:250], b.ids(90)), 250}, {b.ids(500), 0}, {nil, 0},
		} {
			if n := b.found(d, c, w.text); n != w.want {
				t.Errorf("of a text of %d tokens %d are found; want %d", len(w.text), n, w.want)
			}
		}
	}
}

func TestForeignSnapshotsInADirectoryAreNamedOnce(t *testing.T) {
	b := newSnapshotBench(t)
	c := snapshotCases()[0]
	ids, dir := b.ids(100), t.TempDir()
	b.save(b.store(dir, 0), c, ids)
	foreign := b.of(c)
	foreign.Model = "another"
	d := b.store(dir, 0)
	for try := range 2 {
		s, _, refused := d.Find(foreign, ids, asMany)
		if s != nil || len(refused) != 1-try || try == 0 && !strings.Contains(refused[0].Error(), snapshotNames(t, dir)[0]) {
			t.Errorf("try %d gave %v, %v", try, s, refused)
		}
	}
	if _, _, refused := b.store(dir, 0).Find(foreign, b.ids(100), asMany); len(refused) > 0 {
		t.Errorf("of another text, too: %v", refused)
	}
	// What cannot be read is named whatever text is wanted.
	path := snapshotNames(t, dir)[0]
	if err := os.Truncate(path, 30); err != nil {
		t.Fatal(err)
	}
	d = b.store(dir, 0)
	if _, _, refused := d.Find(b.of(c), b.ids(100), asMany); len(refused) != 1 || !strings.Contains(refused[0].Error(), path) {
		t.Errorf("a cut one: %v", refused)
	}
	if !b.save(d, c, ids) {
		t.Error("a cut one was not replaced")
	}
	if n := b.found(b.store(dir, 0), c, ids); n != 100 {
		t.Errorf("%d tokens of the one in its place are found", n)
	}
}

// TestOthersSnapshotsHideNone keeps one text for many models: each finds its own.
func TestOthersSnapshotsHideNone(t *testing.T) {
	b := newSnapshotBench(t)
	c := snapshotCases()[0]
	ids, d := b.ids(100), b.store(t.TempDir(), 0)
	c.tokens = len(ids)
	s, _ := b.filled(c)
	const models = 3 * candidates
	of := func(i int) SnapshotOf {
		of := b.of(c)
		of.Model = fmt.Sprint("model ", i)
		return of
	}
	for i := range models {
		if _, err := d.Save(t.Context(), of(i), s, SnapshotText{Tokens: ids}, b.port); err != nil {
			t.Fatal(err)
		}
	}
	for i := range models {
		found, n, _ := d.Find(of(i), ids, asMany)
		if found == nil || n != len(ids) {
			t.Errorf("model %d of %d finds %d tokens of its own", i, models, n)
			continue
		}
		_ = found.Close()
	}
}

func TestADamagedSnapshotIsReplaced(t *testing.T) {
	b := newSnapshotBench(t)
	c := snapshotCases()[0]
	ids, dir := b.ids(100), t.TempDir()
	d := b.store(dir, 0)
	b.save(d, c, ids)
	path := snapshotNames(t, dir)[0]
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	whole[len(whole)/2] ^= 1
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	s, n, refused := d.Find(b.of(c), ids, asMany)
	if n != 100 || len(refused) > 0 {
		t.Fatalf("%d tokens, %v", n, refused)
	}
	c.tokens = n
	if _, err := s.Load(t.Context(), b.sequence(c, n, 100), n, b.port); err == nil {
		t.Fatal("a damaged one was loaded")
	}
	_ = s.Close()
	d.Damaged(s)
	if n := b.found(d, c, ids); n != 0 {
		t.Errorf("it is found again: %d tokens", n)
	}
	if !b.save(d, c, ids) || b.found(d, c, ids) != 100 {
		t.Error("it is not replaced")
	}
}

func TestTheLeastRecentlyUsedMakesRoom(t *testing.T) {
	b := newSnapshotBench(t)
	c := snapshotCases()[0]
	dir := t.TempDir()
	texts := [][]int32{b.ids(100), b.ids(100), b.ids(100), b.ids(100), b.ids(100)}
	first := b.store(dir, 0)
	b.save(first, c, texts[0])
	info, err := os.Stat(snapshotNames(t, dir)[0])
	if err != nil {
		t.Fatal(err)
	}
	d := b.store(dir, 3*info.Size()+100)
	pause := func() { time.Sleep(10 * time.Millisecond) } // file times are not exact
	for _, i := range []int{1, 2} {
		pause()
		b.save(d, c, texts[i])
	}
	pause()
	// By another process: this one only sees the file's time.
	if b.found(first, c, texts[0]) != 100 {
		t.Fatal("the first is gone")
	}
	pause()
	b.save(d, c, texts[3])
	for i, want := range []int{100, 0, 100, 100} {
		if n := b.found(b.store(dir, 0), c, texts[i]); n != want {
			t.Errorf("of text %d %d tokens are left; want %d", i, n, want)
		}
		pause()
	}
	b.save(d, c, texts[4]) // now the first is the oldest
	if n := b.found(d, c, texts[0]); n != 0 {
		t.Errorf("text 0 is still there")
	}
	if n := len(snapshotNames(t, dir)); n != 3 {
		t.Errorf("%d files are left; want 3", n)
	}
	c.tokens = 1000
	s, _ := b.filled(c)
	if _, err := d.Save(t.Context(), b.of(c), s, SnapshotText{Tokens: b.ids(1000)}, b.port); err == nil || !strings.Contains(err.Error(), "all together may take") {
		t.Errorf("one that is too large: %v", err)
	}
	if n := len(snapshotNames(t, dir)); n != 3 {
		t.Errorf("one that is too large left %d files", n)
	}
}

// TestNothingHalfIsLeft ends the writing at some batch.
func TestNothingHalfIsLeft(t *testing.T) {
	b := newSnapshotBench(t)
	c := snapshotCases()[0]
	dir := t.TempDir()
	d := b.store(dir, 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s, _ := b.filled(c)
	if _, err := d.Save(ctx, b.of(c), s, SnapshotText{Tokens: b.ids(c.tokens)}, b.port); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 0 {
		t.Errorf("%v is left, %v", entries, err)
	}
	// What a killed process leaves has another name, and goes when it is old.
	half := filepath.Join(dir, ".headinfer-kv-123.tmp")
	if err := os.WriteFile(half, []byte("ARROW1"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, refused := b.store(dir, 0).Find(b.of(c), b.ids(100), asMany); len(refused) > 0 {
		t.Errorf("an unfinished file is read: %v", refused)
	}
	if _, err := os.Stat(half); err != nil {
		t.Errorf("a file that may still be written was removed: %v", err)
	}
	old := time.Now().Add(-2 * staleAfter)
	if err := os.Chtimes(half, old, old); err != nil {
		t.Fatal(err)
	}
	b.store(dir, 0)
	if _, err := os.Stat(half); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an old unfinished file is still there: %v", err)
	}
}

// TestSnapshotsOfSeveralProcesses saves and finds in one directory, with too little
// room for all.
func TestSnapshotsOfSeveralProcesses(t *testing.T) {
	b := newSnapshotBench(t)
	c := snapshotCases()[0]
	dir := t.TempDir()
	var texts [][]int32
	for range 6 {
		texts = append(texts, b.ids(100))
	}
	sequences := map[int]*Sequence{}
	c.tokens = 100
	for i := range texts {
		sequences[i], _ = b.filled(c)
	}
	var all sync.WaitGroup
	for p := range 4 {
		d := b.store(dir, 500_000)
		to := b.sequence(c, 100, 100)
		port := NewSnapshotPort(b.dev)
		all.Go(func() {
			for round := range 30 {
				i := (round*7 + p) % len(texts)
				s, n, refused := d.Find(b.of(c), texts[i], asMany)
				if len(refused) > 0 {
					t.Error(refused)
				}
				if s == nil {
					if _, err := d.Save(context.Background(), b.of(c), sequences[i], SnapshotText{Tokens: texts[i]}, port); err != nil {
						t.Error(err)
					}
					continue
				}
				fresh := *to
				if _, err := s.Load(context.Background(), &fresh, n, port); err != nil {
					t.Error(err)
				}
				d.Used(s)
				_ = s.Close()
			}
		})
	}
	all.Wait()
	for _, path := range snapshotNames(t, dir) {
		s, err := OpenSnapshot(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Verify(t.Context()); err != nil {
			t.Error(err)
		}
		_ = s.Close()
	}
	t.Log(fmt.Sprint(len(snapshotNames(t, dir)), " files are left"))
}
