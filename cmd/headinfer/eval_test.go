package main

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// runEval runs the verb and reads what it prints with --json, and what it wrote.
func runEval(t *testing.T, args ...string) (r evalReport, lines []evalRecord) {
	t.Helper()
	dir := t.TempDir()
	stdout, stderr, code := headinfer(t, dir, append([]string{"eval", "--json", "--device", "cpu", "--out", "scores"}, args...)...)
	if code != 0 {
		t.Fatalf("%q: exit code %d: %s", args, code, stderr)
	}
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatalf("%q: %v in %s", args, err, stdout)
	}
	return r, evalRecords(t, filepath.Join(dir, "scores", "samples.jsonl"))
}

// evalRecords reads the answers; every line must be whole.
func evalRecords(t *testing.T, path string) (all []evalRecord) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		var r evalRecord
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v in %q", err, line)
		}
		all = append(all, r)
	}
	return all
}

// TestEvalBuiltin asks the built-in model, which can find needles: right
// answers, the same of every exact method.
func TestEvalBuiltin(t *testing.T) {
	t.Parallel()
	r, lines := runEval(t, "--method", "standard,headinfer-1,tiled", "--task", "niah_single,niah_multikey",
		"--context", "600", "--depths", "3", "--seed", "7", "--set", "heads.attention.span=256")
	if len(r.Cells) != 6 || len(lines) != 18 {
		t.Fatalf("%d cells and %d answers", len(r.Cells), len(lines))
	}
	if r.Identical.Same != 6 || r.Identical.Of != 6 {
		t.Errorf("%d of %d answers are the same", r.Identical.Same, r.Identical.Of)
	}
	for _, c := range r.Cells {
		if c.Samples != 3 || c.Score < 0.6 || c.Score > 1 || c.Seconds <= 0 || c.Error != "" {
			t.Errorf("cell %+v", c)
		}
	}
	sums := map[string]float64{}
	for _, l := range lines {
		if l.Depth == nil || !slices.Contains([]float64{0, 0.5, 1}, *l.Depth) || math.Abs(float64(l.PromptTokens-600)) > 6 ||
			len(l.Expected) != 1 || l.Score != 1 && strings.Contains(l.Answer, l.Expected[0]) || l.Seed < 7 || l.Seed > 9 {
			t.Errorf("record %+v", l)
		}
		sums[l.Method+l.Task] += l.Score
	}
	for _, c := range r.Cells {
		if got := sums[c.Method+c.Task] / 3; math.Abs(got-c.Score) > 1e-12 {
			t.Errorf("%s, %s: the records' mean is %g, the cell says %g", c.Method, c.Task, got, c.Score)
		}
	}
}

// TestEvalLossy asks methods that forget: that is said, and their answers are
// not counted among those that must be the same.
func TestEvalLossy(t *testing.T) {
	t.Parallel()
	r, _ := runEval(t, "--method", "adaptive,standard", "--context", "500", "--depths", "1", "--model", "random:tiny",
		"--set", "documents.decode.max_tokens=2", "--set", "heads.attention.recent=64")
	for _, m := range r.Methods {
		if len(m.Lossy) == 0 || !strings.Contains(m.Lossy[0], "recent=64") {
			t.Errorf("%+v is not said to be lossy", m)
		}
	}
	if r.Identical.Of != 0 {
		t.Errorf("lossy methods are compared: %+v", r.Identical)
	}
}

// TestEvalCompare counts what is alike among answers that were cut short.
func TestEvalCompare(t *testing.T) {
	r := evalReport{
		Methods: []evalMethodName{{Name: "a"}, {Name: "b"}, {Name: "c", Lossy: []string{"much"}}},
		Cells: []evalCell{
			{Method: "a", number: 0, answers: []string{"1", "2", "3"}}, {Method: "a", number: 1, answers: []string{"x"}},
			{Method: "b", number: 0, answers: []string{"1", "7"}}, {Method: "c", number: 0, answers: []string{"0", "2", "3"}},
		},
	}
	r.compare(2)
	if r.Identical != (evalIdentical{Same: 1, Of: 2}) {
		t.Errorf("%+v", r.Identical)
	}
}

// TestEvalTable has rows by task, and says what was cut short.
func TestEvalTable(t *testing.T) {
	r := evalReport{
		Methods: []evalMethodName{{Name: "a"}, {Name: "b"}},
		Cells: []evalCell{
			{Method: "a", Task: "vt", Tokens: 10, Samples: 3, of: 3, Score: 2.0 / 3},
			{Method: "a", Task: "fwe", Tokens: 10, Error: "no"},
			{Method: "a", Task: "vt", Tokens: 20, Samples: 1, of: 3, Score: 1},
			{Method: "b", Task: "vt", Tokens: 10, Samples: 3, of: 3},
		},
	}
	var out strings.Builder
	if err := r.print(&out); err != nil {
		t.Fatal(err)
	}
	want := `task  tokens  samples             a    b
vt        10        3          66.7  0.0
vt        20        1  100.0 (1 of 3)    —
fwe       10        0             —    —
`
	if got := out.String(); !strings.HasPrefix(strings.Join(strings.Fields(got), " "), strings.Join(strings.Fields(want), " ")) || !strings.Contains(got, "\na, fwe at 10 tokens: no\n") {
		t.Errorf("printed %s", got)
	}
}

// TestEvalOutputFails says so when answers cannot be written.
func TestEvalOutputFails(t *testing.T) {
	o, err := createEvalOutput(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := o.samples.Close(); err != nil {
		t.Fatal(err)
	}
	if err := o.add(evalRecord{}); !errors.Is(err, errEvalOutput) {
		t.Errorf("error %v", err)
	}
	if _, err := o.finish(&evalReport{}, nil); err == nil {
		t.Error("a file that was closed before is closed again without an error")
	}
}
