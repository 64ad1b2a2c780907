//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// slowMatrix has more to measure than there is time for.
const slowMatrix = `
set: { model.path: "random:tiny", device.kind: cpu, device.memory: 256MiB }
axes: { heads.attention.group: [2, 1] }
contexts: [30, 100k]
measures: [prefill, decode]
decode_tokens: 1
`

// TestAblateInterrupt stops an ablation in the middle of its second sample: the first
// is printed and kept, and the next call begins after it.
func TestAblateInterrupt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "m.yaml"), slowMatrix)
	args := []string{"ablate", "m.yaml", "--limits=false", "--out", "kept"}
	out, errOut := interruptAfterARow(t, dir, args...)
	if !strings.HasSuffix(errOut, "headinfer: interrupted; 1 of 12 samples are kept in kept, and the same call goes on from there\n") {
		t.Errorf("on stderr: %s", errOut)
	}
	if !regexp.MustCompile(`(?m)^30 tokens, a prompt that is read\n.*\ngroup=2 +\S+ +1\.00 `).MatchString(out) {
		t.Errorf("printed %s", out)
	}
	for _, name := range []string{"ablation.md", "ablation.json"} {
		if _, err := os.Stat(filepath.Join(dir, "kept", name)); err != nil {
			t.Error(err)
		}
	}
	_, errOut, code := headinfer(t, dir, append(args, "--context", "30", "--repeats", "1")...)
	if code != 0 || !strings.Contains(errOut, `"samples":1,"of":2,`) || strings.Count(errOut, `"message":"measured"`) != 1 {
		t.Errorf("exit code %d: %s", code, errOut)
	}
}

// TestAblateKill kills an ablation with signal 9 again and again: what had been
// measured stays, each sample once, until all is there.
func TestAblateKill(t *testing.T) {
	t.Parallel()
	dir, r := t.TempDir(), random(t)
	write(t, filepath.Join(dir, "m.yaml"), `
set: { model.path: "random:tiny", device.kind: cpu, device.memory: 256MiB }
axes: { heads.attention.group: [3, 2, 1], heads.prefetch.slots: [1, 2] }
contexts: [30, 200, 500]
repeats: 4
decode_tokens: 2
`)
	args := []string{"ablate", "m.yaml", "--limits=false", "--out", "kept", "--json"}
	const samples = 6 * 3 * 4
	path := filepath.Join(dir, "kept", "samples.jsonl")
	// As long as no sample comes before the kill, each call gets twice the time: a machine
	// may be slow.
	kept, grown, patience := 0, 0, time.Duration(1)
	for range 60 {
		c := exec.Command("headinfer", args...)
		c.Dir = dir
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(patience*time.Duration(100+r.IntN(400))*time.Millisecond, func() { _ = c.Process.Kill() })
		err := c.Wait()
		timer.Stop()
		data, _ := os.ReadFile(path) // not there before the first
		if n := bytes.Count(data, []byte("\n")); n < kept {
			t.Fatalf("%d samples after %d", n, kept)
		} else if n > kept {
			kept, grown = n, grown+1
		} else if kept == 0 {
			patience = min(2*patience, 64)
		}
		if err == nil {
			break
		}
	}
	if grown < 3 {
		t.Errorf("it was too quick, or too slow, to be disturbed: samples came %d times", grown)
	}
	out, errOut, code := headinfer(t, dir, args...)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, errOut)
	}
	var report ablateReport
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, s := range report.Samples {
		if seen[s.Key] || s.Error != "" || s.Prefill <= 0 || len(s.Steps) != 2 {
			t.Errorf("sample %+v", s)
		}
		seen[s.Key] = true
	}
	if len(seen) != samples {
		t.Errorf("%d samples; expected %d", len(seen), samples)
	}
	for _, row := range report.Rows {
		for _, c := range row.Cells {
			if c.Repeats != 4 || c.Prefill == nil || c.Decode == nil || c.PrefillSpread == nil {
				t.Errorf("%s at %d: %+v", row.Name, c.Context, c)
			}
		}
	}
}
