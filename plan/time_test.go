package plan

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// The H100's rates as the runs of docs/benchmarks.md measured them: those of its table
// of all methods, and those of its curves.
var (
	tableRates = Rates{CopyIn: 55.3e9, CopyOut: 55.1e9, Linear: 767e12, Attention: 617e12, Read: 3.116e12}
	curveRates = Rates{CopyIn: 54.8e9, CopyOut: 55.1e9, Linear: 728e12, Attention: 623e12, Read: 3.114e12}
)

// fresh is a method whose host memory is not there yet, as in all of those runs.
func fresh(how Method) Method {
	how.FreshHost = true
	return how
}

// published are the figures of docs/benchmarks.md (seconds); 0: none.
var published = []struct {
	name            string
	rates           Rates
	how             Method
	context         int
	prefill, decode float64
}{
	{"standard", curveRates, Method{}, 8 << 10, 0.205, 6.71e-3},
	{"standard", curveRates, Method{}, 8 << 10, 0, 6.41e-3},
	{"standard", curveRates, Method{}, 16 << 10, 0.479, 6.99e-3},
	{"standard", curveRates, Method{}, 32 << 10, 1.20, 7.61e-3},
	{"chunked-prefill", tableRates, Method{Chunk: 8 << 10}, 32 << 10, 1.21, 0},
	{"adaptive", curveRates, onHost(8, 8448), 8 << 10, 0.281, 22.0e-3},
	{"adaptive", curveRates, onHost(8, 8448), 16 << 10, 0.572, 43.2e-3},
	{"adaptive", curveRates, onHost(8, 8448), 32 << 10, 1.27, 87.4e-3},
	{"adaptive", curveRates, onHost(8, 8448), 64 << 10, 3.42, 167e-3},
	{"adaptive", curveRates, onHost(8, 8448), 128 << 10, 10.6, 318e-3},
	{"adaptive", curveRates, onHost(8, 8448), 256 << 10, 36.8, 0.668},
	{"adaptive", tableRates, onHost(8, 8192), 256 << 10, 36.8, 0.637},
	{"adaptive", tableRates, onHost(8, 8192), 900_000, 0, 2.22},
	{"layer-wise", tableRates, onHost(8, 8192), 32 << 10, 1.27, 80.3e-3},
	{"headinfer-4", tableRates, onHost(4, 8192), 32 << 10, 1.27, 81.8e-3},
	{"headinfer-2", tableRates, onHost(2, 8192), 32 << 10, 1.26, 83.5e-3},
	{"headinfer-1", tableRates, onHost(1, 8192), 32 << 10, 1.27, 87.5e-3},
	{"layer-wise", tableRates, onHost(8, 8192), 128 << 10, 10.7, 317e-3},
	{"headinfer-4", tableRates, onHost(4, 8192), 128 << 10, 10.6, 318e-3},
	{"headinfer-2", tableRates, onHost(2, 8192), 128 << 10, 10.6, 320e-3},
	{"headinfer-1", tableRates, onHost(1, 8192), 128 << 10, 10.6, 325e-3},
	{"tiled", tableRates, Method{Chunk: 8192, OnHost: true, Group: 8, Span: 4096, Slots: 2}, 32 << 10, 1.30, 83.2e-3},
	{"tiled", tableRates, Method{Chunk: 8192, OnHost: true, Group: 8, Span: 4096, Slots: 2}, 128 << 10, 11.6, 326e-3},
	{"tiled", tableRates, Method{Chunk: 8192, OnHost: true, Group: 8, Span: 4096, Slots: 2}, 900_000, 0, 2.35},
	{"int8", tableRates, inCodes(8), 128 << 10, 11.0, 169e-3},
	{"int4", tableRates, inCodes(4), 128 << 10, 10.9, 91e-3},
}

func onHost(group, chunk int) Method {
	return Method{Chunk: chunk, OnHost: true, Group: group, Slots: 2}
}

func inCodes(bits int) Method {
	return Method{Chunk: 8192, OnHost: true, Group: 4, Slots: 2, Bits: bits, ScaleGroup: 64}
}

// TestPublishedTimes holds predictions to within 10% of what was measured. Of a cache on the
// device at 32 Ki the table has a decode step from before kernels were launched dependently;
// the curves' is newer.
func TestPublishedTimes(t *testing.T) {
	near := func(what string, p Prediction, measured float64) {
		t.Helper()
		off := p.Seconds/measured - 1
		if off > 0.1 || off < -0.1 {
			t.Errorf("%s: %.4g s predicted, %.4g measured: %+.0f%%", what, p.Seconds, measured, 100*off)
		}
	}
	for _, row := range published {
		name := fmt.Sprintf("%s at %d", row.name, row.context)
		if row.prefill > 0 {
			near(name+", prefill", llama3.PrefillTime(fresh(row.how), row.rates, row.context), row.prefill)
		}
		if row.decode > 0 {
			near(name+", decode", llama3.DecodeTime(row.how, row.rates, row.context), row.decode)
		}
	}
}

// drawn is a method with sizes drawn afresh.
func drawn() Method {
	return Method{Chunk: 512 << rand.IntN(6), OnHost: true, Group: 1 << rand.IntN(4), Slots: 2 + rand.IntN(3), Span: []int{0, 1024, 4096}[rand.IntN(3)]}
}

