//go:build unix

package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// promptly is how soon a run has to end after a signal.
const promptly = 10 * time.Second

// TestFaultInterruptWhileCopying stops a run whose chunks are small and whose
// cache is long, so that its time goes into copies.
func TestFaultInterruptWhileCopying(t *testing.T) {
	t.Parallel()
	interruptWhileCopying(t)
}

func interruptWhileCopying(t *testing.T) {
	t.Helper()
	dir := faults(t, slices.Repeat([]string{textOf(random(t), 60000)}, 50)...)
	for wait := 200 * time.Millisecond; ; wait *= 2 {
		c := start(t, dir, nil, "run", "p.yaml", "--json", "--set", "documents.chunked-prefill.chunk=64")
		c.loaded(t)
		time.Sleep(wait)
		if err := c.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		code, took := c.end(t), time.Since(began)
		r := parseReport(t, c.out.String())
		t.Logf("%v after it was loaded, having moved %d bytes to the device and answered %d documents, it took %v to end", wait, r.In, r.Answers, took)
		if code != exitInterrupted {
			t.Fatalf("exit code %d: %s", code, &c.errOut)
		}
		if took > promptly {
			t.Errorf("it ended %v after the signal", took)
		}
		if r.In > 0 {
			break
		}
		if wait > patience/4 {
			t.Fatalf("nothing is copied in the first %v", wait)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "out/answers.jsonl")); !os.IsNotExist(err) {
		t.Errorf("answers.jsonl is there after an interrupted run: %v", err)
	}
}
