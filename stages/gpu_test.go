//go:build cuda

package stages

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"headinfer/kernels"
	"headinfer/kernels/cpu"
	"headinfer/kernels/cuda"
)

// onGPU returns what opens the GPU, or skips the test. HEADINFER_TEST_ON=cpu
// has the processor take its place, to try the tests themselves.
func onGPU(t testing.TB) opener {
	t.Helper()
	if os.Getenv("HEADINFER_TEST_ON") == "cpu" {
		return allThreads
	}
	if n, reason := cuda.Available(); n == 0 {
		t.Skip("needs a CUDA device: " + reason)
	}
	return func(budget int64) (kernels.Device, error) { return cuda.Open(budget, 0) }
}

// allThreads is the CPU device at its fastest.
func allThreads(budget int64) (kernels.Device, error) { return cpu.Open(budget, 0), nil }

// trainedModel is SmolLM2, or what HEADINFER_TEST_MODEL names; without either
// the test is skipped.
func trainedModel(t *testing.T) string {
	t.Helper()
	path := os.Getenv("HEADINFER_TEST_MODEL")
	if path == "" {
		needSmolLM2(t)
		return smolLM2
	}
	if _, err := os.Stat(path); err != nil {
		t.Skipf("HEADINFER_TEST_MODEL: %v", err)
	}
	return path
}

// beginning returns the first tokens of a document of the corpus, counted from
// the shortest.
func beginning(t *testing.T, e *Engine, document, tokens int) []int32 {
	t.Helper()
	files, err := filepath.Glob("../testdata/corpus/*.txt")
	if err != nil || document >= len(files) {
		t.Fatalf("document %d of %d, %v", document, len(files), err)
	}
	text, err := os.ReadFile(files[document])
	if err != nil {
		t.Fatal(err)
	}
	ids, err := (&tokenize{tokens: e.Checkpoint.Tokenizer}).tokensOf(string(text))
	if err != nil {
		t.Fatal(err)
	}
	if len(ids) < tokens {
		t.Fatalf("%s has only %d tokens of %d", files[document], len(ids), tokens)
	}
	return ids[:tokens]
}

// continuation is what a model makes of a prompt: the logits before each of
// some tokens, and the token it prefers there.
type continuation struct {
	logits [][]float32
	best   []int32
}

// proceed reads a prompt and takes n steps: along forced, or where that is
// nil, along the tokens that the model prefers.
func proceed(t *testing.T, e *Engine, prompt, forced []int32, n, chunk int) continuation {
	t.Helper()
	text := admit(t, e)
	defer text.Release()
	var c continuation
	logits, err := text.Prefill(t.Context(), prompt, chunk, n)
	for i := range n {
		if err != nil {
			t.Fatal(err)
		}
		next := argmax(logits)
		c.logits, c.best = append(c.logits, logits), append(c.best, next)
		if forced != nil {
			next = forced[i]
		}
		if i+1 < n {
			logits, err = text.Step(t.Context(), next)
		}
	}
	return c
}

// comparison sums up how far some logits are from those they are held against.
type comparison struct {
	steps, ties, differ int
	largest             float64 // magnitude of a logit
	worst               float64 // difference of a logit
	squares             float64 // sum of the differences'
	logits              int
}

// rounding is the distance between neighbouring bf16 numbers at the larger of
// two logits: with 8 significant bits, logits nearer to each other than that
// may be equal once they are rounded.
func rounding(a, b float32) float64 {
	_, exponent := math.Frexp(max(math.Abs(float64(a)), math.Abs(float64(b))))
	return math.Ldexp(1, exponent-8)
}

// add compares one step. Another token than the wanted logits' best is an
// error unless these differ by no more than bf16's rounding of them or slack.
func (c *comparison) add(t *testing.T, where string, want, got []float32, slack float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d logits, not %d", where, len(got), len(want))
	}
	best, chosen := argmax(want), argmax(got)
	second := -1
	for i, w := range want {
		if i != int(best) && (second < 0 || w > want[second]) {
			second = i
		}
		d := math.Abs(float64(got[i]) - float64(w))
		if math.IsNaN(d) {
			d = math.Inf(1)
		}
		c.worst, c.largest = max(c.worst, d), max(c.largest, math.Abs(float64(w)))
		c.squares += d * d
	}
	c.steps, c.logits = c.steps+1, c.logits+len(want)
	show := func(other int) string {
		return fmt.Sprintf("%s: %d at %.4f and %d at %.4f are %.4f apart, here %+.4f (%.4f is bf16's rounding)", where, best, want[best],
			other, want[other], want[best]-want[other], got[best]-got[other], rounding(want[best], want[other]))
	}
	if float64(want[best]-want[second]) <= rounding(want[best], want[second]) {
		c.ties++
		t.Log("near-tie,", show(second))
	}
	if chosen == best {
		return
	}
	c.differ++
	if float64(want[best]-want[chosen]) > max(slack, rounding(want[best], want[chosen])) {
		t.Error("another token,", show(int(chosen)))
	} else {
		t.Log("another of near-equals,", show(int(chosen)))
	}
}

// share is the worst difference as a part of the largest logit.
func (c *comparison) share() float64 { return c.worst / c.largest }

func (c *comparison) String() string {
	return fmt.Sprintf("%d steps: %d near-ties, %d other tokens; logits up to %.2f differ by %.3g at most (%.2g of the largest), %.2g root mean square",
		c.steps, c.ties, c.differ, c.largest, c.worst, c.share(), math.Sqrt(c.squares/float64(max(c.logits, 1))))
}

