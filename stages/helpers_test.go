package stages

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"testing"

	"headinfer/config"
	"headinfer/kernels"
	"headinfer/kernels/cpu"
	"headinfer/model"
)

const (
	tinyLlama = "../testdata/tiny-llama"
	smolLM2   = "../models/SmolLM2-135M-Instruct.Q4_1.gguf"
)

// methods are the pipelines of the paper's methods.
var methods = []string{
	"standard", "chunked-prefill", "layer-wise", "headinfer-8", "headinfer-4", "headinfer-2", "headinfer-1", "adaptive", "tiled",
}

// load reads ../pipelines/METHOD.yaml with some options changed.
func load(t testing.TB, method string, sets ...string) *config.Pipeline {
	t.Helper()
	registry, err := Registry()
	if err != nil {
		t.Fatal(err)
	}
	p, err := config.LoadFile("../pipelines/"+method+".yaml", registry, sets)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// opener opens the device that a test runs on, with a budget in bytes.
type opener func(budget int64) (kernels.Device, error)

// twoThreads is the CPU device of most tests.
func twoThreads(budget int64) (kernels.Device, error) { return cpu.Open(budget, 2), nil }

// tryEngine puts a method's engine together on a CPU device of two threads.
func tryEngine(t testing.TB, p *config.Pipeline, path string) (*Engine, error) {
	t.Helper()
	return tryEngineOn(t, twoThreads, p, path)
}

// tryEngineOn puts a method's engine together, for as long as the test runs.
func tryEngineOn(t testing.TB, open opener, p *config.Pipeline, path string) (*Engine, error) {
	t.Helper()
	registry, err := Registry()
	if err != nil {
		t.Fatal(err)
	}
	_, heads, err := Graphs(registry, p)
	if err != nil {
		t.Fatal(err)
	}
	checkpoint, err := model.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	dev, err := open(int64(p.Device.Memory))
	if err != nil {
		t.Fatal(errors.Join(err, checkpoint.Close()))
	}
	e, err := NewEngine(checkpoint, dev, EngineOptions{Heads: heads, KeepSpans: true})
	t.Cleanup(func() {
		if e != nil {
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
		if u := dev.Ledger().Usage(); e != nil && u.Used != u.Now["weights"]+u.Now["workspace"] {
			t.Errorf("after everything was closed, the ledger still counts %+v", u.Now)
		}
		if err := checkpoint.Close(); err != nil {
			t.Error(err)
		}
	})
	return e, err
}

func openMethod(t testing.TB, method, path string, sets ...string) *Engine {
	t.Helper()
	return openMethodOn(t, twoThreads, method, path, sets...)
}

func openMethodOn(t testing.TB, open opener, method, path string, sets ...string) *Engine {
	t.Helper()
	e, err := tryEngineOn(t, open, load(t, method, sets...), path)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// needSmolLM2 skips a test where the model has not been fetched.
func needSmolLM2(t testing.TB) {
	t.Helper()
	if _, err := os.Stat(smolLM2); err != nil {
		t.Skipf("no SmolLM2 here: %v; `make model` fetches it", err)
	}
}

func readJSON(t testing.TB, path string, into any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// admit starts a text, released at the test's end if not before.
func admit(t testing.TB, e *Engine) *Text {
	t.Helper()
	text, err := e.Admit(t.Context(), t.Name())
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// greedy continues a prompt by n tokens.
func greedy(t testing.TB, e *Engine, prompt []int32, n, chunk int) []int32 {
	t.Helper()
	text := admit(t, e)
	defer text.Release()
	logits, err := text.Prefill(t.Context(), prompt, chunk, n)
	if err != nil {
		t.Fatal(err)
	}
	var out []int32
	for range n {
		best := argmax(logits)
		out = append(out, best)
		if logits, err = text.Step(t.Context(), best); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func argmax(logits []float32) int32 {
	best := 0
	for i := range logits {
		if logits[i] > logits[best] {
			best = i
		}
	}
	return int32(best)
}

// distance is the largest difference, as a share of the largest magnitude.
func distance(got []float32, want []float64) float64 {
	largest, worst := 0.0, 0.0
	for i, w := range want {
		largest = max(largest, math.Abs(w))
		d := math.Abs(float64(got[i]) - w)
		if math.IsNaN(d) {
			return math.Inf(1)
		}
		worst = max(worst, d)
	}
	return worst / largest
}
