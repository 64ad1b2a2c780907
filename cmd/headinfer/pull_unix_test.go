//go:build unix

package main

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestPullInterrupt stops a pull while the weights trickle: the first part is
// kept, and the next pull asks for the rest.
func TestPullInterrupt(t *testing.T) {
	const first = 100_000
	weights, err := repository("testdata", "tiny-llama", "model.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(weights)
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan string, 9)
	sent := make(chan struct{}, 9)
	endpoint := testHub(t, func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/model.safetensors") {
			return false
		}
		asked <- r.Header.Get("Range")
		if len(asked) > 1 {
			return false
		}
		_, _ = w.Write(data[:first])
		_ = http.NewResponseController(w).Flush()
		sent <- struct{}{}
		<-r.Context().Done()
		return true
	})
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, stdout, stderr := hubCommand(t, ctx, dir, endpoint, "pull", "owner/tiny")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	<-sent
	var left []string
	for ctx.Err() == nil {
		if left, err = filepath.Glob(filepath.Join(dir, "hub", "*", "blobs", "*.incomplete")); err != nil {
			t.Fatal(err)
		}
		if len(left) == 1 && lengthOf(left[0]) == first {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	start := time.Now()
	if err := c.Wait(); err == nil || c.ProcessState.ExitCode() != exitInterrupted {
		t.Errorf("it ended with %v: %s", err, stderr)
	}
	if took := time.Since(start); took > promptly {
		t.Errorf("it ended %s after the signal", took)
	}
	if stdout.Len() != 0 || !strings.HasSuffix(stderr.String(), "headinfer: interrupted; what was fetched is kept, and the next pull goes on from there\n") {
		t.Errorf("it said %q, %q", stdout, stderr)
	}
	if len(left) != 1 || lengthOf(left[0]) != first {
		t.Fatalf("%q is left", left)
	}
	if out, errOut, code := withHub(t, dir, endpoint, "pull", "owner/tiny"); code != 0 || !strings.Contains(out, pullCommit) {
		t.Fatalf("the second pull: exit code %d: %s", code, errOut)
	}
	if a, b := <-asked, <-asked; a != "" || b != "bytes=100000-" {
		t.Errorf("it asked for the ranges %q and %q", a, b)
	}
}

// lengthOf returns a file's size, or -1.
func lengthOf(path string) int {
	info, err := os.Stat(path)
	if err != nil {
		return -1
	}
	return int(info.Size())
}
