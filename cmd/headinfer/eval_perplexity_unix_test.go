//go:build unix

package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestPerplexityInterrupt stops in the middle of the second length: the first
// one's row is printed.
func TestPerplexityInterrupt(t *testing.T) {
	t.Parallel()
	// The second length is far more than there is time for.
	out, errOut := interruptAfterARow(t, t.TempDir(), "eval", "--task", "perplexity", "--json", "--model", "random:tiny", "--device", "cpu",
		"--context", "400,60k", "--samples", "1", "--forced", "5", "--out", "out")
	if !strings.HasSuffix(errOut, "headinfer: interrupted; what was done is printed, and kept in out\n") {
		t.Errorf("on stderr: %s", errOut)
	}
	var r forcedReport
	if err := json.Unmarshal([]byte(out), &r); err != nil || len(r.Rows) != 1 || r.Rows[0].Tokens != 400 || r.Rows[0].ForcedTokens != 5 {
		t.Errorf("%v, %+v", err, r.Rows)
	}
}
