package plan

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// The H100's rates as the runs of docs/benchmarks.md and docs/paper.md measured them: those
// of the table of all methods, of the curves, and of the ablations of granularity, of the
// cache's encoding and of the chunk.
var (
	tableRates = Rates{CopyIn: 55.3e9, CopyOut: 55.1e9, Linear: 767e12, Attention: 617e12, Read: 3.116e12}
	curveRates = Rates{CopyIn: 54.8e9, CopyOut: 55.1e9, Linear: 728e12, Attention: 623e12, Read: 3.114e12}
	grainRates = Rates{CopyIn: 54.9e9, CopyOut: 55.1e9, Linear: 746e12, Attention: 621e12, Read: 3.112e12}
	codeRates  = Rates{CopyIn: 55.1e9, CopyOut: 55.1e9, Linear: 767e12, Attention: 630e12, Read: 3.113e12}
	chunkRates = Rates{CopyIn: 55.1e9, CopyOut: 55.2e9, Linear: 781e12, Attention: 628e12, Read: 3.122e12}
)

// published are measured figures (seconds); 0: none. The prefills' host memory was there.
var published = []struct {
	name            string
	rates           Rates
	how             Method
	context         int
	prefill, decode float64
}{
	{"standard", grainRates, Method{}, 8 << 10, 0.205, 6.93e-3},
	{"standard", curveRates, Method{}, 8 << 10, 0, 6.41e-3},
	{"standard", curveRates, Method{}, 16 << 10, 0, 6.99e-3},
	{"standard", grainRates, Method{}, 32 << 10, 1.19, 7.69e-3},
	{"chunked-prefill", grainRates, Method{Chunk: 4224}, 8 << 10, 0.215, 6.77e-3},
	{"chunked-prefill", grainRates, Method{Chunk: 4224}, 32 << 10, 1.22, 7.62e-3},
	{"adaptive", grainRates, onHost(8, 8448), 8 << 10, 0.205, 21.5e-3},
	{"adaptive", curveRates, onHost(8, 8448), 16 << 10, 0, 43.2e-3},
	{"adaptive", grainRates, onHost(8, 8448), 32 << 10, 1.19, 81.0e-3},
	{"adaptive", curveRates, onHost(8, 8448), 64 << 10, 0, 167e-3},
	{"adaptive", grainRates, onHost(8, 8448), 128 << 10, 10.3, 318e-3},
	{"adaptive", grainRates, onHost(8, 8448), 256 << 10, 0, 0.629},
	{"adaptive", grainRates, onHost(8, 8448), 512 << 10, 0, 1.267},
	{"adaptive", grainRates, onHost(8, 8448), 800_000, 0, 1.925},
	{"chunks of 2,000", chunkRates, onHost(8, 2000), 128 << 10, 11.4, 0},
	{"chunks of 5,000", chunkRates, onHost(8, 5000), 128 << 10, 10.8, 0},
	{"chunks of 10,000", chunkRates, onHost(8, 10_000), 128 << 10, 10.5, 0},
	{"headinfer-4", grainRates, onHost(4, 8448), 32 << 10, 1.20, 82.1e-3},
	{"headinfer-2", grainRates, onHost(2, 8448), 32 << 10, 1.20, 84.0e-3},
	{"headinfer-1", grainRates, onHost(1, 8448), 32 << 10, 1.20, 87.1e-3},
	{"headinfer-4", grainRates, onHost(4, 8448), 128 << 10, 10.3, 319e-3},
	{"headinfer-2", grainRates, onHost(2, 8448), 128 << 10, 10.3, 322e-3},
	{"headinfer-1", grainRates, onHost(1, 8448), 128 << 10, 10.5, 324e-3},
	{"tiled", tableRates, Method{Chunk: 8192, OnHost: true, Group: 8, Span: 4096, Slots: 2}, 32 << 10, 0, 83.2e-3},
	{"tiled", tableRates, Method{Chunk: 8192, OnHost: true, Group: 8, Span: 4096, Slots: 2}, 128 << 10, 0, 326e-3},
	{"tiled", tableRates, Method{Chunk: 8192, OnHost: true, Group: 8, Span: 4096, Slots: 2}, 900_000, 0, 2.35},
	{"int8", codeRates, inCodes(8), 32 << 10, 1.21, 44.5e-3},
	{"int4", codeRates, inCodes(4), 32 << 10, 1.21, 24.2e-3},
	{"int8", codeRates, inCodes(8), 128 << 10, 10.7, 171e-3},
	{"int4", codeRates, inCodes(4), 128 << 10, 10.5, 93.7e-3},
}

