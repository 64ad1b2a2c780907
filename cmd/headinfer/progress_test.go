package main

import (
	"io"
	"testing"
)

// TestProgressFollowsEachDocument guards against a bar that is complete, and
// then frozen or gone, before the last document is.
func TestProgressFollowsEachDocument(t *testing.T) {
	p := &progress{out: io.Discard, show: true}
	p.start(nil)
	for _, step := range []struct{ done, total int }{{512, 1000}, {1000, 1000}, {10, 2000}, {2000, 2000}, {1, 2}} {
		p.Prefill("document", step.done, step.total)
		if got := p.bar.Current(); got != int64(step.done) || p.bar.Completed() {
			t.Errorf("at %d of %d tokens the bar is at %d, complete: %v", step.done, step.total, got, p.bar.Completed())
		}
	}
	p.stop()
}
