//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const interruptedFile = `
model: { path: %q }
documents:
  - read-jsonl:      { path: documents.jsonl }
  - tokenize:        { prompt: "{{.Text}}" }
  - chunked-prefill: { chunk: 5 }
  - decode:          { max_tokens: 6 }
  - jsonl:           { path: out/answers.jsonl, mode: %s }
heads: [prefetch, attention, offload]
`

// TestInterrupt stops a run in its middle, as Ctrl-C and a service manager do:
// every finished record is there and whole, and the next run goes on with them, or
// starts over.
func TestInterrupt(t *testing.T) {
	for _, c := range []struct {
		name, mode, file string
		signal           os.Signal
	}{
		{"Ctrl-C", "resume", "out/answers.jsonl.partial", os.Interrupt},
		{"SIGTERM", "resume", "out/answers.jsonl.partial", syscall.SIGTERM},
		{"append", "append", "out/answers.jsonl", os.Interrupt},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			r := random(t)
			const many = 20000 // far more than there is time for
			var documents strings.Builder
			for i := range many {
				text, err := json.Marshal(words(r, 1+r.IntN(5)))
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprintf(&documents, `{"id":"%d","text":%s}`+"\n", i, text)
			}
			write(t, filepath.Join(dir, "documents.jsonl"), documents.String())
			write(t, filepath.Join(dir, "p.yaml"), fmt.Sprintf(interruptedFile, tinyModel(t), c.mode))
			before := "an earlier run's\n"
			if c.mode == "append" {
				before = ""
			}
			write(t, filepath.Join(dir, "out/answers.jsonl"), before)

			stdout, stderr, code := stopAfter(t, dir, c.signal, filepath.Join(dir, c.file), 3, "--trace", "trace.json")
			if code != exitInterrupted {
				t.Fatalf("exit code %d: %s", code, stderr)
			}
			if !strings.HasSuffix(stderr, "running again goes on from there\n") || !strings.Contains(stderr, "\nheadinfer: interrupted; ") {
				t.Errorf("on stderr: %q", stderr)
			}
			got := readAnswers(t, filepath.Join(dir, c.file))
			if len(got) < 3 || len(got) >= many {
				t.Fatalf("%d records", len(got))
			}
			seen := map[string]bool{}
			for i, a := range got {
				if n, err := strconv.Atoi(a.ID); err != nil || n > i+100 || seen[a.ID] || a.AnswerTokens < 1 {
					t.Fatalf("record %d is %+v", i, a)
				}
				seen[a.ID] = true
			}
			checkInterruptedReport(t, stdout, len(got))
			checkInterruptedTrace(t, filepath.Join(dir, "trace.json"), len(got))
			if c.mode == "append" {
				return
			}
			if old, err := os.ReadFile(filepath.Join(dir, "out/answers.jsonl")); err != nil || string(old) != before {
				t.Errorf("the earlier run's output is now %q, %v", old, err)
			}

			// The next one goes on.
			if _, stderr, code = stopAfter(t, dir, c.signal, filepath.Join(dir, c.file), len(got)+3); code != exitInterrupted {
				t.Fatalf("the second run: exit code %d: %s", code, stderr)
			}
			more := readAnswers(t, filepath.Join(dir, c.file))
			for i, a := range got {
				if more[i] != a {
					t.Fatalf("record %d was %+v and is %+v", i, a, more[i])
				}
			}
			for _, a := range more[len(got):] {
				if seen[a.ID] {
					t.Fatalf("%s is answered twice", a.ID)
				}
				seen[a.ID] = true
			}

			// Other documents in the same file are another run's.
			write(t, filepath.Join(dir, "documents.jsonl"), `{"id":"last","text":"the end"}`+"\n")
			if _, stderr, code := headinfer(t, dir, "run", "p.yaml"); code != exitUsage || !strings.Contains(stderr, "input documents.jsonl was ") {
				t.Fatalf("with other documents: exit code %d: %s", code, stderr)
			}
			if _, stderr, code := headinfer(t, dir, "run", "p.yaml", "--restart"); code != 0 {
				t.Fatalf("the second run: exit code %d: %s", code, stderr)
			}
			if again := readAnswers(t, filepath.Join(dir, "out/answers.jsonl")); len(again) != 1 || again[0].ID != "last" {
				t.Errorf("the second run wrote %+v", again)
			}
			if _, err := os.Stat(filepath.Join(dir, c.file)); !os.IsNotExist(err) {
				t.Errorf("%s is left: %v", c.file, err)
			}
		})
	}
}

// checkInterruptedReport checks that the report counts what was written.
func checkInterruptedReport(t *testing.T, stdout string, written int) {
	t.Helper()
	var report struct {
		Stages []map[string]any `json:"stages"`
	}
	if err := json.Unmarshal([]byte(stdout), &report); err != nil {
		t.Fatalf("%v in %s", err, stdout)
	}
	if n := len(report.Stages); n != 5 || !strings.Contains(fmt.Sprint(report.Stages[n-1]), fmt.Sprintf(" in:%d ", written)) {
		t.Errorf("%d records were written, and the report says %v", written, report.Stages)
	}
}

// checkInterruptedTrace checks that a trace is whole and has every document
// that was written.
func checkInterruptedTrace(t *testing.T, path string, written int) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, _, spans, err := parseTrace(data)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(spans["host: documents: jsonl"]); n != written {
		t.Errorf("%d records were written, and the trace has %d", written, n)
	}
	if n := len(spans["host: passes"]); n < written {
		t.Errorf("%d records were written, and the trace has %d passes", written, n)
	}
}

// stopAfter runs p.yaml in dir, with some flags, sends a signal when a file has some records,
// and returns how the program ended.
func stopAfter(t *testing.T, dir string, signal os.Signal, file string, records int, flags ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := exec.CommandContext(ctx, "headinfer", append([]string{"run", "p.yaml", "--json"}, flags...)...)
	var out, errOut bytes.Buffer
	c.Dir, c.Stdout, c.Stderr = dir, &out, &errOut
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	for ctx.Err() == nil {
		if data, err := os.ReadFile(file); err == nil && bytes.Count(data, []byte("\n")) >= records {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if err := c.Process.Signal(signal); err != nil {
		t.Error(err)
	}
	err := c.Wait()
	if ctx.Err() != nil {
		t.Fatalf("not %d records, or no end, after %v: %v\n%s", records, patience, err, &errOut)
	}
	return out.String(), errOut.String(), c.ProcessState.ExitCode()
}

// TestInterruptPrefill stops a run while it reads its first document: nothing
// is finished, so nothing is left.
func TestInterruptPrefill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := random(t)
	text, err := json.Marshal(words(r, 330))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "documents.jsonl"), strings.Repeat(fmt.Sprintf(`{"text":%s}`+"\n", text), 50))
	p := strings.ReplaceAll(fmt.Sprintf(interruptedFile, tinyModel(t), "resume"), "chunk: 5", "chunk: 1")
	write(t, filepath.Join(dir, "p.yaml"), p)
	_, stderr, code := stopAfter(t, dir, os.Interrupt, filepath.Join(dir, "out/answers.jsonl.partial"), 0)
	if code != exitInterrupted {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	left, err := os.ReadDir(filepath.Join(dir, "out"))
	if err != nil || len(left) != 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}
