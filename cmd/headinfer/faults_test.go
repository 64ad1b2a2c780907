package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// The tests of faults run on the best device that the build and the machine
// have, so that `make gpu-test` runs them on a GPU.
const faultsFile = `
model:  { path: "random:tiny" }
device: { kind: auto, memory: 1GiB }
documents:
  - read-jsonl:      { path: documents.jsonl }
  - tokenize:        { prompt: "{{.Text}}" }
  - chunked-prefill: { chunk: 1024 }
  - decode:          { max_tokens: 2 }
  - jsonl:           { path: out/answers.jsonl }
heads:
  - prefetch:  { slots: 2 }
  - attention: { group: 1 }
  - offload:   { to: host }
`

// faults makes a directory with p.yaml and documents.jsonl, whose records have
// these texts and the ids 1, 2, …
func faults(t *testing.T, texts ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	write(t, filepath.Join(dir, "p.yaml"), faultsFile)
	var documents strings.Builder
	for i, text := range texts {
		documents.WriteString(document(t, fmt.Sprint(i+1), text))
	}
	write(t, filepath.Join(dir, "documents.jsonl"), documents.String())
	return dir
}

func document(t *testing.T, id, text string) string {
	t.Helper()
	line, err := json.Marshal(map[string]string{"id": id, "text": text})
	if err != nil {
		t.Fatal(err)
	}
	return string(line) + "\n"
}

// textOf is a random text of some tokens, which are bytes to random:tiny.
func textOf(r *rand.Rand, tokens int) string { return words(r, tokens)[:tokens] }

// child is the program, started by a test.
type child struct {
	*exec.Cmd
	out, errOut output
	within      context.Context
}

