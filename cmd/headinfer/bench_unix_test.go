//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// watched is what a program has written so far.
type watched struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

var _ io.Writer = (*watched)(nil)

// TestBenchInterrupt stops a bench in the middle of its second row: the first
// is printed.
func TestBenchInterrupt(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	// The second row is far more than there is time for.
	c := exec.CommandContext(ctx, "headinfer", "bench", "--json", "--model", "random:tiny", "--device", "cpu",
		"--context", "30,100k", "--chunk", "64", "--limits=false")
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
	if !strings.HasSuffix(errOut.String(), "headinfer: interrupted; the rows that were done are printed\n") {
		t.Errorf("on stderr: %s", errOut.String())
	}
	var r benchReport
	if err := json.Unmarshal(out.Bytes(), &r); err != nil || len(r.Rows) != 1 || r.Rows[0].Context != 30 || r.Rows[0].Decode == nil {
		t.Errorf("%v, %+v", err, r.Rows)
	}
}