func onHost(group, chunk int) Method {
	return Method{Chunk: chunk, OnHost: true, Group: group, Slots: 2}
}

func inCodes(bits int) Method {
	return Method{Chunk: 4096, OnHost: true, Group: 8, Slots: 2, Bits: bits, ScaleGroup: 64}
}

// TestPublishedTimes holds predictions to within 10% of what was measured.
func TestPublishedTimes(t *testing.T) {
	near := func(what string, p Prediction, measured float64) {
		t.Helper()
		off := p.Seconds/measured - 1
		t.Logf("%s: %.4g s predicted, %.4g measured: %+.0f%%", what, p.Seconds, measured, 100*off)
		if off > 0.1 || off < -0.1 {
			t.Errorf("%s: %.4g s predicted, %.4g measured: %+.0f%%", what, p.Seconds, measured, 100*off)
		}
	}
	for _, row := range published {
		name := fmt.Sprintf("%s at %d", row.name, row.context)
		if row.prefill > 0 {
			near(name+", prefill", llama3.PrefillTime(row.how, row.rates, row.context), row.prefill)
		}
		if row.decode > 0 {
			near(name+", decode", llama3.DecodeTime(row.how, row.rates, row.context), row.decode)
		}
	}
}

// TestWindowsAreOneTile: layers with a window have no groups, nor anything to copy.
func TestWindowsAreOneTile(t *testing.T) {
	windows := llama3
	windows.Local, windows.Window, windows.LocalLast = windows.Layers, 4096, true
	for _, tokens := range []int{1000, 100_000} {
		one, all := windows.PrefillTime(onHost(1, 4096), grainRates, tokens), windows.PrefillTime(onHost(8, 4096), grainRates, tokens)
		if one != all || one.Seconds <= 0 || one.Copy != 0 {
			t.Errorf("%d tokens: %+v with groups of one head, %+v of all", tokens, one, all)
		}
	}
}

// TestUnreadLayer: of a prefill in passes, the last layer's past counts once, whether it is
// copied in, written back, or decoded.
func TestUnreadLayer(t *testing.T) {
	two := llama3
	two.Layers = 2
	const tokens, passes = 100 * 512, 100
	links := Rates{CopyIn: 1, CopyOut: 1}
	whole := onHost(8, 512)
	whole.WriteWhole = true
	in, out := two.PrefillCopies(whole, tokens)
	p := two.PrefillTime(whole, links, tokens)
	// What is written back goes out beside what is new.
	if want := float64(in+out) / (linkSustained * linkBothWays); p.Copy < 0.99*want || p.Copy > 1.01*want {
		t.Errorf("%g s of copies, and %d bytes come in and %d go out", p.Copy, in, out)
	}
	_, cache := two.PrefillReads(onHost(8, 512), tokens)
	if want := float64(in + two.KV(tokens)); cache < 0.999999*want || cache > 1.000001*want {
		t.Errorf("%g bytes of keys and values are read, want %g", cache, want)
	}
	// Weights of a layer of Llama-3-8B up to attention and after it, and of the table.
	const before, after, table = 4096 * (4096 + 2*1024), 4096 * (4096 + 3*14336), 4096 * 128256
	weights, _ := two.PrefillReads(onHost(8, 512), tokens)
	if want := (passes*(2*before+after) + after + table) * two.bytesPerWeight(); weights < 0.999999*want || weights > 1.000001*want {
		t.Errorf("%g bytes of weights are read, want %g", weights, want)
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
