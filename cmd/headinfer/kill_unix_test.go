//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const killedFile = `
model: { path: "random:tiny" }
device: { kind: cpu, memory: 256MiB }
documents:
  - read-jsonl:      { path: documents.jsonl }
  - tokenize:        { prompt: "{{.Text}}" }
  - chunked-prefill: { chunk: 64 }
  - decode:          { max_tokens: 8 }
  - jsonl:           { path: out/answers.jsonl, order: %s }
heads: [prefetch, attention, offload]
`

// TestKill kills a run with signal 9 at random instants, twenty times and more,
// and starts it again each time: in the end its answers are those of a run that
// nobody disturbed, each once.
func TestKill(t *testing.T) {
	t.Parallel()
	for _, order := range []string{"completion", "input"} {
		t.Run(order, func(t *testing.T) {
			t.Parallel()
			r, dir := random(t), t.TempDir()
			const kills = 20
			many := 600
			if raceDetector { // which makes all of it some twenty times as slow
				many = 150
			}
			var documents strings.Builder
			for i := range many {
				documents.WriteString(document(t, fmt.Sprint(i), textOf(r, 1+r.IntN(60))))
			}
			write(t, filepath.Join(dir, "documents.jsonl"), documents.String())
			write(t, filepath.Join(dir, "p.yaml"), fmt.Sprintf(killedFile, order))
			began := time.Now()
			if _, stderr, code := headinfer(t, dir, "run", "p.yaml", "--set", "documents.jsonl.path=out/whole.jsonl"); code != 0 {
				t.Fatalf("exit code %d: %s", code, stderr)
			}
			took := time.Since(began)

			killed, grown, last := 0, 0, 0
			starting := took / 50 // until there is more to see
			partial := filepath.Join(dir, "out/answers.jsonl.partial")
			for killed < kills {
				c := exec.Command("headinfer", "run", "p.yaml", "--json")
				c.Dir = dir
				var errOut bytes.Buffer
				c.Stderr = &errOut
				if err := c.Start(); err != nil {
					t.Fatal(err)
				}
				// Some while it starts, most while it writes.
				timer := time.AfterFunc(starting+time.Duration(r.Int64N(int64(took/kills+1))), func() { _ = c.Process.Kill() })
				_ = c.Wait()
				timer.Stop()
				if status, ok := c.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() {
					if c.ProcessState.ExitCode() != 0 {
						t.Fatalf("after %d kills: exit code %d: %s", killed, c.ProcessState.ExitCode(), &errOut)
					}
					break // it was done before
				}
				killed++
				if data, err := os.ReadFile(partial); err == nil {
					if n := bytes.Count(data, []byte("\n")); n > last {
						grown, last = grown+1, n
						continue
					}
				}
				starting += starting / 2
			}
			t.Logf("an undisturbed run took %v; killed %d times, %d of them after more answers, %d in the end", took, killed, grown, last)
			if killed < kills/2 || grown < 3 {
				t.Errorf("it was too quick to be disturbed")
			}
			stdout, stderr, code := headinfer(t, dir, "run", "p.yaml", "--json")
			if code != 0 {
				t.Fatalf("the last run: exit code %d: %s", code, stderr)
			}
			var report struct {
				Outputs []struct {
					Complete bool
					Records  int
				}
			}
			if err := json.Unmarshal([]byte(stdout), &report); err != nil || len(report.Outputs) != 1 || !report.Outputs[0].Complete || report.Outputs[0].Records != many {
				t.Errorf("%v: the report is %s", err, stdout)
			}
			got, want := readAnswers(t, filepath.Join(dir, "out/answers.jsonl")), readAnswers(t, filepath.Join(dir, "out/whole.jsonl"))
			if order == "completion" {
				byID := func(a, b record) int { return strings.Compare(a.ID, b.ID) }
				slices.SortFunc(got, byID)
				slices.SortFunc(want, byID)
			}
			if len(got) != many || !slices.Equal(got, want) {
				t.Errorf("%d answers, %d undisturbed; the first that differs: %s", len(got), len(want), firstDifference(got, want))
			}
			left, err := filepath.Glob(filepath.Join(dir, "out/answers.jsonl.*"))
			for _, name := range left {
				// Of a process that was killed after it had renamed all, the status stays.
				if ext := filepath.Ext(name); ext != ".run" && ext != ".records" && ext != ".status" {
					t.Errorf("%s is left, %v", name, err)
				}
			}
		})
	}
}

func firstDifference(got, want []record) string {
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return fmt.Sprintf("%+v, expected %+v", got[i], want[i])
		}
	}
	return "none in what both have"
}

// TestStatusOfARun looks at a run while a process is at it, after that is killed,
// and from beside a second one, which is refused.
func TestStatusOfARun(t *testing.T) {
	t.Parallel()
	r, dir := random(t), t.TempDir()
	var documents strings.Builder
	documents.WriteString(document(t, "empty", ""))
	for i := range 20000 {
		documents.WriteString(document(t, fmt.Sprint(i), textOf(r, 1+r.IntN(60))))
	}
	write(t, filepath.Join(dir, "documents.jsonl"), documents.String())
	write(t, filepath.Join(dir, "p.yaml"), fmt.Sprintf(killedFile, "completion"))
	c := start(t, dir, nil, "run", "p.yaml")
	status := func() (s struct {
		Running  bool
		Process  int
		Complete bool
		Records  int
	}) {
		stdout, _, code := headinfer(t, dir, "status", "out/answers.jsonl", "--json")
		if code == 0 {
			all := []any{&s}
			if err := json.Unmarshal([]byte(stdout), &all); err != nil {
				t.Fatalf("%v in %s", err, stdout)
			}
		}
		return s
	}
	c.await(t, "status shows records", func() bool { return status().Records > 0 })
	if s := status(); !s.Running || s.Process != c.Process.Pid || s.Complete {
		t.Errorf("while it runs: %+v", s)
	}
	if _, stderr, code := headinfer(t, dir, "run", "p.yaml"); code != exitUsage ||
		!strings.Contains(stderr, fmt.Sprintf("another run is writing it: the run, process %d since ", c.Process.Pid)) {
		t.Errorf("a second run: exit code %d: %s", code, stderr)
	}
	if _, stderr, code := headinfer(t, dir, "run", "p.yaml", "--restart"); code != exitUsage || !strings.Contains(stderr, "another run is writing it") {
		t.Errorf("a second run that starts over: exit code %d: %s", code, stderr)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "out/dead-letters.jsonl")); err != nil || !bytes.Contains(data, []byte("missing or empty")) {
		t.Errorf("a run that was refused has taken the other's dead letters: %q, %v", data, err)
	}
	if s := status(); !s.Running || s.Process != c.Process.Pid || s.Records == 0 {
		t.Errorf("after it: %+v", s)
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait()
	if s := status(); s.Running || s.Complete || s.Records == 0 {
		t.Errorf("after it was killed: %+v", s)
	}
	stdout, _, _ := headinfer(t, dir, "status", "p.yaml")
	if !strings.Contains(stdout, "stopped; run again to go on") {
		t.Errorf("status says %s", stdout)
	}
}
