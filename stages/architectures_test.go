package stages

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"headinfer/kernels"
	"headinfer/plan"
)

// golden is what transformers computed in float64 of a tiny model
// (tools/golden/architectures).
type golden struct {
	Cases []struct {
		IDs       []int32     `json:"ids"`
		Positions []int       `json:"positions"`
		Logits    [][]float64 `json:"logits"`
		Greedy    []int32     `json:"greedy"`
		Margins   []float64   `json:"margins"`
	} `json:"cases"`
}

// architectureDir holds the tiny models, one of each architecture and feature.
const architectureDir = "../testdata/architectures"

// TestArchitectures compares every method's logits with those of transformers:
// of prefixes of the prompts, read in chunks, and of what is decoded after them.
func TestArchitectures(t *testing.T) {
	dirs, err := os.ReadDir(architectureDir)
	if err != nil {
		t.Fatal(err)
	}
	if len(dirs) < 16 {
		t.Fatalf("only %d models in %s", len(dirs), architectureDir)
	}
	for _, dir := range dirs {
		if !dir.IsDir() {
			continue
		}
		t.Run(dir.Name(), func(t *testing.T) {
			path := architecture(t, dir.Name())
			var want golden
			readJSON(t, filepath.Join(architectureDir, dir.Name(), "expected.json"), &want)
			for _, method := range []string{"standard", "chunked-prefill", "layer-wise", "headinfer-1"} {
				checkArchitecture(t, path, want, method)
			}
			checkArchitecture(t, path, want, "tiled", "heads.attention.span=16")
		})
	}
}

// architecture lays a tiny model out with the tokenizer that all of them share.
func architecture(t *testing.T, name string) string {
	t.Helper()
	dir := t.TempDir()
	for _, file := range []string{name + "/config.json", name + "/model.safetensors", "tokenizer.json"} {
		data, err := os.ReadFile(filepath.Join(architectureDir, file))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.Base(file)), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func checkArchitecture(t *testing.T, path string, want golden, method string, sets ...string) {
	t.Helper()
	compareArchitecture(t, openMethod(t, method, path, sets...), want, method, 1e-4)
}

// compareArchitecture reads each prompt in two ways, at once up to the last
// position that is checked, and in chunks up to about half of it with a step
// for each token after that, and holds the logits to bound.
func compareArchitecture(t *testing.T, e *Engine, want golden, method string, bound float64) {
	t.Helper()
	worst := 0.0
	for _, c := range want.Cases {
		last := c.Positions[len(c.Positions)-1]
		half := slices.MinFunc(c.Positions, func(a, b int) int { return near(a, last/2) - near(b, last/2) })
		for first, chunk := range map[int]int{last: 0, half: 37} {
			text := admit(t, e)
			text.length = len(c.IDs)
			logits, err := text.Prefill(t.Context(), c.IDs[:first+1], chunk, len(c.IDs))
			if err != nil {
				t.Fatal(err)
			}
			for at := first; ; at++ {
				if i := slices.Index(c.Positions, at); i >= 0 {
					worst = max(worst, relative(logits, c.Logits[i]))
				}
				if at+1 == len(c.IDs) {
					break
				}
				if logits, err = text.Step(t.Context(), c.IDs[at+1]); err != nil {
					t.Fatal(err)
				}
			}
			text.Release()
		}
	}
	t.Logf("%s: logits are off by up to %.2g of the largest", method, worst)
	if !(worst < bound) {
		t.Errorf("%s: logits are off by up to %.2g of the largest, more than %.2g", method, worst, bound)
	}
}

func near(a, b int) int { return max(a-b, b-a) }

// relative returns the largest difference, as a share of the largest number.
func relative(got []float32, want []float64) float64 {
	worst, largest := 0.0, 0.0
	for i, w := range want {
		worst, largest = max(worst, math.Abs(float64(got[i])-w)), max(largest, math.Abs(w))
	}
	return worst / largest
}

// TestPlanPredictsWindows compares plan's formula with the ledger for models
// some of whose layers have a window.
func TestPlanPredictsWindows(t *testing.T) {
	const prompt, chunk, answer = 150, 40, 10
	for _, name := range []string{"gemma2", "gemma3", "mistral", "qwen2-window", "phi3-partial"} {
		path := architecture(t, name)
		for method, how := range map[string]plan.Method{
			"standard": plan.Standard(), "chunked-prefill": {Chunk: chunk},
			"headinfer-1": {Chunk: chunk, OnHost: true, Group: 1, Slots: 2},
		} {
			e := openMethod(t, method, path)
			text := admit(t, e)
			if _, err := text.Prefill(t.Context(), make([]int32, prompt), how.Chunk, answer); err != nil {
				t.Fatal(err)
			}
			text.Release()
			u, want := e.Device.Ledger().Usage(), PlanModel(e).Memory(how, prompt, prompt+answer)
			for purpose, bytes := range map[kernels.Purpose]int64{kernels.KVCache: want.KV, kernels.Activations: want.Activations} {
				if got := u.AtPeak[purpose]; got != bytes {
					t.Errorf("%s, %s, %s: the ledger counted %d bytes, plan says %d", name, method, purpose, got, bytes)
				}
			}
		}
	}
}
