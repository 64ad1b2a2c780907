//go:build cuda

package stages

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestGPUEncodedCaches compares a GPU's logits over a cache in codes with the
// processor's over the same codes: what bf16 moves is more than what the codes
// lose, so that they are held against the exact method's distance.
func TestGPUEncodedCaches(t *testing.T) {
	open := onGPU(t)
	const chunk, n, tokens = 200, 70, 1111
	reference := openMethodOn(t, allThreads, "adaptive", randomTiny)
	prompt := beginning(t, reference, 10, tokens)
	exact := proceed(t, reference, prompt, nil, n, chunk)
	on := func(open opener, sets ...string) continuation {
		return proceed(t, openMethodOn(t, open, "adaptive", randomTiny, sets...), prompt, exact.best, n, chunk)
	}
	rounding := deviations(exact.logits, on(open).logits)
	for _, c := range [][]string{
		{"heads.offload.dtype=int8"}, {"heads.offload.dtype=int8", "heads.offload.scale_group=32", "heads.attention.group=1"},
		{"heads.offload.dtype=int8", "heads.attention.group=3", "heads.attention.span=192"},
		{"heads.offload.dtype=int8", "heads.offload.to=device", "heads.prefetch.slots=none"},
		{"heads.offload.dtype=int4"}, {"heads.offload.dtype=int4", "heads.offload.scale_group=32", "heads.prefetch.slots=1"},
		{"heads.offload.dtype=int4", "heads.attention.group=2", "heads.attention.span=128"},
		{"heads.offload.dtype=int4", "heads.offload.to=device"},
	} {
		want, got := on(allThreads, c...), on(open, c...)
		lost, d := deviations(exact.logits, want.logits), deviations(want.logits, got.logits)
		t.Logf("%s: %.3g deviations lost on the processor, %.3g between the two; %.3g by bf16 alone", strings.Join(c, " "), lost, d, rounding)
		if limit := 2*rounding + lost; !(d < limit) {
			t.Errorf("%s: the logits are %.3g deviations apart, more than %.3g", strings.Join(c, " "), d, limit)
		}
	}
}

// TestGPUHeavyHitters reads a text on a GPU with a cache that drops tokens.
func TestGPUHeavyHitters(t *testing.T) {
	open := onGPU(t)
	const chunk, n = 100, 80
	reference := openMethodOn(t, allThreads, "chunked-prefill", randomTiny)
	prompt := beginning(t, reference, 10, 1500+rand.IntN(100))
	heavy := []string{"heads.offload.heavy=200", "heads.offload.heavy_recent=100"}
	exact := proceed(t, reference, prompt[:200], nil, n, chunk)
	e := openMethodOn(t, open, "chunked-prefill", randomTiny)
	rounding := deviations(exact.logits, proceed(t, e, prompt[:200], exact.best, n, chunk).logits)

	e = openMethodOn(t, open, "chunked-prefill", randomTiny, heavy...)
	text := admit(t, e)
	if _, err := text.Prefill(t.Context(), prompt[:200], chunk, n); err != nil {
		t.Fatal(err)
	}
	checkMass(t, e, text)
	text.Release()
	if d := deviations(exact.logits, proceed(t, e, prompt[:200], exact.best, n, chunk).logits); d > 2*rounding+1e-5 {
		t.Errorf("nothing was dropped, and the logits are %.3g deviations away; bf16 takes them %.3g", d, rounding)
	}
	for _, logits := range proceed(t, e, prompt, nil, n, chunk).logits {
		for _, l := range logits {
			if math.IsNaN(float64(l)) || math.IsInf(float64(l), 0) {
				t.Fatal("a logit is not finite after tokens were dropped")
			}
		}
	}
}
