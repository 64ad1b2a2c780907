package stages

import (
	"fmt"
	"slices"
	"testing"
)

// tolerance is the promise for float32: relative to the largest logit.
const tolerance = 1e-4

// settings of the tiles that make short texts pass through many of them.
var small = map[string][]string{
	"tiled":       {"heads.attention.span=37"},
	"headinfer-2": {"heads.prefetch.slots=3"},
	"headinfer-1": {"heads.prefetch.slots=1"},
}

// TestMethodsAgreeWithTheReference compares every method, on every kind of
// checkpoint, with logits that a plain float64 program computed.
func TestMethodsAgreeWithTheReference(t *testing.T) {
	for _, model := range []struct{ path, golden string }{
		{tinyLlama, "tiny-llama"},
		{tinyLlama + ".gguf", "tiny-llama"},
		{tinyLlama + "-sharded", "tiny-llama-sharded"},
	} {
		var golden struct {
			Text   string
			IDs    []int32
			First  int `json:"first_position"`
			Logits [][]float64
		}
		readJSON(t, "../testdata/golden/"+model.golden+".json", &golden)
		for _, method := range methods {
			for _, chunk := range []int{0, 50, 7} {
				t.Run(fmt.Sprintf("%s/%s/chunk %d", model.path[len("../testdata/"):], method, chunk), func(t *testing.T) {
					e := openMethod(t, method, model.path, small[method]...)
					text := admit(t, e)
					defer text.Release()
					logits, err := text.Prefill(t.Context(), golden.IDs[:golden.First+1], chunk, 0)
					for i, want := range golden.Logits {
						if err != nil {
							t.Fatal(err)
						}
						if d := distance(logits, want); d > tolerance {
							t.Fatalf("at position %d the logits are off by %.2g of the largest", golden.First+i, d)
						}
						if next := golden.First + i + 1; next < len(golden.IDs) {
							logits, err = text.Step(t.Context(), golden.IDs[next])
						}
					}
				})
			}
		}
	}
}

func TestSmolLM2AgreesWithTheReference(t *testing.T) {
	needSmolLM2(t)
	for _, name := range []string{"short", "long"} {
		var golden struct {
			IDs      []int32
			Argmax   int32
			VocabIDs []int32 `json:"vocab_ids"`
			Logits   []float64
		}
		readJSON(t, "../testdata/golden/smollm2-"+name+".json", &golden)
		for _, method := range []string{"standard", "layer-wise", "headinfer-1", "adaptive", "tiled"} {
			t.Run(name+"/"+method, func(t *testing.T) {
				e := openMethod(t, method, smolLM2, small[method]...)
				text := admit(t, e)
				defer text.Release()
				logits, err := text.Prefill(t.Context(), golden.IDs, 256, 0)
				if err != nil {
					t.Fatal(err)
				}
				got := make([]float32, len(golden.VocabIDs))
				for i, id := range golden.VocabIDs {
					got[i] = logits[id]
				}
				d := distance(got, golden.Logits)
				t.Logf("off by %.2g of the largest logit", d)
				if d > tolerance {
					t.Errorf("off by %.2g of the largest logit", d)
				}
				if best := argmax(logits); best != golden.Argmax {
					t.Errorf("the best token is %d, not %d", best, golden.Argmax)
				}
			})
		}
	}
}

func TestSmolLM2ContinuesAsTheReference(t *testing.T) {
	needSmolLM2(t)
	var golden struct {
		Runs []struct {
			Text         string
			IDs          []int32
			Continuation []int32
			Margins      []float64
		}
	}
	readJSON(t, "../testdata/golden/smollm2-greedy.json", &golden)
	e := openMethod(t, "adaptive", smolLM2)
	for _, run := range golden.Runs {
		got := greedy(t, e, run.IDs, len(run.Continuation), 256)
		for i, want := range run.Continuation {
			if got[i] != want {
				t.Errorf("%q: token %d is %d, not %d; the reference preferred it by %g", run.Text, i, got[i], want, run.Margins[i])
				break
			}
		}
	}
}

// prompts for greedy continuations; what they say does not matter.
var prompts = []string{
	"The old lighthouse keeper wrote in his journal that",
	"In order to bake a loaf of bread, first",
	"def fibonacci(n):\n    ",
	"The three largest planets are",
	"Once upon a time, in a village by the river,",
	"Q: What is 12 + 30?\nA:",
	"A letter to the harbour master:\n\nDear Sir,",
	"Water boils at a lower temperature on a mountain because",
	"1, 2, 4, 8, 16,",
	"The recipe calls for two eggs, a cup of flour, and",
}

// TestGreedyTokensAgreeAcrossMethods is the promise that a method changes
// where the cache lies and nothing else.
func TestGreedyTokensAgreeAcrossMethods(t *testing.T) {
	needSmolLM2(t)
	const n = 64
	var want [][]int32
	for _, method := range []string{"standard", "layer-wise", "headinfer-2", "headinfer-1", "tiled"} {
		e := openMethod(t, method, smolLM2, small[method]...)
		for i, prompt := range prompts {
			ids, err := (&tokenize{tokens: e.Checkpoint.Tokenizer}).tokensOf(prompt)
			if err != nil {
				t.Fatal(err)
			}
			got := greedy(t, e, ids, n, 8)
			if method == "standard" {
				want = append(want, got)
				continue
			}
			if !slices.Equal(got, want[i]) {
				t.Errorf("%s continues %q with %v, standard with %v", method, prompt, got, want[i])
			}
		}
	}
}
