package plan

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// h100 is what an H100 with PCI Express 5 is known by, with a budget.
func h100(memory int64) Machine {
	return Machine{
		Rates:  Rates{CopyIn: 55.4e9, Linear: 772e12, Attention: 614e12},
		Blocks: 132, BlockRows: 128, Chunk: 4096, Memory: memory,
	}
}

const anyContext = math.MaxInt32

func hostMethod(group int) Method { return Method{OnHost: true, Group: group, Slots: 2} }

// TestBreakEven has figures that can be followed: at a context so long that linear
// layers do not count, a token's attention is 4 · heads · head_dim operations for each
// key, whose 2 · KV heads · head_dim elements of 2 bytes are copied once.
func TestBreakEven(t *testing.T) {
	r := Rates{CopyIn: 50e9, Linear: 800e12, Attention: 600e12}
	for _, c := range []struct {
		what    string
		model   Model
		how     Method
		context int
		want    float64
	}{
		// (4 · 1024 bytes / 50e9) / (4 · 4096 / 600e12) = 3000.
		{"four query heads a KV head", llama3, hostMethod(8), 1 << 40, 3000},
		{"the group is of no matter", llama3, hostMethod(1), 1 << 40, 3000},
		{"on the device", llama3, Method{}, 1 << 40, 0},
		// 8 of 16 bits, and 4 bytes of scale and minimum for 64 codes.
		{"codes of 8 bits", llama3, Method{OnHost: true, Bits: 8, ScaleGroup: 64}, 1 << 40, 3000 * 68 / 128},
		// 8192 · 128 KiB / 50e9 = 21.47 ms of copies; a token takes 2 · 6.979e9 / 800e12 =
		// 17.45 µs in linear layers and 4 · 4096 · 32 · 8192 / 600e12 = 7.158 µs.
		{"a short context", llama3, hostMethod(8), 8192, 21.47e3 / (17.448 + 7.158)},
	} {
		if got := c.model.BreakEven(c.how, r, c.context); math.Abs(got-c.want) > 1e-3*c.want {
			t.Errorf("%s: %g tokens, want %g", c.what, got, c.want)
		}
	}
	if got := llama3.BreakEven(hostMethod(8), Rates{CopyIn: 1}, 8192); got != 0 {
		t.Errorf("with rates that are not known: %g tokens", got)
	}
}

// TestBreakEvenBalancesALayer checks, for random models and machines, what the break-even is
// for: a pass of as many tokens computes as long as it copies, by the functions that
// say what a prefill takes.
func TestBreakEvenBalancesALayer(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 100 {
		kv := 1 + r.IntN(8)
		m := Model{
			Layers: 2 + r.IntN(30), Hidden: 64 * (1 + r.IntN(64)), Heads: kv * (1 + r.IntN(8)), KVHeads: kv, HeadDim: 64, FFN: 64 * (1 + r.IntN(200)),
			ElementBytes: []int64{2, 4}[r.IntN(2)],
		}
		rates := Rates{CopyIn: 1e9 * (1 + 100*r.Float64()), Linear: 1e12 * (1 + 800*r.Float64()), Attention: 1e12 * (1 + 600*r.Float64())}
		how, context := hostMethod(0), 100_000+r.IntN(900_000)
		even := m.BreakEven(how, rates, context)
		n := int(math.Round(even))
		if n < 100 || n > context/100 {
			continue // rounding, or the pass's own part of the attention, would be seen
		}
		// A layer more takes as long to compute as to copy.
		deeper := m
		deeper.Layers++
		copies := float64(deeper.DecodeCopies(how, context)-m.DecodeCopies(how, context)) / rates.CopyIn
		linear := func(n int) float64 { return deeper.LinearFlops(n) - m.LinearFlops(n) }
		attention := func(n int) float64 { return deeper.AttentionFlops(n) - m.AttentionFlops(n) }
		compute := (linear(context+n)-linear(context))/rates.Linear + (attention(context+n)-attention(context))/rates.Attention
		if math.Abs(compute-copies) > 0.02*copies {
			t.Errorf("%+v on %+v after %d tokens: a pass of %d computes %g s and copies %g s", m, rates, context, n, compute, copies)
		}
	}
}

func TestChooseChunk(t *testing.T) {
	llama2 := llama3 // as many KV heads as query heads
	llama2.KVHeads, llama2.FFN, llama2.Vocab, llama2.WeightBytes = 32, 11008, 32000, 13_476_839_424
	slow := h100(24 * gib)
	slow.CopyIn = 25e9
	unknown := Machine{Chunk: 512, Memory: 24 * gib, Rates: Rates{CopyIn: 10e9}}
	for _, c := range []struct {
		what    string
		model   Model
		how     Method
		machine Machine
		context int
		want    int
		why     string
	}{
		// 3 · 2771 = 8312; 8448 tokens are 66 tiles of 32 rows of 4 queries for each of 8 heads: 16 waves of 132.
		{"Llama-3-8B", llama3, hostMethod(8), h100(24 * gib), anyContext, 8448, "fills its waves of 132 blocks to 100%"},
		{"a head at a time", llama3, hostMethod(1), h100(24 * gib), anyContext, 8448, "to 100%"},
		{"its context", llama3, hostMethod(8), h100(24 * gib), 8192, 4224, "near their best from 4096 on"},
		{"on the device", llama3, Method{}, h100(24 * gib), anyContext, 4224, "near their best from 4096 on"},
		{"a slower link", llama3, hostMethod(8), slow, anyContext, 16896, "more than 16384"},
		{"as many KV heads", llama2, hostMethod(32), h100(80 * gib), anyContext, 16896, "more than 16384"},
		{"a short context", llama3, hostMethod(8), h100(24 * gib), 2048, 2048, "the model's context"},
		{"nothing known", llama3, hostMethod(8), unknown, anyContext, 512, "near their best from 512 on"},
	} {
		got := c.model.ChooseChunk(c.how, c.machine, c.context)
		if got.Tokens != c.want || !strings.Contains(got.Why, c.why) {
			t.Errorf("%s: %+v, want %d: %s", c.what, got, c.want, c.why)
		}
	}
}

