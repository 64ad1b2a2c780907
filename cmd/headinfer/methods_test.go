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
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// patience bounds every program that a test starts, and every wait for one.
const patience = 40 * time.Second

// headinfer runs the program in a directory and returns what it printed.
func headinfer(t *testing.T, dir string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := exec.CommandContext(ctx, "headinfer", args...)
	var out, errOut bytes.Buffer
	c.Dir, c.Stdout, c.Stderr = dir, &out, &errOut
	err := c.Run()
	if ctx.Err() != nil {
		t.Fatalf("headinfer %q has not ended after %v:\n%s", args, patience, &errOut)
	}
	if c.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), errOut.String(), c.ProcessState.ExitCode()
}

// words writes n random words.
func words(r *rand.Rand, n int) string {
	var b strings.Builder
	for range n {
		for range 1 + r.IntN(7) {
			b.WriteByte(byte('a' + r.IntN(26)))
		}
		b.WriteByte(" \n"[r.IntN(8)/7])
	}
	return b.String()
}

func random(t *testing.T) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func readAnswers(t *testing.T, path string) []record {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	all, err := records(data)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return all
}

// tinyModel is the path of the model that the tests run.
func tinyModel(t *testing.T) string {
	t.Helper()
	path, err := repository("testdata", "tiny-llama")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// randomDocuments writes documents of a few and of many tokens, and returns
// the pattern that matches them.
func randomDocuments(t *testing.T, dir string) string {
	t.Helper()
	r := random(t)
	for i, n := range []int{1, 2 + r.IntN(5), 20 + r.IntN(40), 120 + r.IntN(160)} {
		write(t, filepath.Join(dir, "texts", fmt.Sprintf("%d.txt", i)), words(r, n))
	}
	return filepath.Join(dir, "texts", "*.txt")
}

const methodsFile = `
model:  { path: "${TEST_MODEL}" }
device: { kind: cpu, memory: 64MiB }
documents:
  - files:           { paths: ["${TEST_TEXTS}"], question: "Where is it?" }
  - tokenize:        { prompt: "{{.Text}} {{.Question}}" }
  - chunked-prefill: { chunk: %s }
  - decode:          { max_tokens: 9 }
  - jsonl:           { path: answers.jsonl, order: input }
heads:
  - prefetch:  { slots: %s }
  - attention: { group: %s, span: %s }
  - offload:   { to: %s }
`

// TestMethodsAgree runs every method over the same random documents: each is
// another shape of the tile, and all compute the same function.
func TestMethodsAgree(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	env := map[string]string{"TEST_MODEL": filepath.ToSlash(tinyModel(t)), "TEST_TEXTS": filepath.ToSlash(randomDocuments(t, dir))}
	type report struct {
		In     int64 `json:"moved_in_bytes"`
		Out    int64 `json:"moved_out_bytes"`
		Memory struct {
			Budget int64 `json:"budget_bytes"`
			Peak   int64 `json:"peak_bytes"`
		} `json:"device_memory"`
	}
	var standard []record
	for _, m := range []struct{ name, chunk, slots, group, span, to string }{
		{"standard", "none", "none", "all", "all", "device"}, // the first is what the others are held against
		{"chunked prefill", "61", "none", "all", "all", "device"},
		{"layer-wise", "61", "2", "all", "all", "host"},
		{"head-wise by 8", "61", "2", "8", "all", "host"}, // more than the model has
		{"head-wise by 4", "61", "2", "4", "all", "host"},
		{"head-wise by 3", "47", "3", "3", "all", "host"}, // which does not divide 4
		{"head-wise by 2", "61", "2", "2", "all", "host"},
		{"head-wise by 1", "61", "2", "1", "all", "host"},
		{"adaptive", "auto", "2", "adaptive", "all", "host"},
		{"tiled by auto", "auto", "2", "1", "auto", "host"},
		{"tiled", "61", "2", "1", "53", "host"},
		{"tiled by 2 of 7", "33", "5", "2", "7", "host"},
		{"tiled, one slot", "1024", "1", "adaptive", "64", "host"},
		{"tiled on the device", "19", "none", "1", "31", "device"},
	} {
		text := fmt.Sprintf(methodsFile, m.chunk, m.slots, m.group, m.span, m.to)
		for name, value := range env {
			text = strings.ReplaceAll(text, "${"+name+"}", value)
		}
		write(t, filepath.Join(dir, "method.yaml"), text)
		stdout, stderr, code := headinfer(t, dir, "run", "method.yaml", "--restart", "--json")
		if code != 0 {
			t.Fatalf("%s: exit code %d: %s", m.name, code, stderr)
		}
		var r report
		if err := json.Unmarshal([]byte(stdout), &r); err != nil {
			t.Fatalf("%s: %v in %s", m.name, err, stdout)
		}
		if onHost := m.to == "host"; onHost != (r.Out > 0) || onHost != (r.In > 0) {
			t.Errorf("%s: %d bytes moved to the device, %d to the host, with the cache on the %s", m.name, r.In, r.Out, m.to)
		}
		if r.Memory.Peak <= 0 || r.Memory.Peak > r.Memory.Budget || r.Memory.Budget != 64<<20 {
			t.Errorf("%s: a peak of %d of a budget of %d", m.name, r.Memory.Peak, r.Memory.Budget)
		}
		got := readAnswers(t, filepath.Join(dir, "answers.jsonl"))
		if len(got) != 4 {
			t.Fatalf("%s: %d answers to 4 documents", m.name, len(got))
		}
		if standard == nil {
			standard = got
		}
		if !reflect.DeepEqual(got, standard) {
			t.Errorf("%s answers\n%+v, and standard\n%+v", m.name, got, standard)
		}
	}
}

// TestShippedPipelines lints every pipeline of the repository and runs it with
// the tiny model: all of them answer the same, but for those that say that they
// are lossy.
func TestShippedPipelines(t *testing.T) {
	t.Parallel()
	pattern, err := repository("pipelines", "*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	first, err := repository("pipeline.yaml")
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, first)
	if len(files) < 10 {
		t.Fatalf("only %d pipelines: %q", len(files), files)
	}
	dir := t.TempDir()
	stdout, stderr, code := headinfer(t, dir, append([]string{"lint"}, files...)...)
	if want := fmt.Sprintf("%d files, no problems\n", len(files)); code != 0 || stdout != want || stderr != "" {
		t.Fatalf("exit code %d, %q, %q; expected 0, %q", code, stdout, stderr, want)
	}
	texts, tiny := randomDocuments(t, dir), tinyModel(t)
	var standard []record
	for _, file := range files {
		name, model := filepath.Base(file), tiny
		if strings.HasPrefix(name, "int") {
			model = "builtin" // the tiny one's heads are too small for the codes
		}
		said, stderr, code := headinfer(t, dir, "run", file,
			"--set", "model.path="+model, "--set", "documents.files.paths="+texts,
			"--set", "documents.tokenize.chat=false", "--set", "documents.decode.max_tokens=5",
			"--set", "documents.jsonl.path="+name+".jsonl", "--set", "documents.jsonl.order=input")
		if code != 0 {
			t.Fatalf("%s: exit code %d: %s", name, code, stderr)
		}
		got := readAnswers(t, filepath.Join(dir, name+".jsonl"))
		if len(got) != 4 {
			t.Fatalf("%s: %d answers to 4 documents", name, len(got))
		}
		if standard == nil {
			standard = got
		}
		lossy := strings.Contains(said, "lossy  ")
		if lossy != slices.Contains([]string{"h2o.yaml", "int4.yaml", "int8.yaml", "streaming-llm.yaml"}, name) {
			t.Errorf("%s says that it is lossy: %t", name, lossy)
		}
		if !lossy && !reflect.DeepEqual(got, standard) {
			t.Errorf("%s answers\n%+v, and %s\n%+v", name, got, filepath.Base(files[0]), standard)
		}
	}
}
