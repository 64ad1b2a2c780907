package stages

import (
	"bufio"
	"encoding/json"
	"os"
	"testing"
)

// TestGreedyBesideLlamaCpp follows what llama.cpp wrote (tools/golden/llamacpp)
// token by token: where another token is likelier, the two that compete must be
// as near to each other as the rounding of llama.cpp's own 8-bit activations.
func TestGreedyBesideLlamaCpp(t *testing.T) {
	path, model := os.Getenv("HEADINFER_TEST_GREEDY"), os.Getenv("HEADINFER_TEST_MODEL")
	if path == "" || model == "" {
		t.Skip("HEADINFER_TEST_GREEDY and HEADINFER_TEST_MODEL name no file of llama.cpp's answers and no model")
	}
	const tie = 0.5 // of a logit
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	e := openMethod(t, "adaptive", model, "documents.tokenize.chat=false")
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<24)
	steps, differ := 0, 0
	for lines.Scan() {
		var want struct {
			Prompt  string    `json:"prompt"`
			IDs     []int32   `json:"ids"`
			Out     []int32   `json:"out"`
			Margins []float64 `json:"margins"`
		}
		if err := json.Unmarshal(lines.Bytes(), &want); err != nil {
			t.Fatal(err)
		}
		for i, next := range proceedAlong(t, e, want.IDs, want.Out) {
			steps++
			if next == want.Out[i] {
				continue
			}
			differ++
			t.Logf("%q, token %d: %d here and %d there, where the second is %.3f behind", want.Prompt, i, next, want.Out[i], want.Margins[i])
			if want.Margins[i] > tie {
				t.Errorf("%q, token %d: not a near-tie", want.Prompt, i)
			}
		}
	}
	if err := lines.Err(); err != nil || steps == 0 {
		t.Fatalf("%s: %d tokens, %v", path, steps, err)
	}
	t.Logf("%d of %d tokens differ", differ, steps)
}

// proceedAlong returns the likeliest token before each of some that are forced.
func proceedAlong(t *testing.T, e *Engine, prompt, forced []int32) []int32 {
	t.Helper()
	text := admit(t, e)
	defer text.Release()
	logits, err := text.Prefill(t.Context(), prompt, 0, len(forced))
	if err != nil {
		t.Fatal(err)
	}
	var best []int32
	err = text.Force(t.Context(), forced, logits, func(_ int, logits []float32) error {
		best = append(best, argmax(logits))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return best
}