// TestGPUGreedyTokensEqualCPU continues ten prompts greedily on the processor,
// in float32 with the cache in place, and on the GPU with the cache on the
// host: once along the processor's tokens, once by itself. The tokens are the
// same but where the processor's logits are as near as bf16 can tell. The
// prompts are always the same: which near-ties there are is a matter of the text.
func TestGPUGreedyTokensEqualCPU(t *testing.T) {
	open, path := onGPU(t), trainedModel(t)
	const count, n = 10, 64
	reference := openMethodOn(t, allThreads, "standard", path)
	gpu := openMethodOn(t, open, "adaptive", path)
	t.Logf("%s on %s", gpu.Checkpoint.Config.Name, gpu.Device.Info().Name)
	var all comparison
	same := 0
	for i := range count {
		prompt := beginning(t, reference, i, 75+55*i)
		want := proceed(t, reference, prompt, nil, n, 0)
		forced := proceed(t, gpu, prompt, want.best, n, 0)
		for step := range n {
			all.add(t, fmt.Sprintf("prompt %d of %d tokens, step %d", i, len(prompt), step), want.logits[step], forced.logits[step], 0)
		}
		free := proceed(t, gpu, prompt, nil, n, 0)
		step := 0
		for step < n && free.best[step] == want.best[step] {
			step++
		}
		same += step
		if step < n {
			// After this token the two have different prompts.
			var first comparison
			first.add(t, fmt.Sprintf("prompt %d of %d tokens, by itself, step %d", i, len(prompt), step), want.logits[step], free.logits[step], 0)
		}
	}
	t.Logf("along the processor's tokens: %v", &all)
	t.Logf("by itself: %d of %d tokens before the first that differs", same, count*n)
}

// TestGPUMethodsAgree reads a prompt of some 3000 tokens with every method and
// some more shapes of the tile, and continues it along standard's tokens.
// Every method's logits are as near standard's on the same device as bf16
// leaves those to the processor's in float32.
func TestGPUMethodsAgree(t *testing.T) {
	open := onGPU(t)
	t.Run("random", func(t *testing.T) { gpuMethodsAgree(t, open, randomTiny) })
	t.Run("trained", func(t *testing.T) { gpuMethodsAgree(t, open, trainedModel(t)) })
}

func gpuMethodsAgree(t *testing.T, open opener, path string) {
	const chunk, n, longDocument = 512, 16, 10
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	reference := openMethodOn(t, allThreads, "standard", path)
	prompt := beginning(t, reference, longDocument, 2800+rand.New(rand.NewPCG(seed, 0)).IntN(500))
	standard := openMethodOn(t, open, "standard", path)
	want := proceed(t, standard, prompt, nil, n, 0)
	var own comparison
	for i, logits := range proceed(t, reference, prompt, want.best, n, 0).logits {
		own.add(t, fmt.Sprintf("step %d of the processor", i), logits, want.logits[i], math.Inf(1))
	}
	t.Logf("%s, %d tokens, standard against the processor: %v", standard.Device.Info().Name, len(prompt), &own)
	limit := max(2*own.share(), tolerance)
	if standard.Device.Info().Activations == kernels.BF16 {
		limit = max(limit, 0x1p-8)
	}
	if own.share() > 0x1p-5 {
		t.Errorf("standard itself is off by %.2g of the largest logit", own.share())
	}

	tight := "" // a budget with room for one head at a time
	for _, c := range []struct {
		method string
		sets   []string
	}{
		{"chunked-prefill", nil},
		{"chunked-prefill", []string{"heads.attention.group=1", "heads.attention.span=700"}},
		{"layer-wise", nil},
		{"layer-wise", []string{"heads.prefetch.slots=5"}},
		{"headinfer-8", nil},
		{"headinfer-4", nil},
		{"headinfer-2", nil},
		{"headinfer-2", []string{"heads.prefetch.slots=3"}},
		{"headinfer-1", []string{"heads.prefetch.slots=1"}},
		{"headinfer-1", nil},
		{"adaptive", nil},
		{"adaptive", []string{"device.memory=tight"}},
		{"tiled", nil},
		{"tiled", []string{"heads.attention.span=333"}},
		{"tiled", []string{"heads.attention.span=1000", "heads.attention.group=2", "heads.prefetch.slots=4"}},
		{"tiled", []string{"heads.attention.span=2048", "heads.attention.group=all"}},
	} {
		t.Run(strings.Join(append([]string{c.method}, c.sets...), " "), func(t *testing.T) {
			sets := slices.Clone(c.sets)
			for i := range sets {
				sets[i] = strings.ReplaceAll(sets[i], "tight", tight)
			}
			e := openMethodOn(t, open, c.method, path, sets...)
			got := proceed(t, e, prompt, want.best, n, chunk)
			if c.method == "headinfer-1" {
				tight = fmt.Sprint(e.Device.Ledger().Usage().Peak)
			}
			var all comparison
			for i := range n {
				all.add(t, fmt.Sprintf("step %d", i), want.logits[i], got.logits[i], limit*own.largest)
			}
			t.Log(&all)
			if all.share() > limit {
				t.Errorf("off by %.2g of the largest logit; bf16 leaves %.2g", all.share(), limit)
			}
		})
	}
}
