//go:build unix

package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestEvalInterrupt stops an evaluation in the middle of its second length:
// what was answered is printed, kept and drawn.
func TestEvalInterrupt(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	// The second length is far more than there is time for.
	c := exec.CommandContext(ctx, "headinfer", "eval", "--model", "random:tiny", "--device", "cpu", "--context", "400,60k",
		"--depths", "2", "--set", "documents.decode.max_tokens=2", "--out", "scores")
	var out bytes.Buffer
	var errOut watched
	c.Dir, c.Stdout, c.Stderr = t.TempDir(), &out, &errOut
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
		t.Fatalf("exit code %d, %v: %s", code, err, errOut.String())
	}
	if !strings.HasSuffix(errOut.String(), "headinfer: interrupted; what was done is printed, and kept in scores\n") {
		t.Errorf("on stderr: %s", errOut.String())
	}
	if !regexp.MustCompile(`(?m)^niah_single +400 +2 +\d+\.\d$`).MatchString(out.String()) || strings.Contains(out.String(), "60000") {
		t.Errorf("printed %s", &out)
	}
	if lines := evalRecords(t, filepath.Join(c.Dir, "scores", "samples.jsonl")); len(lines) != 2 {
		t.Errorf("%d answers are kept", len(lines))
	}
	if _, err := os.Stat(filepath.Join(c.Dir, "scores", "niah_single-adaptive.png")); err != nil {
		t.Error(err)
	}
}
