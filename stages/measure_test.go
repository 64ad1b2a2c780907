package stages

import (
	"math/rand/v2"
	"slices"
	"testing"

	"headinfer/kernels"
)

// TestTrim gives back what passes took and goes on as if nothing had happened.
func TestTrim(t *testing.T) {
	for method, want := range map[string]struct {
		group, span int
		onHost      bool
	}{
		"standard": {4, 0, false}, "headinfer-2": {2, 0, true}, "adaptive": {4, 0, true}, "tiled": {4, 4096, true},
	} {
		t.Run(method, func(t *testing.T) {
			e := openMethod(t, method, tinyLlama)
			ids := make([]int32, 700)
			for i := range ids {
				ids[i] = int32(i * 13 % 300)
			}
			expected := greedy(t, e, ids, 3, 100)

			text := admit(t, e)
			defer text.Release()
			if _, err := text.Prefill(t.Context(), ids[:400], 100, 303); err != nil {
				t.Fatal(err)
			}
			e.Trim()
			now := e.Device.Ledger().Usage().Now
			if now[kernels.Activations] != 0 || want.onHost && now[kernels.KVCache] != 0 {
				t.Errorf("after Trim, %v are in use", now)
			}
			logits, err := text.Prefill(t.Context(), ids[400:], 100, 3)
			if err != nil {
				t.Fatal(err)
			}
			var got []int32
			for range expected {
				got = append(got, argmax(logits))
				if logits, err = text.Step(t.Context(), got[len(got)-1]); err != nil {
					t.Fatal(err)
				}
			}
			if !slices.Equal(got, expected) {
				t.Errorf("with Trim between passes %v, without %v", got, expected)
			}
			if m := e.Method(100); m.Group != want.group || m.Span != want.span || m.OnHost != want.onHost || m.Chunk != 100 {
				t.Errorf("the method is %+v; want %+v", m, want)
			}
		})
	}
}

// TestProvide takes all host memory that reading a text then needs, also after an engine
// whose memory was of another kind.
func TestProvide(t *testing.T) {
	l := loadOn(t, tinyLlama, 1<<30)
	for _, set := range []string{"heads.offload.pinned=true", "heads.offload.pinned=false", "heads.offload.pinned=true", "heads.offload.write=whole"} {
		e := engineOf(t, l, "headinfer-2", 0, set)
		ids := make([]int32, 9000+rand.IntN(200))
		for i := range ids {
			ids[i] = rand.Int32N(320)
		}
		if err := e.Provide(t.Context(), len(ids), 4096, 2); err != nil {
			t.Fatal(err)
		}
		held, used := e.loop.host.Bytes()
		if held == 0 || used != 0 {
			t.Errorf("%s: %d bytes are held, %d of them used", set, held, used)
		}
		text := admit(t, e)
		if err := text.Hold(len(ids), 4096, 2); err != nil {
			t.Fatal(err)
		}
		for n := 0; n <= len(ids); n += 4096 {
			if err := e.reserve(text, min(n+4096, len(ids)), 1); err != nil {
				t.Fatal(err)
			}
		}
		if now, _ := e.loop.host.Bytes(); now != held {
			t.Errorf("%s: a text of %d tokens makes %d bytes of %d", set, len(ids), now, held)
		}
		text.Release()
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	e := engineOf(t, l, "standard", 0)
	defer func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := e.Provide(t.Context(), 100, 0, 2); err != nil {
		t.Error(err)
	}
}
