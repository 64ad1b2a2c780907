package stages

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"headinfer/config"
	"headinfer/kernels"
)

// TestHeavyHitters compares a cache that drops tokens with an exact one: they
// agree as long as nothing has been dropped, and not afterwards.
func TestHeavyHitters(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	ids := make([]int32, 700)
	for i := range ids {
		ids[i] = r.Int32N(250)
	}
	const chunk, steps = 100, 80
	read := func(ids []int32, sets ...string) (all [][]float32, used int64) {
		e := openMethod(t, "chunked-prefill", tinyLlama, sets...)
		text := admit(t, e)
		defer text.Release()
		logits, err := text.Prefill(t.Context(), ids[:len(ids)-steps], chunk, steps)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, logits)
		for _, id := range ids[len(ids)-steps:] {
			if logits, err = text.Step(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			all = append(all, logits)
		}
		u := e.Device.Ledger().Usage()
		if len(sets) > 0 && len(ids) <= 200 { // nothing has been dropped
			checkMass(t, e, text)
		}
		if len(sets) > 0 {
			how := e.Method(chunk)
			if how.Keep != 100+50+63 {
				t.Errorf("the engine describes what it keeps as %+v", how)
			}
			if want := PlanModel(e).Memory(how, len(ids)-steps, len(ids)); u.AtPeak["kv"] != want.KV {
				t.Errorf("%d tokens: the ledger counted %d bytes, plan says %d", len(ids), u.AtPeak["kv"], want.KV)
			}
		}
		return all, u.AtPeak["kv"]
	}
	heavy := []string{"heads.offload.heavy=100", "heads.offload.heavy_recent=50"}
	short := ids[:200]
	exact, _ := read(short)
	got, _ := read(short, heavy...)
	if d := deviations(exact, got); d > 1e-5 {
		t.Errorf("nothing was dropped, and the logits are %.2g deviations away", d)
	}
	exact, _ = read(ids)
	got, took := read(ids, heavy...)
	if d := deviations(exact, got); !(d > 1e-3) {
		t.Errorf("tokens were dropped, and the logits are only %.2g deviations away", d)
	}
	twice := slices.Concat(ids, ids)
	if _, more := read(twice, heavy...); more != took {
		t.Errorf("the cache took %d bytes for %d tokens and %d for %d", took, len(ids), more, len(twice))
	}
	if d := deviations(got, func() [][]float32 { again, _ := read(ids, append(heavy, "heads.attention.group=1")...); return again }()); d > 1e-4 {
		t.Errorf("head by head the logits are %.2g deviations away", d)
	}
}

// checkMass fails unless each KV head's tokens have received together what its
// queries gave: one for each token and query head.
func checkMass(t *testing.T, e *Engine, text *Text) {
	t.Helper()
	c, stream := e.Checkpoint.Config, e.decoder.Compute()
	host := make([]float32, text.Sequence.Stored())
	for layer := range c.Layers {
		for head := range c.KVHeads {
			mass, ok := text.Sequence.Mass(layer, head, head+1, len(host))
			if !ok {
				t.Fatal("what tokens receive is not added up")
			}
			e.Device.CopyOut(stream, kernels.Matrix(unsafe.Pointer(unsafe.SliceData(host)), kernels.F32, 1, len(host)), mass)
			if err := stream.Synchronize(); err != nil {
				t.Fatal(err)
			}
			sum, want := 0.0, float64(len(text.Tokens)*c.Group())
			for _, m := range host {
				sum += float64(m)
			}
			if math.Abs(sum-want) > 1e-2*want { // bf16 rounds what attention's sum was made of
				t.Errorf("layer %d, head %d: tokens have received %g, and their queries gave %g", layer, head, sum, want)
			}
		}
	}
}

// TestHeavyRefusals goes through what does not go together.
func TestHeavyRefusals(t *testing.T) {
	for _, c := range []struct {
		method, want string
		sets         []string
	}{
		{"chunked-prefill", "goes with heads.attention.span=all only", []string{"heads.attention.span=512"}},
		{"chunked-prefill", "goes with heads.attention.recent=all only", []string{"heads.attention.recent=512"}},
	} {
		_, err := tryEngine(t, load(t, c.method, append(c.sets, "heads.offload.heavy=64")...), tinyRandom)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.sets, err, c.want)
		}
	}
}

// TestOffloadChecks goes through options of the stage that do not go together.
func TestOffloadChecks(t *testing.T) {
	none := config.Choice{Word: "none"}
	for _, c := range []struct {
		options offloadOptions
		wrong   string
	}{
		{offloadOptions{To: "host", DType: "int8", ScaleGroup: 64, Heavy: none}, ""},
		{offloadOptions{To: "device", DType: "same", ScaleGroup: 64, Heavy: config.Choice{N: 9}}, ""},
		{offloadOptions{To: "host", DType: "int8", ScaleGroup: 48, Heavy: none}, "scale_group"},
		{offloadOptions{To: "host", DType: "same", ScaleGroup: 64, Heavy: config.Choice{N: 9}}, "heavy"},
		{offloadOptions{To: "device", DType: "int4", ScaleGroup: 32, Heavy: config.Choice{N: 9}}, "heavy"},
	} {
		c.options.Pinned, c.options.Write = true, "append"
		bad := c.options.Check()
		if c.wrong == "" && bad != nil || c.wrong != "" && (len(bad) != 1 || bad[0].Option != c.wrong) {
			t.Errorf("%+v: %+v, want a word about %q", c.options, bad, c.wrong)
		}
	}
}
