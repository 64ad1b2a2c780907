package stages

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"headinfer/plan"
	"headinfer/transfer"
)

// TestPassesWithoutLogits reads two texts together in pieces, once asking for logits
// after each piece and once after the last alone: what follows is the same to the bit,
// and the last layer's past comes with the last piece alone.
func TestPassesWithoutLogits(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	// In the last layer heads of both kinds.
	heads := filepath.Join(t.TempDir(), "heads.tsv")
	if err := os.WriteFile(heads, []byte("1 0 0 1\n0 1 1 0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		method, model string
		sets          []string
		fewer         bool // bytes come without logits
	}{
		{"standard", tinyLlama, nil, false},
		{"headinfer-1", tinyLlama, nil, true},
		{"adaptive", tinyLlama, []string{"heads.offload.write=whole"}, true},
		{"tiled", tinyLlama, []string{"heads.attention.span=37"}, true},
		{"adaptive", tinyLlama, []string{"heads.attention.recent=20", "heads.attention.sinks=3"}, true},
		{"adaptive", tinyLlama, []string{"heads.attention.recent=20", "heads.attention.sinks=3", "heads.attention.streaming_heads=" + heads}, true},
		{"adaptive", tinyLlama, []string{"heads.prefetch.slots=1"}, true},
		{"adaptive", tinyLlama, []string{"heads.prefetch.overlap=false"}, true},
		{"adaptive", tinyLlama, []string{"heads.prefetch.ahead=layer"}, true},
		{"h2o", tinyLlama, []string{"heads.offload.heavy=40", "heads.offload.heavy_recent=20"}, false},
		{"int8", tinyRandom, []string{"heads.attention.group=1"}, true},
		{"headinfer-1", architecture(t, "gemma2"), nil, true},                          // the last layer sees everything
		{"headinfer-1", architecture(t, "mistral"), nil, false},                        // all have a window
		{"tiled", architecture(t, "qwen3"), []string{"heads.attention.span=37"}, true}, // 48 hidden, 4 heads of 16
		{"int8", reshaped(t, architecture(t, "gemma2"), map[string]int{"head_dim": 64, "vocab_size": 257}), nil, true},
	} {
		t.Run(fmt.Sprint(i, " ", c.method), func(t *testing.T) {
			of := func(want bool) (*Engine, [][]float32) {
				e, r := openMethodOn(t, counted(twoThreads), c.method, c.model, c.sets...), rand.New(rand.NewPCG(seed, uint64(i)))
				return e, inPieces(t, e, r, want)
			}
			all, want := of(true)
			some, got := of(false)
			for j := range want {
				if !slices.Equal(got[j], want[j]) {
					t.Errorf("logits %d differ by %g", j, distance(got[j], wide(want[j])))
				}
			}
			in, fewer := all.Device.(*counting).in.Load(), some.Device.(*counting).in.Load()
			if in == fewer == c.fewer || in < fewer {
				t.Errorf("%d bytes came in with logits, and %d without", in, fewer)
			}
			if moved := some.loop.moved.In.Load(); c.fewer && moved != fewer {
				t.Errorf("%d bytes are counted, and %d came", moved, fewer)
			}
		})
	}
}

// inPieces reads two texts, of which pieces are in a pass together, and then a token
// more; it returns the logits of the last piece and of that token.
func inPieces(t *testing.T, e *Engine, r *rand.Rand, logits bool) (all [][]float32) {
	t.Helper()
	e.slots = make(chan struct{}, 2)
	const pieces, each = 4, 33
	var batch []reading
	for range 2 {
		text := admit(t, e)
		defer text.Release()
		text.expect(pieces*each, 1)
		if err := e.reserve(text, pieces*each+1, 2*each); err != nil {
			t.Fatal(err)
		}
		batch = append(batch, reading{text: text})
	}
	for piece := range pieces + 1 {
		for i := range batch {
			batch[i].tokens = make([]int32, map[bool]int{true: each, false: 1}[piece < pieces])
			for j := range batch[i].tokens {
				batch[i].tokens[j] = r.Int32N(90)
			}
		}
		got, err := e.read(t.Context(), transfer.Prefill, batch, logits || piece >= pieces-1)
		if err != nil {
			t.Fatal(err)
		}
		if piece >= pieces-1 {
			all = append(all, got...)
		}
	}
	return all
}

// TestUnreadBranches reads questions about a text in two passes, once asking for logits
// after the first as well: what follows is the same to the bit.
func TestUnreadBranches(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for i, c := range []struct{ method, model string }{
		{"headinfer-1", tinyLlama}, {"int8", tinyRandom}, {"headinfer-1", architecture(t, "gemma2")},
	} {
		t.Run(fmt.Sprint(i, " ", c.method), func(t *testing.T) {
			of := func(want bool) (int64, [][]float32) {
				e := openMethodOn(t, counted(twoThreads), c.method, c.model)
				logits := ofQuestions(t, e, rand.New(rand.NewPCG(seed, uint64(i))), want)
				return e.Device.(*counting).in.Load(), logits
			}
			all, want := of(true)
			fewer, got := of(false)
			for j := range want {
				if !slices.Equal(got[j], want[j]) {
					t.Errorf("logits %d of %d differ by %g", j, len(want), distance(got[j], wide(want[j])))
				}
			}
			if fewer >= all {
				t.Errorf("%d bytes came in with logits after the first pieces, and %d without", all, fewer)
			}
		})
	}
}

// ofQuestions reads a text, and then questions about it, each in two pieces and all in
// the same passes, and a token more; it returns the logits of the second pieces and of
// that token, and has those of the first computed too if first is set.
func ofQuestions(t *testing.T, e *Engine, r *rand.Rand, first bool) (all [][]float32) {
	t.Helper()
	ids := func(n int) []int32 {
		out := make([]int32, n)
		for i := range out {
			out[i] = r.Int32N(90)
		}
		return out
	}
	e.slots = make(chan struct{}, 4)
	base := admit(t, e)
	if _, err := base.Prefill(t.Context(), ids(140+r.IntN(20)), 30, 0); err != nil {
		t.Fatal(err)
	}
	pieces := [][]int{{33, 1}, {1, 18}, {20, 33}}
	var batch []reading
	for i, of := range pieces {
		if _, err := e.enter(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		branch, err := base.branch(fmt.Sprint(i), of[0]+of[1], 1, max(of[0], of[1]))
		if err != nil {
			t.Fatal(err)
		}
		defer branch.Release()
		batch = append(batch, reading{text: branch})
	}
	base.Release() // its memory stays for the branches
	for pass := range 3 {
		for i, of := range pieces {
			batch[i].tokens = ids(append(of, 1)[pass])
		}
		got, err := e.read(t.Context(), transfer.Prefill, batch, first || pass > 0)
		if err != nil {
			t.Fatal(err)
		}
		if pass > 0 {
			all = append(all, got...)
		}
	}
	return all
}

// TestUnreadCopies compares the bytes that a prefill brings in with the arithmetic, for
// models whose last layer sees everything or has a window.
func TestUnreadCopies(t *testing.T) {
	for _, name := range []string{"gemma2", "gemma3", "qwen3", "llama31"} {
		const tokens, chunk = 120, 31
		e := openMethod(t, "headinfer-1", architecture(t, name))
		text := admit(t, e)
		if _, err := text.Prefill(t.Context(), make([]int32, tokens), chunk, 0); err != nil {
			t.Fatal(err)
		}
		text.Release()
		m := PlanModel(e)
		in, out := m.PrefillCopies(plan.Method{OnHost: true, Chunk: chunk}, tokens)
		if i, o := e.loop.moved.In.Load(), e.loop.moved.Out.Load(); in == 0 || i != in || o != out {
			t.Errorf("%s (a window last: %t): %d bytes came in and %d went out, plan says %d and %d", name, m.LocalLast, i, o, in, out)
		}
	}
}
