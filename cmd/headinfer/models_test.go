package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"headinfer/kernels"
	"headinfer/model"
	"headinfer/pipelines"
	"headinfer/stages"
)

// TestFitMethodsAreThePipelines compares what is computed with what engines of the
// pipelines do.
func TestFitMethodsAreThePipelines(t *testing.T) {
	const prompt, chunk = 700, 512
	names := pipelines.Names()
	for _, f := range fitMethods() {
		at := slices.Index(names, f.name)
		if at < 0 {
			t.Errorf("%s is no pipeline", f.name)
			continue
		}
		names = slices.Delete(names, at, at+1)
		o := overrides{sets: []string{"model.path=random:tiny", "device.kind=cpu"}}
		p, err := o.loadMethod(f.name)
		if err != nil {
			t.Fatal(err)
		}
		engine, done, err := openEngine(p, zerolog.Nop())
		if err != nil {
			t.Fatal(err)
		}
		m := stages.PlanConfig(engine.Checkpoint.Config, engine.Checkpoint.WeightBytes(), engine.Device.Info().Activations)
		if got := stages.PlanModel(engine); got != m {
			t.Errorf("the engine's model is %+v, not %+v", got, m)
		}
		text, err := engine.Admit(t.Context(), f.name)
		if err != nil {
			t.Fatal(err)
		}
		want, err := f.of(m, chunk)
		if err == nil {
			_, err = text.Prefill(t.Context(), make([]int32, prompt), want.Chunk, 0)
		}
		if err != nil {
			t.Fatal(err)
		}
		machine := fitMachine{Chunk: engine.Device.Info().Chunk, Device: engine.Device.Ledger().Usage().Budget, nominal: engine.Device.Info().Nominal}
		if got, auto := machine.chunk(m, f, engine.Checkpoint.Config.Context), stages.ChunkOf(p.Documents, engine); auto > 0 && got != auto {
			t.Errorf("%s: passes of %d tokens, and the engine's of %d", f.name, got, auto)
		}
		got := engine.Method(want.Chunk)
		if f.adaptive {
			want.Group = m.KVHeads // in plenty
		}
		if !want.OnHost {
			got.Group = want.Group // of no matter
		}
		if got != want {
			t.Errorf("%s: the engine's tiles are %+v, not %+v", f.name, got, want)
		}
		text.Release()
		if err := done(); err != nil {
			t.Error(err)
		}
	}
	if !slices.Equal(names, []string{"h2o", "streaming-llm"}) {
		t.Errorf("nothing is computed for %v; only caches that do not grow are left out", names)
	}
}

// TestModelOfWindows has a model whose layers nearly all see the last tokens only.
func TestModelOfWindows(t *testing.T) {
	c := model.Config{
		Architecture: "mistral", Name: "w", Layers: 3, Hidden: 128, Heads: 4, KVHeads: 2, HeadDim: 64, FFN: 64, Vocab: 300,
		Context: 4096, Window: 1000, Sliding: []bool{true, false, true},
	}
	machine := fitMachine{Kind: "cuda", Name: "a GPU", Device: 1 << 30, Host: 1 << 20, Chunk: 4096, Activations: kernels.BF16}
	f := modelFacts{Model: "w", Path: "somewhere", Config: c, Weights: 1 << 20}
	f.fit(machine)
	var b bytes.Buffer
	if err := f.print(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"path          somewhere\n", "KV cache      512 B bf16, 272 B int8, 144 B int4 a token, in 1 layers; the other 2 keep the last 1000 tokens\n",
		"\nlayer-wise       2048 ", "\nThe model was trained for texts of 4096 tokens.\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, &b)
		}
	}
	c.Sliding[1] = true
	f.Config = c
	f.fit(machine)
	if r := f.Fits[1]; r.Method != "chunked-prefill" || !r.Any || !strings.HasPrefix(r.line(2), "chunked-prefill\tany\t") {
		t.Errorf("with windows in all layers, %s has room for %d tokens", r.Method, r.Longest)
	}
}

func TestParameters(t *testing.T) {
	for n, want := range map[int64]string{7: "7", 999: "999", 127296: "127.3 thousand", 134_515_008: "134.5 million", 70_553_706_496: "70.55 billion"} {
		if got := parameters(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}
