package stages

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"headinfer/kernels"
	"headinfer/kernels/cpu"
	"headinfer/model"
	"headinfer/plan"
	"headinfer/transfer"
)

// loadOn puts a model on a CPU device for several engines, for as long as the test runs.
func loadOn(t *testing.T, path string, budget int64) *Loaded {
	t.Helper()
	checkpoint, err := model.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	dev := cpu.Open(budget, 2)
	l, err := Load(checkpoint, dev)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.Close()
		if err := errors.Join(dev.Close(), checkpoint.Close()); err != nil {
			t.Error(err)
		}
	})
	return l
}

// engineOf starts a method's engine over a model that is loaded.
func engineOf(t *testing.T, l *Loaded, method string, hostMemory int64, sets ...string) *Engine {
	t.Helper()
	registry, err := Registry()
	if err != nil {
		t.Fatal(err)
	}
	_, heads, err := Graphs(registry, load(t, method, sets...))
	if err != nil {
		t.Fatal(err)
	}
	e, err := l.Engine(EngineOptions{Heads: heads, HostMemory: hostMemory})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// TestLoadedServesEveryMethod lets methods take turns over one model: each computes what
// an engine of its own does, the weights are there once, and host memory that a text has
// taken serves the texts after it.
func TestLoadedServesEveryMethod(t *testing.T) {
	const tokens, chunk = 700, 128
	ids := make([]int32, tokens)
	for i := range ids {
		ids[i] = rand.Int32N(320)
	}
	l := loadOn(t, tinyLlama, 1<<30)
	weights := l.device.Ledger().Usage().Now[kernels.Weights]
	var taken int64
	for _, method := range []string{"layer-wise", "standard", "headinfer-1", "tiled", "adaptive", "streaming-llm", "headinfer-2", "layer-wise"} {
		var want []float32
		own := openMethod(t, method, tinyLlama)
		e := engineOf(t, l, method, 0)
		for i, engine := range []*Engine{own, e} {
			text := admit(t, engine)
			if _, err := text.Prefill(t.Context(), ids[:tokens-1], chunk, 1); err != nil {
				t.Fatal(err)
			}
			got, err := text.Step(t.Context(), ids[tokens-1])
			if err != nil {
				t.Fatal(err)
			}
			text.Release()
			if i == 0 {
				want = got
			} else if !slices.Equal(got, want) {
				t.Errorf("%s: the logits differ from those of an engine of its own", method)
			}
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		if len(l.hosts) != 1 {
			t.Fatalf("%d kinds of host memory", len(l.hosts))
		}
		held, used := l.hosts[0].Bytes()
		if used != 0 || taken > 0 && held != taken {
			t.Errorf("%s: host memory of %d bytes is held, %d used, after %d before", method, held, used, taken)
		}
		if method == "layer-wise" {
			taken = held
		}
		if u := l.device.Ledger().Usage(); u.Now[kernels.Weights] != weights || u.Now[kernels.KVCache]+u.Now[kernels.Activations] != 0 {
			t.Errorf("%s leaves %v", method, u.Now)
		}
	}
	if taken == 0 {
		t.Error("no host memory was kept")
	}
	l.Trim()
	if held, _ := l.hosts[0].Bytes(); held != 0 {
		t.Errorf("%d bytes are held after Trim", held)
	}
}

// TestHoldTakesWhatReadingTakes compares a text's memory that is only held with plan's
// arithmetic, which another test holds against reading, at lengths drawn at random.
func TestHoldTakesWhatReadingTakes(t *testing.T) {
	l := loadOn(t, tinyLlama, 1<<30)
	host := func(group, span int) plan.Method {
		return plan.Method{OnHost: true, Group: group, Slots: 2, Span: span}
	}
	for method, how := range map[string]plan.Method{
		"standard": plan.Standard(), "chunked-prefill": {}, "layer-wise": host(0, 0), "headinfer-1": host(1, 0), "tiled": host(0, 4096),
	} {
		e := engineOf(t, l, method, 0)
		tokens, chunk := 100+rand.IntN(6000), 64+rand.IntN(200)
		if method == "standard" {
			chunk = 0
		}
		how.Chunk = chunk
		e.Device.Ledger().ResetPeak()
		text := admit(t, e)
		if err := text.Hold(tokens, chunk, 1); err != nil {
			t.Fatal(err)
		}
		want := PlanModel(e).Memory(how, tokens, tokens+1)
		if got := e.Device.Ledger().Usage(); got.Now[kernels.KVCache] != want.KV || got.Now[kernels.Activations] != want.Activations {
			t.Errorf("%s, %d tokens in passes of %d: %v is held, plan says %d and %d", method, tokens, chunk, got.Now, want.KV, want.Activations)
		}
		text.Release()
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHoldIsRefused as reading would be, by the memory that is short.
func TestHoldIsRefused(t *testing.T) {
	l := loadOn(t, tinyLlama, 16<<20)
	for _, c := range []struct {
		method string
		tokens int
		is     error
	}{
		{"chunked-prefill", 1 << 19, kernels.ErrBudget}, {"layer-wise", 1 << 19, kernels.ErrBudget}, {"tiled", 1 << 21, transfer.ErrHostMemory},
	} {
		e := engineOf(t, l, c.method, 1<<30)
		text := admit(t, e)
		if err := text.Hold(c.tokens, 64, 1); !errors.Is(err, c.is) {
			t.Errorf("%s, %d tokens: %v; expected %v", c.method, c.tokens, err, c.is)
		}
		text.Release()
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	e := engineOf(t, l, "h2o", 0)
	text := admit(t, e)
	if err := text.Hold(100, 64, 1); err == nil || !strings.Contains(err.Error(), "heads.offload.heavy=none") {
		t.Errorf("a cache that drops tokens: %v", err)
	}
	text.Release()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	checkpoint, err := model.Open(tinyLlama)
	if err != nil {
		t.Fatal(err)
	}
	dev := cpu.Open(1<<10, 2)
	if _, err := Load(checkpoint, dev); !errors.Is(err, kernels.ErrBudget) || !strings.Contains(err.Error(), "for the weights alone") {
		t.Errorf("a model in a kibibyte: %v", err)
	}
	if err := errors.Join(dev.Close(), checkpoint.Close()); err != nil {
		t.Error(err)
	}
}