// output keeps what a program prints, to be read while it runs.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// start runs the program in dir with some variables of its environment changed.
func start(t *testing.T, dir string, env []string, args ...string) *child {
	t.Helper()
	within, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	c := &child{Cmd: exec.CommandContext(within, "headinfer", args...), within: within}
	c.Dir, c.Env = dir, append(os.Environ(), env...)
	c.Stdout, c.Stderr = &c.out, &c.errOut
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

// await waits for something that the program does.
func (c *child) await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for !done() {
		if c.within.Err() != nil {
			t.Fatalf("not after %v: %s\n%s", patience, what, &c.errOut)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// loaded waits for the model.
func (c *child) loaded(t *testing.T) {
	t.Helper()
	c.await(t, "the model is loaded", func() bool { return strings.Contains(c.errOut.String(), `"model loaded"`) })
}

// end waits for the program and returns its exit code.
func (c *child) end(t *testing.T) int {
	t.Helper()
	err := c.Wait()
	if c.within.Err() != nil {
		t.Fatalf("%v has not ended after %v: %v\n%s", c.Args, patience, err, &c.errOut)
	}
	return c.ProcessState.ExitCode()
}

// runReport is what the tests look at in a report.
type runReport struct {
	Device  string `json:"device"`
	Answers int    `json:"answers"`
	In      int64  `json:"moved_in_bytes"`
	Memory  struct {
		Budget int64            `json:"budget_bytes"`
		Peak   int64            `json:"peak_bytes"`
		AtPeak map[string]int64 `json:"at_peak_bytes"`
	} `json:"device_memory"`
}

func parseReport(t *testing.T, stdout string) (r runReport) {
	t.Helper()
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatalf("%v in %q", err, stdout)
	}
	return r
}

// refusal checks how a run ended: with an exit code, no report of success, and
// one last line that says why.
func refusal(t *testing.T, c *child, code int, says string) {
	t.Helper()
	if got := c.end(t); got != code {
		t.Fatalf("exit code %d, and %d was expected: %s", got, code, &c.errOut)
	}
	lines := strings.Split(strings.TrimRight(c.errOut.String(), "\n"), "\n")
	if last := lines[len(lines)-1]; !regexp.MustCompile(says).MatchString(last) {
		t.Errorf("the last line is %q, and %q was expected", last, says)
	}
}

// TestFaultBudget runs a text in what it takes, in a byte less, and in less
// than the weights.
func TestFaultBudget(t *testing.T) {
	t.Parallel()
	dir := faults(t, textOf(random(t), 1500))
	inBudget := func(bytes int64) *child {
		return start(t, dir, nil, "run", "p.yaml", "--restart", "--json", "--set", "heads.offload.to=device", "--set", fmt.Sprintf("device.memory=%d", bytes))
	}
	c := inBudget(1 << 30)
	if code := c.end(t); code != 0 {
		t.Fatalf("exit code %d: %s", code, &c.errOut)
	}
	plenty := parseReport(t, c.out.String()).Memory
	c = inBudget(plenty.Peak)
	if code := c.end(t); code != 0 {
		t.Fatalf("in a budget of the %d bytes that it took, exit code %d: %s", plenty.Peak, code, &c.errOut)
	}
	if exact := parseReport(t, c.out.String()).Memory; exact.Peak != exact.Budget {
		t.Errorf("a peak of %d of a budget of %d, which was the peak before", exact.Peak, exact.Budget)
	}
	refusal(t, inBudget(plenty.Peak-1), exitFailed, `^headinfer: .* asked for \S+ \S+ of device memory, and .* of the budget of .* is left; .*device\.memory=\d+MiB`)
	refusal(t, inBudget(plenty.AtPeak["weights"]-1), exitFailed, `^headinfer: .*\(weights\) asked for .* is left; device\.memory=\d+MiB or more is needed for the weights alone$`)
	refusal(t, inBudget(1), exitFailed, `^headinfer: .* of the budget of 1 B is left; `)
}

// TestFaultNoDevice hides the GPU, where there is one: to ask for it is an
// error that says why there is none, and auto goes on with the processor.
func TestFaultNoDevice(t *testing.T) {
	t.Parallel()
	dir := faults(t, "a short text")
	hidden := []string{"CUDA_VISIBLE_DEVICES="}
	refusal(t, start(t, dir, hidden, "run", "p.yaml", "--device", "cuda"), exitUsage,
		`^headinfer: device\.kind: cuda: (this build has no GPU support; .*|no NVIDIA driver: .*libcuda.*|the NVIDIA driver .*no device.*); or use cpu or auto$`)
	if _, err := os.Stat(filepath.Join(dir, "out")); !os.IsNotExist(err) {
		t.Errorf("out is there: %v", err)
	}
	goesOn(t, start(t, dir, hidden, "run", "p.yaml", "--device", "auto", "--json"))
}

// goesOn checks that a run has answered its document on the processor, and has
// said so when it began.
func goesOn(t *testing.T, c *child) {
	t.Helper()
	if code := c.end(t); code != 0 {
		t.Fatalf("exit code %d: %s", code, &c.errOut)
	}
	if !regexp.MustCompile(`"device":"[^"]* threads[^"]*".*"model loaded"`).MatchString(c.errOut.String()) {
		t.Errorf("no line of the log names the processor: %s", &c.errOut)
	}
	if r := parseReport(t, c.out.String()); r.Answers != 1 || !strings.Contains(r.Device, " threads") {
		t.Errorf("%d answers on %q", r.Answers, r.Device)
	}
}

// TestFaultHostMemory has the second of three documents go past the budget of
// host memory.
func TestFaultHostMemory(t *testing.T) {
	t.Parallel()
	dir := faults(t, "a short text", textOf(random(t), 20000), "another")
	refusal(t, start(t, dir, nil, "run", "p.yaml", "--set", "device.host_memory=64MiB"), exitFailed,
		`^headinfer: stage "chunked-prefill": .*KV cache of \d+ tokens.* of the budget of 64 MiB is left.*device\.host_memory`)
	if _, err := os.Stat(filepath.Join(dir, "out/answers.jsonl")); !os.IsNotExist(err) {
		t.Errorf("answers.jsonl is there after a run that failed: %v", err)
	}
	// The third may have been in flight with the first.
	for _, a := range readAnswers(t, filepath.Join(dir, "out/answers.jsonl.partial")) {
		if a.ID == "2" || a.AnswerTokens == 0 {
			t.Errorf("among the finished answers is %+v", a)
		}
	}
}
