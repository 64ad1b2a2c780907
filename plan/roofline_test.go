package plan

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestRoofline has points on the slope below the ridge and on the roof above it.
func TestRoofline(t *testing.T) {
	for range 100 {
		r := Rates{Linear: 1e12 + 1e15*rand.Float64(), Read: 1e11 + 5e12*rand.Float64(), CopyIn: 1e9 + 60e9*rand.Float64()}
		w := Work{Name: "w", FLOP: math.Pow(10, 3+12*rand.Float64()), Memory: math.Pow(10, 3+9*rand.Float64()), Link: math.Pow(10, 3+9*rand.Float64())}
		points := Roofline(r, w)
		if len(points) != 2 || points[0].Roof != BoundMemory || points[1].Roof != BoundLink {
			t.Fatalf("%+v", points)
		}
		for i, slope := range []float64{r.Read, r.CopyIn} {
			p := points[i]
			// The time that the point stands for is the larger of its two parts.
			if took := w.FLOP / p.Attainable; math.Abs(took/max(w.FLOP/r.Linear, p.Bytes/slope)-1) > 1e-9 {
				t.Errorf("%+v under %+v: %g s", w, r, took)
			}
			if ridge := r.Linear / slope; p.Intensity >= ridge != (p.Bound == BoundCompute) {
				t.Errorf("%+v: the ridge is at %g", p, ridge)
			}
		}
	}
	if points := Roofline(Rates{Linear: 1, Read: 1}, Work{FLOP: 1, Memory: 1, Link: 1}, Work{FLOP: 1}); len(points) != 1 {
		t.Errorf("a rate that is not known has a point, or a work that moves nothing: %+v", points)
	}
}

// TestWorks agrees with the arithmetic of limits.
func TestWorks(t *testing.T) {
	tokens := 10_000 + rand.IntN(100_000)
	how := onHost(2, 4096)
	works := llama3.Works(how, tokens)
	prefill, step := works[1], works[3]
	if want := llama3.LinearFlops(tokens) + llama3.AttentionFlops(tokens); prefill.FLOP != want {
		t.Errorf("a prefill of %d tokens computes %g, want %g", tokens, prefill.FLOP, want)
	}
	if in, _ := llama3.PrefillCopies(how, tokens); prefill.Link != float64(in) || step.Link != float64(llama3.KV(tokens)) {
		t.Errorf("%+v, %+v: %d bytes are copied", prefill, step, in)
	}
	limit := llama3.DecodeLimit(tableRates, tokens, llama3.DecodeCopies(how, tokens))
	for _, p := range Roofline(tableRates, step) {
		want := limit.Compute
		if p.Roof == BoundLink {
			want = limit.Copy
		}
		if took := step.FLOP / p.Attainable; math.Abs(took/want-1) > 1e-9 {
			t.Errorf("under the roof of %s a step takes %g s, and its limit is %g", p.Roof, took, want)
		}
	}
	if on := llama3.Works(Method{Chunk: 4096}, tokens); on[1].Link != 0 || on[3].Link != 0 || on[1].Memory != prefill.Memory {
		t.Errorf("on the device: %+v", on)
	}
}
