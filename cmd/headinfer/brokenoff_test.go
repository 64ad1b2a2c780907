package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"headinfer/graph"
)

// TestBrokenOffTellsWhatIsLost has the failures of outputs after an interruption in its
// error, and in no other.
func TestBrokenOffTellsWhatIsLost(t *testing.T) {
	full := errors.New("the disk is full")
	for _, c := range []struct {
		err  error
		want string
	}{
		{context.Canceled, "interrupted; all is kept"},
		{fmt.Errorf("a stage: %w", full), "interrupted; all is kept"}, // a consequence
		{errors.Join(context.Canceled, &graph.LateError{Err: full}), "interrupted, and some is lost: the disk is full; it is made again"},
	} {
		err := brokenOff(c.err, "all is kept", "some is lost", "it is made again")
		exit, ok := errors.AsType[*exitError](err)
		if !ok || exit.code != exitInterrupted || !strings.HasSuffix(err.Error(), c.want) {
			t.Errorf("%v became %v", c.err, err)
		}
		if _, late := errors.AsType[*graph.LateError](c.err); late != errors.Is(err, full) {
			t.Errorf("%v hides what failed: %v", err, c.err)
		}
	}
}
