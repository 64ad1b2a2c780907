package stages

import (
	"math/rand/v2"
	"slices"
	"testing"
)

const randomTiny = "random:tiny"

// logitsOf reads a prompt and then the tokens after it one by one, and returns
// the logits after each.
func logitsOf(t *testing.T, e *Engine, prompt, after []int32, chunk int) [][]float32 {
	t.Helper()
	text := admit(t, e)
	defer text.Release()
	logits, err := text.Prefill(t.Context(), prompt, chunk, len(after))
	all := [][]float32{logits}
	for _, token := range after {
		if err != nil {
			break
		}
		logits, err = text.Step(t.Context(), token)
		all = append(all, logits)
	}
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestRandomWeightsAreAModel: the seed decides the logits, and the method does not.
func TestRandomWeightsAreAModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	tokens := make([]int32, 200+r.IntN(100))
	for i := range tokens {
		tokens[i] = int32(r.IntN(512))
	}
	prompt, after := tokens[:len(tokens)-5], tokens[len(tokens)-5:]
	e := openMethod(t, "standard", randomTiny)
	want := logitsOf(t, e, prompt, after, 0)
	if r := e.Report(); !r.RandomWeights || r.Model != "tiny (random weights)" {
		t.Errorf("the report says model %q, random weights %t", r.Model, r.RandomWeights)
	}
	if r := openMethod(t, "standard", tinyLlama).Report(); r.RandomWeights {
		t.Error("the report says that a model's own weights are random")
	}

	again := logitsOf(t, openMethod(t, "standard", randomTiny+"?seed=1"), prompt, after, 0)
	other := logitsOf(t, openMethod(t, "standard", randomTiny+"?seed=2"), prompt, after, 0)
	for i := range want {
		if !slices.Equal(again[i], want[i]) {
			t.Errorf("logits %d of the same seed differ", i)
		}
		if d := distance(other[i], wide(want[i])); d < 0.1 {
			t.Errorf("logits %d of another seed are off by only %.2g of the largest", i, d)
		}
	}
	for _, method := range methods[1:] {
		got := logitsOf(t, openMethod(t, method, randomTiny, small[method]...), prompt, after, 33)
		for i := range want {
			if d := distance(got[i], wide(want[i])); d > tolerance {
				t.Errorf("%s: logits %d are off by %.2g of the largest", method, i, d)
			}
		}
	}
}

func wide(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}
