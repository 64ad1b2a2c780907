//go:build unix

package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// interruptAfterARow runs the program in dir until it has measured something,
// interrupts it while it measures on, and returns what it has printed.
func interruptAfterARow(t *testing.T, dir string, args ...string) (stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := exec.CommandContext(ctx, "headinfer", args...)
	var out, errOut output
	c.Dir, c.Stdout, c.Stderr = dir, &out, &errOut
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	for ctx.Err() == nil && !strings.Contains(errOut.String(), `"message":"measured"`) {
		time.Sleep(5 * time.Millisecond)
	}
	time.Sleep(50 * time.Millisecond)
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	err := c.Wait()
	if code := c.ProcessState.ExitCode(); code != exitInterrupted || ctx.Err() != nil {
		t.Fatalf("exit code %d, %v: %s", code, err, &errOut)
	}
	return out.String(), errOut.String()
}

// TestBenchInterrupt stops a bench in the middle of its second row: the first
// is printed.
func TestBenchInterrupt(t *testing.T) {
	t.Parallel()
	// The second row is far more than there is time for.
	out, errOut := interruptAfterARow(t, t.TempDir(), "bench", "--json", "--model", "random:tiny", "--device", "cpu",
		"--context", "30,100k", "--chunk", "64", "--limits=false")
	if !strings.HasSuffix(errOut, "headinfer: interrupted; the rows that were done are printed\n") {
		t.Errorf("on stderr: %s", errOut)
	}
	var r benchReport
	if err := json.Unmarshal([]byte(out), &r); err != nil || len(r.Rows) != 1 || r.Rows[0].Context != 30 || r.Rows[0].Decode == nil {
		t.Errorf("%v, %+v", err, r.Rows)
	}
}