// TestTimesInOrder: nothing is predicted below its limit, more tokens take longer, and
// so does a pipeline without one of its parts.
func TestTimesInOrder(t *testing.T) {
	for range 300 {
		r := Rates{CopyIn: 1e9 + 60e9*rand.Float64(), CopyOut: 1e9 + 60e9*rand.Float64(), Linear: 1e12 + 900e12*rand.Float64(), Attention: 1e12 + 700e12*rand.Float64(), Read: 1e11 + 4e12*rand.Float64()}
		how, tokens := drawn(), 1+rand.IntN(200_000)
		in, out := llama3.PrefillCopies(how, tokens)
		prefill, decode := llama3.PrefillTime(how, r, tokens), llama3.DecodeTime(how, r, tokens)
		if least := llama3.PrefillLimit(r, tokens, in, out).Seconds(); prefill.Seconds < least {
			t.Errorf("%+v, %d tokens: a prefill of %g s, and its limit is %g", how, tokens, prefill.Seconds, least)
		}
		if least := llama3.DecodeLimit(r, tokens, llama3.DecodeCopies(how, tokens)).Seconds(); decode.Seconds < least {
			t.Errorf("%+v, %d tokens: a step of %g s, and its limit is %g", how, tokens, decode.Seconds, least)
		}
		for _, p := range []Prediction{prefill, decode} {
			if p.Seconds < max(p.Copy, p.Compute) || p.Bound == "" {
				t.Errorf("%+v, %d tokens: %+v", how, tokens, p)
			}
		}
		more := tokens + 1 + rand.IntN(tokens)
		if later := llama3.PrefillTime(how, r, more).Seconds; later < prefill.Seconds {
			t.Errorf("%+v: %d tokens take %g s, and %d take %g", how, tokens, prefill.Seconds, more, later)
		}
		device := how
		device.OnHost = false
		for name, without := range map[string]Method{
			"one slot": {Slots: 1}, "no look-ahead across layers": {WithinLayer: true}, "all written back": {WriteWhole: true}, "taking turns": {TakeTurns: true},
			"one slot, within a layer": {Slots: 1, WithinLayer: true}, "fresh host memory": {FreshHost: true},
		} {
			part := how
			part.Slots = max(without.Slots, part.Slots*(1-without.Slots))
			part.WithinLayer, part.WriteWhole, part.TakeTurns, part.FreshHost = without.WithinLayer, without.WriteWhole, without.TakeTurns, without.FreshHost
			for phase, times := range map[string][2]float64{
				"prefill": {prefill.Seconds, llama3.PrefillTime(part, r, tokens).Seconds},
				"decode":  {decode.Seconds, llama3.DecodeTime(part, r, tokens).Seconds},
			} {
				// What little of a tile is hidden at a pass's ends is not told apart.
				if times[1] < 0.95*times[0] {
					t.Errorf("%s, %+v, %d tokens: %g s, and with %s %g", phase, how, tokens, times[0], name, times[1])
				}
			}
		}
		if p := llama3.PrefillTime(device, r, tokens); p.Seconds > prefill.Seconds || p.Copy != 0 || p.Bound == BoundLink {
			t.Errorf("%+v, %d tokens: %+v on the device, and %g s on the host", how, tokens, p, prefill.Seconds)
		}
	}
	if p := llama3.PrefillTime(onHost(8, 4096), Rates{}, 10_000); p != (Prediction{}) {
		t.Errorf("without rates %+v", p)
	}
}

// TestBounds names what times go to.
func TestBounds(t *testing.T) {
	for _, c := range []struct {
		what string
		p    Prediction
		want string
	}{
		{"a prefill in long passes", llama3.PrefillTime(onHost(8, 8192), tableRates, 128<<10), BoundCompute},
		{"a prefill in short passes", llama3.PrefillTime(onHost(8, 256), tableRates, 128<<10), BoundLink},
		{"a step over the link", llama3.DecodeTime(onHost(8, 8192), tableRates, 128<<10), BoundLink},
		{"a step on the device", llama3.DecodeTime(Standard(), tableRates, 128<<10), BoundMemory},
	} {
		if c.p.Bound != c.want {
			t.Errorf("%s is bound by %s, want %s", c.what, c.p.Bound, c.want)
		}
	}
}

// TestStreamingHeads halves what grows with the context.
func TestStreamingHeads(t *testing.T) {
	exact := onHost(4, 8192)
	half := exact
	half.Streaming, half.Recent = 0.5, 320
	const tokens = 1 << 20
	if share := llama3.DecodeTime(half, tableRates, tokens).Seconds / llama3.DecodeTime(exact, tableRates, tokens).Seconds; share < 0.5 || share > 0.51 {
		t.Errorf("with half of the heads streaming a step takes %g of the time", share)
	}
	if share := llama3.PrefillTime(half, tableRates, tokens).Seconds / llama3.PrefillTime(exact, tableRates, tokens).Seconds; share < 0.5 || share > 0.55 {
		t.Errorf("with half of the heads streaming a prefill takes %g of the time", share)
	}
	all := half
	all.Streaming, all.Span = 1, 320
	if a, b := llama3.DecodeTime(all, tableRates, tokens).Seconds, llama3.DecodeTime(all, tableRates, tokens/2).Seconds; a != b {
		t.Errorf("with all heads streaming a step takes %g s and, at half of the context, %g", a, b)
	}
}
