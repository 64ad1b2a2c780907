package main

import (
	"io"
	"testing"
	"time"

	"headinfer/graph"
)

// TestPace says how many are done, how fast, and how long the rest takes: what
// earlier runs did is no part of the rate, and nothing is guessed.
func TestPace(t *testing.T) {
	stats := []graph.Stats{{Name: "files", Out: 60, Dead: 2}, {Name: "tokenize", In: 58, Out: 30, Dead: 3}, {Name: "decode", In: 22, Out: 20}, {Name: "jsonl", In: 20}}
	for _, c := range []struct {
		total int64
		took  time.Duration
		want  string
	}{
		{100, 10 * time.Second, "20 of 100 done, 2/s, 25s left"}, // 20 + 5 dead + 25 by earlier runs are gone
		{0, 10 * time.Second, "20 done, 2/s"},
		{100, time.Second / 2, "20 of 100 done, 40/s"},
		{40, 10 * time.Second, "20 of 40 done, 2/s"},
	} {
		if got := paceOf(stats, c.total, c.took).String(); got != c.want {
			t.Errorf("of %d after %v: %q, expected %q", c.total, c.took, got, c.want)
		}
	}
	if got := paceOf(make([]graph.Stats, 4), 100, time.Minute).String(); got != "0 of 100 done" {
		t.Errorf("before the first: %q", got)
	}
}

// TestProgressFollowsEachDocument guards against a bar that is complete, and
// then frozen or gone, before the last document is.
func TestProgressFollowsEachDocument(t *testing.T) {
	p := &progress{out: io.Discard, show: true}
	p.start(nil, 0)
	for _, step := range []struct{ done, total int }{{512, 1000}, {1000, 1000}, {10, 2000}, {2000, 2000}, {1, 2}} {
		p.Prefill("document", step.done, step.total)
		if got := p.bar.Current(); got != int64(step.done) || p.bar.Completed() {
			t.Errorf("at %d of %d tokens the bar is at %d, complete: %v", step.done, step.total, got, p.bar.Completed())
		}
	}
	p.stop()
}
