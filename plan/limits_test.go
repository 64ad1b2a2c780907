package plan

import (
	"math"
	"math/rand/v2"
	"testing"
)

// small is a model whose figures can be added up on paper: a layer has
// 4·(2·8 + 2·4 + 3·5) = 156 weights, an embedding 4·7 = 28.
var small = Model{Layers: 3, Hidden: 4, Heads: 4, KVHeads: 2, HeadDim: 2, FFN: 5, Vocab: 7, WeightBytes: 5240, ElementBytes: 2}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-12*math.Abs(want) {
		t.Errorf("%s is %g, want %g", what, got, want)
	}
}

func TestFlops(t *testing.T) {
	// 2 layers × 156 weights and the last one's keys and values, 4·2·4 = 32, × 10 tokens × 2;
	// the last one's other 124 and the output's 28 × 2.
	near(t, "linear layers", small.LinearFlops(10), (2*156+32)*10*2+(124+28)*2)
	// 2 layers × 8 elements × 55 pairs × 2 products × 2, and the last token's 10 in the last layer.
	near(t, "attention", small.AttentionFlops(10), 8*(2*55+10)*4)
	near(t, "a token's attention", small.StepFlops(10), 3*8*10*4)
	// Llama-3-8B has 6.98 billion weights in its layers.
	near(t, "Llama-3-8B", llama3.LinearFlops(1)-2*4096*128256, 2*6_979_321_856)
	// 8K tokens, 4 · 4096 a pair of which there are 33,558,528 in 31 layers, and 8192 in the last.
	near(t, "Llama-3-8B's attention", llama3.AttentionFlops(8192), 16384*(31*33_558_528+8192))

	// Two of three layers see 4 tokens: 1 + 2 + 3 + 7 · 4 = 34 pairs. Which one is last?
	windows := small
	windows.Local, windows.Window = 2, 4
	near(t, "attention with windows", windows.AttentionFlops(10), 8*(2*34+10)*4)
	windows.LocalLast = true
	near(t, "attention with a window last", windows.AttentionFlops(10), 8*(55+34+4)*4)
	near(t, "a token's attention with windows", windows.StepFlops(10), 8*(10+2*4)*4)
	near(t, "no tokens", small.AttentionFlops(0), 0)
}

func TestPastTokens(t *testing.T) {
	for _, c := range []struct {
		tokens, chunk int
		want          int64
	}{
		{10, 0, 0}, {10, 10, 0}, {10, 11, 0}, {1, 1, 0}, {0, 4, 0},
		{10, 9, 9}, {10, 5, 5}, {11, 5, 5 + 10}, {10, 4, 4 + 8}, {10, 1, 45},
		{131072, 8192, 8192 * 120},
	} {
		if got := PastTokens(c.tokens, c.chunk); got != c.want {
			t.Errorf("%d tokens by %d: %d, want %d", c.tokens, c.chunk, got, c.want)
		}
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		tokens, chunk := r.IntN(5000), 1+r.IntN(700)
		var want int64
		for done := 0; done < tokens; done += chunk {
			want += int64(done)
		}
		if got := PastTokens(tokens, chunk); got != want {
			t.Errorf("%d tokens by %d: %d, want %d", tokens, chunk, got, want)
		}
	}
}

func TestPrefillCopies(t *testing.T) {
	if in, out := small.PrefillCopies(Method{Chunk: 4}, 10); in != 0 || out != 0 {
		t.Errorf("with the cache on the device, %d bytes come and %d go", in, out)
	}
	// A token is 3 layers × 2 heads × 2 × 2 elements × 2 bytes = 48 bytes. Chunks have 4
	// and 8 tokens before them; in the last layer, the last chunk alone needs these.
	if in, out := small.PrefillCopies(Method{Chunk: 4, OnHost: true}, 10); in != 12*48-4*16 || out != 10*48 {
		t.Errorf("%d bytes come and %d go, want %d and %d", in, out, 12*48-4*16, 10*48)
	}
	windows := small
	windows.Local, windows.Window, windows.LocalLast = 1, 4, true
	if in, _ := windows.PrefillCopies(Method{Chunk: 4, OnHost: true}, 10); in != 12*32 {
		t.Errorf("%d bytes come, want %d", in, 12*32)
	}
	// Llama-3-8B, 128 KiB a token, 4 of them the last layer's; 128Ki tokens by 8Ki.
	if in, out := llama3.PrefillCopies(Method{Chunk: 8192, OnHost: true}, 128<<10); in != 120<<30-105*32<<20 || out != 16<<30 {
		t.Errorf("%d bytes come and %d go, want 116.7 and 16 GiB", in, out)
	}
}

func TestDecodeCopies(t *testing.T) {
	codes := Method{OnHost: true, Bits: 8, ScaleGroup: 2}
	for _, c := range []struct {
		how  Method
		want int64
	}{
		{Method{}, 0}, {Method{Bits: 8, ScaleGroup: 2}, 0}, {Method{OnHost: true}, 11 * 48},
		// 10 tokens in whole records of 2: 3 layers × 2 heads × 2 × (2 codes + 4 bytes).
		{codes, 10 * 3 * 2 * 2 * 6},
	} {
		if got := small.DecodeCopies(c.how, 11); got != c.want {
			t.Errorf("%+v: %d bytes, want %d", c.how, got, c.want)
		}
	}
	if got := llama3.DecodeCopies(Method{OnHost: true}, 128<<10); got != 16<<30 {
		t.Errorf("Llama-3-8B: %d bytes, want 16 GiB", got)
	}
}

func TestReadPerToken(t *testing.T) {
	// The table is 28 of 28 + 28 + 3·156 = 524 weights: 280 of 5240 bytes.
	if got := small.ReadPerToken(); got != 5240-280 {
		t.Errorf("%d bytes, want 4960", got)
	}
	tied := small
	tied.Tied = true
	if got := tied.ReadPerToken(); got != 5240 {
		t.Errorf("tied: %d bytes, want all 5240", got)
	}
}

func TestLimits(t *testing.T) {
	r := Rates{CopyIn: 100, CopyOut: 10, Linear: 1000, Attention: 500, Read: 50}
	l := small.PrefillLimit(r, 10, 2400, 480)
	near(t, "prefill's copies", l.Copy, 48) // out is the slower way here
	near(t, "prefill's compute", l.Compute, 7184.0/1000+3840.0/500)
	near(t, "prefill", l.Seconds(), 48)
	near(t, "prefill's copies in", small.PrefillLimit(r, 10, 7200, 480).Copy, 72)

	// 4960 bytes of weights and 10 tokens of 48.
	l = small.DecodeLimit(r, 10, 480)
	near(t, "decode's copies", l.Copy, 4.8)
	near(t, "decode's reading", l.Compute, 5440.0/50)
	near(t, "decode", l.Seconds(), 5440.0/50)
	near(t, "decode that copies more", small.DecodeLimit(r, 10, 48000).Seconds(), 480)
	near(t, "decode without rates", small.DecodeLimit(Rates{}, 10, 480).Seconds(), 0)

	// The design's limit for 128Ki tokens on the host: 16 GiB over 54.7 GB/s.
	h100 := Rates{CopyIn: 54.7e9, CopyOut: 54.7e9, Linear: 798e12, Attention: 647e12, Read: 3e12}
	if got := llama3.DecodeLimit(h100, 128<<10, 16<<30).Seconds(); math.Abs(got-0.314) > 0.0005 {
		t.Errorf("Llama-3-8B on an H100: %g s a token, and the limit is 0.314", got)
	}
}
