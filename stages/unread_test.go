package stages

import (
	"fmt"
	"math/rand/v2"
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
		{"h2o", tinyLlama, []string{"heads.offload.heavy=40", "heads.offload.heavy_recent=20"}, false},
		{"int8", tinyRandom, []string{"heads.attention.group=1"}, true},
		{"headinfer-1", architecture(t, "gemma2"), nil, true},  // the last layer sees everything
		{"headinfer-1", architecture(t, "mistral"), nil, false}, // all have a window
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
