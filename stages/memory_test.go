package stages

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"headinfer/kernels"
	"headinfer/plan"
)

// TestPlanPredictsTheLedger compares plan's formulas with what the device's
// ledger counted, to the byte.
func TestPlanPredictsTheLedger(t *testing.T) { planPredictsTheLedger(t, twoThreads, tinyLlama) }

func planPredictsTheLedger(t *testing.T, open opener, path string) {
	const prompt, chunk, answer = 1000, 100, 20
	const all = 1 << 20 // heads
	host := func(group, span int) plan.Method {
		return plan.Method{Chunk: chunk, OnHost: true, Group: group, Slots: 2, Span: span}
	}
	for _, c := range []struct {
		method string
		set    string
		how    plan.Method
	}{
		{"standard", "", plan.Standard()},
		{"chunked-prefill", "", plan.Method{Chunk: chunk}},
		{"layer-wise", "", host(all, 0)},
		{"headinfer-8", "", host(8, 0)},
		{"headinfer-4", "", host(4, 0)},
		{"headinfer-2", "", host(2, 0)},
		{"headinfer-1", "", host(1, 0)},
		{"adaptive", "", host(all, 0)}, // in plenty
		{"tiled", "", host(4, 4096)},
		{"tiled", "heads.attention.span=129", host(4, 129)},
	} {
		t.Run(strings.TrimSpace(c.method+" "+c.set), func(t *testing.T) {
			var sets []string
			if c.set != "" {
				sets = []string{c.set}
			}
			e := openMethodOn(t, open, c.method, path, sets...)
			ids := make([]int32, prompt)
			text := admit(t, e)
			if _, err := text.Prefill(t.Context(), ids, c.how.Chunk, answer); err != nil {
				t.Fatal(err)
			}
			text.Release()
			u := e.Device.Ledger().Usage()
			want := PlanModel(e).Memory(c.how, prompt, prompt+answer)
			for purpose, bytes := range map[kernels.Purpose]int64{
				kernels.Weights: want.Weights, kernels.KVCache: want.KV, kernels.Activations: want.Activations,
			} {
				if got := u.AtPeak[purpose]; got != bytes {
					t.Errorf("%s: the ledger counted %d bytes, plan says %d", purpose, got, bytes)
				}
			}
			if sum := want.Device() + u.AtPeak[kernels.Workspace]; u.Peak != sum {
				t.Errorf("peak %d bytes, plan with the workspace %d", u.Peak, sum)
			}
		})
	}
}

// TestBudget runs a text in a budget with room for an eighth of its cache:
// head-wise gives the tokens that standard gives in plenty, and standard is
// refused at once, saying what it takes and what to change.
func TestBudget(t *testing.T) {
	const prompt, chunk, answer = 1900, 64, 12
	ids := make([]int32, prompt)
	for i := range ids {
		ids[i] = int32(i*7%251 + i%5)
	}
	plenty := openMethod(t, "standard", tinyLlama)
	want := greedy(t, plenty, ids, answer, chunk)

	e := openMethod(t, "headinfer-1", tinyLlama)
	greedy(t, e, ids[:chunk], 1, chunk)
	u := e.Device.Ledger().Usage()
	fixed := u.Now[kernels.Weights] + u.Now[kernels.Activations] + u.Now[kernels.Workspace]
	cache := PlanModel(e).KV(prompt + answer)

	// Two layers of four heads: one head of one layer is an eighth, so two
	// slots of half the tokens are. SmolLM2's thirty layers need no span.
	budget := fmt.Sprint(fixed + cache/8)
	for _, method := range []string{"headinfer-1", "adaptive"} {
		sets := []string{"device.memory=" + budget, "heads.attention.span=" + "512"}
		tight := openMethod(t, method, tinyLlama, sets...)
		if got := greedy(t, tight, ids, answer, chunk); !slices.Equal(got, want) {
			t.Errorf("%s in a budget of %s bytes gives %v, standard in plenty %v", method, budget, got, want)
		}
		if u := tight.Device.Ledger().Usage(); u.Peak > u.Budget || u.AtPeak[kernels.KVCache] > cache/8 {
			t.Errorf("%s took %d bytes, %d of them for the cache, of a budget of %d", method, u.Peak, u.AtPeak[kernels.KVCache], u.Budget)
		}
	}

	refused := openMethod(t, "standard", tinyLlama, "device.memory="+budget)
	text := admit(t, refused)
	defer text.Release()
	_, err := text.Prefill(t.Context(), ids, chunk, answer)
	var short *kernels.BudgetError
	if !errors.As(err, &short) {
		t.Fatalf("standard in a budget of %s bytes gave %v", budget, err)
	}
	for _, part := range []string{"KV cache of 1912 tokens", "asked for", "is left", "heads.offload.to=host", "device.memory="} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the refusal %q lacks %q", err, part)
		}
	}
}

// TestBudgetTooSmallForAnything gives every purpose its own message.
func TestBudgetTooSmallForAnything(t *testing.T) {
	if _, err := tryEngine(t, load(t, "adaptive", "device.memory=1000"), tinyLlama); err == nil || !strings.Contains(err.Error(), "weights") {
		t.Errorf("in 1000 bytes: %v", err)
	}
	e := openMethod(t, "adaptive", tinyLlama)
	weights := e.Device.Ledger().Usage().Now[kernels.Weights]
	tight := openMethod(t, "adaptive", tinyLlama, "device.memory="+fmt.Sprint(weights+10_000))
	text := admit(t, tight)
	defer text.Release()
	_, err := text.Prefill(t.Context(), make([]int32, 500), 500, 0)
	if err == nil || !strings.Contains(err.Error(), "activations") || !strings.Contains(err.Error(), "chunked-prefill.chunk") {
		t.Errorf("with room for the weights only: %v", err)
	}
}