// TestChooseInLittleMemory has budgets from none to plenty: what is chosen fits in its
// part as far as anything does, grows with the budget, and is the largest that does.
func TestChooseInLittleMemory(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	how := hostMethod(4)
	last := 0
	for beside := int64(1 << 20); beside < 64*gib; beside += beside/16 + r.Int64N(beside/8) {
		machine := h100(llama3.WeightBytes + beside)
		got := llama3.ChooseChunk(how, machine, anyContext).Tokens
		step := 128
		if got < 128 {
			step = 16
		}
		if got%16 != 0 || got < last || llama3.Activations(got, 1) > beside/4 && got > 16 {
			t.Errorf("with %d bytes beside the weights: %d tokens, and before %d", beside, got, last)
		}
		if got < 8448 && llama3.Activations(got+step, 1) <= beside/4 {
			t.Errorf("with %d bytes beside the weights: %d tokens, and %d fit", beside, got, got+step)
		}
		last = got
	}
	if last != 8448 {
		t.Errorf("in plenty: %d tokens", last)
	}
	if got := llama3.ChooseChunk(how, h100(gib), anyContext).Tokens; got != 8448 {
		t.Errorf("where the weights do not fit: %d tokens", got)
	}
	// With spans, results that are merged take room too: 4 KV heads of 4 queries in f32.
	tiled, beside := how, int64(gib)
	tiled.Span = 4096
	got := llama3.ChooseChunk(tiled, h100(llama3.WeightBytes+beside), anyContext).Tokens
	if m := llama3.Memory(Method{OnHost: true, Group: 4, Slots: 2, Span: 4096, Chunk: got}, 1<<20, 1<<20); m.Activations > beside/4 || got < 1024 {
		t.Errorf("with spans: %d tokens, which take %d bytes of %d", got, m.Activations, beside)
	}
}

func TestChooseSpan(t *testing.T) {
	machine := h100(24 * gib)
	codes := Method{OnHost: true, Group: 8, Slots: 2, Bits: 8, ScaleGroup: 64}
	for _, c := range []struct {
		what string
		how  Method
		want int
	}{
		// 55.4e9 · 15e-6 · 19 = 15.8 MB are 3,855 tokens of 4,096 bytes.
		{"all heads", hostMethod(8), 4096}, {"all, unsaid", hostMethod(0), 4096},
		{"four heads", hostMethod(4), 7936}, {"a head", hostMethod(1), 30976}, {"codes of 8 bits", codes, 7424},
	} {
		got := llama3.ChooseSpan(c.how, machine)
		group := c.how.Group
		if group == 0 {
			group = 8
		}
		bytes := float64(got.Tokens) * float64(group) * float64(llama3.CachedToken(c.how))
		// What a tile costs is 5% of its time, and with 256 tokens fewer it would be more.
		share := func(bytes float64) float64 { return 15e-6 / (15e-6 + bytes/machine.CopyIn) }
		less := bytes / float64(got.Tokens) * float64(got.Tokens-256)
		if got.Tokens != c.want || share(bytes) > 0.05 || share(less) < 0.05 {
			t.Errorf("%s: %+v, want %d; latency takes %g of the time, or %g", c.what, got, c.want, share(bytes), share(less))
		}
	}
	if got := llama3.ChooseSpan(Method{}, machine); got.Tokens != 0 {
		t.Errorf("on the device: %+v", got)
	}
	local := llama3
	local.Local, local.Window = local.Layers, 100
	if got := local.ChooseSpan(hostMethod(8), machine); got.Tokens != 0 {
		t.Errorf("with windows in all layers: %+v", got)
	}
	if got := llama3.ChooseSpan(hostMethod(8), Machine{Memory: 24 * gib}); got.Tokens != 4096 {
		t.Errorf("without rates: %+v", got)
	}
	// 64 MiB beside the weights leave 16 for two slots of 4,096 bytes a token.
	if got := llama3.ChooseSpan(hostMethod(8), h100(llama3.WeightBytes+64<<20)); got.Tokens != 2048 || !strings.Contains(got.Why, "4096 would do") {
		t.Errorf("in little memory: %+v", got)
	}
	if got := llama3.ChooseSpan(hostMethod(8), h100(0)); got.Tokens != 64 {
		t.Errorf("in none: %+v", got)
	}
}
