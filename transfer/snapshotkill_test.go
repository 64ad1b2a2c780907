package transfer

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

// killedDir names the directory that a test process writes to until it is killed.
const killedDir = "HEADINFER_TEST_KILLED_DIR"

// TestKilledWhileWriting kills processes that write snapshots: what is there under
// its name afterwards is whole.
func TestKilledWhileWriting(t *testing.T) {
	b := newSnapshotBench(t)
	c := snapshotCases()[0]
	if dir := os.Getenv(killedDir); dir != "" {
		d := b.store(dir, 0)
		s, _ := b.filled(c)
		for range 100_000 {
			if _, err := d.Save(t.Context(), b.of(c), s, SnapshotText{Tokens: b.ids(c.tokens)}, b.port); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
	dir := t.TempDir()
	for range 12 {
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledWhileWriting$")
		child.Env = append(os.Environ(), killedDir+"="+dir)
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		for range 1000 { // until it has begun to write
			if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Duration(50+b.rnd.IntN(150)) * time.Millisecond)
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = child.Wait() // it was killed
	}
	all, err := ListSnapshots(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		s, err := OpenSnapshot(f.Path)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Verify(t.Context()); err != nil {
			t.Error(err)
		}
		_ = s.Close() // was only read
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	unfinished := len(entries) - len(all)
	t.Logf("%d snapshots were written, %d were not finished", len(all), unfinished)
	if len(all) == 0 {
		t.Error("nothing was written")
	}
	if err := RemoveUnfinished(dir, 0); err != nil {
		t.Fatal(err)
	}
	if entries, err = os.ReadDir(dir); err != nil || len(entries) != len(all) {
		t.Errorf("%d files are left, %v; want %d", len(entries), err, len(all))
	}
}
