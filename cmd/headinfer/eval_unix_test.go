//go:build unix

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestEvalInterrupt stops an evaluation in the middle of its second length:
// what was answered is printed, kept and drawn.
func TestEvalInterrupt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	// The second length is far more than there is time for.
	out, errOut := interruptAfterARow(t, dir, "eval", "--model", "random:tiny", "--device", "cpu", "--context", "400,60k",
		"--depths", "2", "--set", "documents.decode.max_tokens=2", "--out", "scores")
	if !strings.HasSuffix(errOut, "headinfer: interrupted; what was done is printed, and kept in scores\n") {
		t.Errorf("on stderr: %s", errOut)
	}
	if !regexp.MustCompile(`(?m)^niah_single +400 +2 +\d+\.\d$`).MatchString(out) || strings.Contains(out, "60000") {
		t.Errorf("printed %s", out)
	}
	if lines := evalRecords(t, filepath.Join(dir, "scores", "samples.jsonl")); len(lines) != 2 {
		t.Errorf("%d answers are kept", len(lines))
	}
	if _, err := os.Stat(filepath.Join(dir, "scores", "niah_single-adaptive.png")); err != nil {
		t.Error(err)
	}
}
