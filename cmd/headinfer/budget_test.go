package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const budgetFile = `
model:  { path: %q }
device: { memory: 900KiB }
documents:
  - files:           { paths: ["text.txt"] }
  - tokenize:        { prompt: "{{.Text}}" }
  - chunked-prefill: { chunk: 16 }
  - decode:          { max_tokens: 1 }
  - jsonl:           { path: answers.jsonl }
heads:
  - prefetch
  - attention: { group: all }
  - offload
`

var advised = regexp.MustCompile(`(?:device|heads)\.[a-z.]+=\w+`)

// TestBudgetAdvice does what the error of a run over its budget says, as it
// says it: each way then fits.
func TestBudgetAdvice(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "text.txt"), strings.Repeat("wo ", 431))
	write(t, filepath.Join(dir, "p.yaml"), fmt.Sprintf(budgetFile, filepath.ToSlash(tinyModel(t))))
	_, stderr, code := headinfer(t, dir, "run", "p.yaml")
	if code != exitFailed {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	advice := advised.FindAllString(stderr, -1)
	if len(advice) != 3 {
		t.Fatalf("%q in %s", advice, stderr)
	}
	for _, way := range [][]string{advice[:2], advice[2:]} {
		args := []string{"run", "p.yaml", "--restart"}
		for _, option := range way {
			args = append(args, "--set", option)
		}
		if _, stderr, code := headinfer(t, dir, args...); code != 0 {
			t.Errorf("%q: exit code %d: %s", args, code, stderr)
		}
	}
}
