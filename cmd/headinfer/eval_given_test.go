package main

import (
	"math"
	"strings"
	"testing"

	"headinfer/eval"
)

// TestEvalParts counts answers by group, and F1.
func TestEvalParts(t *testing.T) {
	c := newEvalCell("a", &evalCase{task: eval.Task{Name: "x", Groups: []string{"easy", "hard", "long"}}, tokens: 7, skipped: 2, samples: make([]eval.Sample, 3)}, 4)
	for i, score := range []float64{1, 0, 0.5} {
		c.Samples++
		f1 := score / 2
		c.count(evalRecord{Score: score, F1: &f1}, [][]string{{"easy", "long"}, {"hard", "long"}, {"easy"}}[i])
	}
	want := []evalGroup{{"easy", 2, 0.75}, {"hard", 1, 0}, {"long", 2, 0.5}}
	for i, g := range c.Groups {
		if g.Name != want[i].Name || g.Samples != want[i].Samples || math.Abs(g.Score-want[i].Score) > 1e-12 {
			t.Errorf("group %+v, expected %+v", g, want[i])
		}
	}
	if c.F1 == nil || math.Abs(*c.F1-0.25) > 1e-12 || c.Skipped != 2 || c.of != 3 || c.number != 4 {
		t.Errorf("%+v", c)
	}
}

// TestEvalPartRows has the rows of parts below their task's, where there is something to say.
func TestEvalPartRows(t *testing.T) {
	f1 := 0.255
	r := evalReport{
		Methods: []evalMethodName{{Name: "a"}, {Name: "b"}},
		Cells: []evalCell{
			{Method: "a", Task: "x", Tokens: 9, Samples: 2, of: 2, evalGiven: evalGiven{AtMost: true, Skipped: 5, F1: &f1, Groups: []evalGroup{{"easy", 2, 0.5}, {"hard", 0, 0}}}},
			{Method: "b", Task: "x", Tokens: 9, of: 2, Error: "no", evalGiven: evalGiven{AtMost: true, Skipped: 5, Groups: []evalGroup{{"easy", 0, 0}, {"hard", 0, 0}}}},
			{Method: "a", Task: "vt", Tokens: 9, Samples: 1, of: 1, Score: 1},
		},
	}
	var out strings.Builder
	if err := r.print(&out); err != nil {
		t.Fatal(err)
	}
	want := "task tokens samples a b x ≤9 2 0.0 — x, F1 ≤9 2 25.5 — x, easy ≤9 2 50.0 — vt 9 1 100.0 — machine:"
	if got := strings.Join(strings.Fields(out.String()), " "); !strings.HasPrefix(got, want) || strings.Count(got, "x: 5 of 7 questions skipped, whose prompts take more than 9 tokens") != 1 {
		t.Errorf("printed %s", out.String())
	}
}

// TestEvalPromptOf has the length of a prompt that is given, and that asked for of others.
func TestEvalPromptOf(t *testing.T) {
	given := evalCase{tokens: 100, samples: []eval.Sample{{Real: 5}, {Real: 9}}}
	given.task, _ = eval.Find("longbench-v2")
	made := evalCase{tokens: 100, samples: given.samples}
	made.task, _ = eval.Find("vt")
	if given.promptOf(1) != 9 || given.promptOf(2) != 100 || made.promptOf(0) != 100 {
		t.Errorf("%d, %d, %d", given.promptOf(1), given.promptOf(2), made.promptOf(0))
	}
}
