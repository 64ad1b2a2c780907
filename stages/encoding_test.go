package stages

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"headinfer/plan"
)

// tinyRandom has heads of 64 channels.
const tinyRandom = "random:tiny"

// stepLogits reads ids with a method and takes a few steps; it returns the logits
// after each.
func stepLogits(t *testing.T, ids []int32, chunk, steps int, method string, sets ...string) (all [][]float32) {
	t.Helper()
	e := openMethod(t, method, tinyRandom, sets...)
	text := admit(t, e)
	defer text.Release()
	got, err := text.Prefill(t.Context(), ids[:len(ids)-steps], chunk, 0)
	if err != nil {
		t.Fatal(err)
	}
	all = append(all, slices.Clone(got))
	for _, id := range ids[len(ids)-steps:] {
		if got, err = text.Step(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		all = append(all, slices.Clone(got))
	}
	if lossy := len(e.Report().Lossy) > 0; lossy != slices.ContainsFunc(sets, func(s string) bool { return strings.Contains(s, "dtype=int") }) {
		t.Errorf("%s with %v is reported as lossy: %v", method, sets, e.Report().Lossy)
	}
	return all
}

// deviations returns the largest difference of logits, in standard deviations of
// the first's.
func deviations(a, b [][]float32) float64 {
	worst := 0.0
	for i := range a {
		mean, square := 0.0, 0.0
		for _, v := range a[i] {
			mean += float64(v) / float64(len(a[i]))
		}
		for _, v := range a[i] {
			square += (float64(v) - mean) * (float64(v) - mean) / float64(len(a[i]))
		}
		for j := range a[i] {
			worst = max(worst, math.Abs(float64(a[i][j]-b[i][j]))/math.Sqrt(square))
		}
	}
	return worst
}

// TestEncodedCache compares caches in codes with an exact one: the error grows
// as the codes get shorter, does not depend on the shape of the tiles or on
// where the cache lies, and is none before the first record is full.
func TestEncodedCache(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	ids := make([]int32, 411)
	for i := range ids {
		ids[i] = r.Int32N(512)
	}
	const chunk, steps = 100, 70 // neither is a number of whole records
	exact := stepLogits(t, ids, chunk, steps, "adaptive")
	errs := map[string]float64{}
	for _, dtype := range []string{"int8", "int4"} {
		for _, group := range []int{32, 64} {
			sets := []string{"heads.offload.dtype=" + dtype, fmt.Sprintf("heads.offload.scale_group=%d", group)}
			name := fmt.Sprintf("%s/%d", dtype, group)
			got := stepLogits(t, ids, chunk, steps, "adaptive", sets...)
			errs[name] = deviations(exact, got)
			for _, other := range [][]string{
				{"heads.attention.group=1"}, {"heads.attention.group=3", "heads.attention.span=64"}, {"heads.prefetch.slots=1"},
				{"heads.offload.to=device", "heads.prefetch.slots=none"},
				{"heads.offload.to=device", "heads.attention.group=2", "heads.attention.span=128"},
			} {
				// The last bit of a number that lies between two codes decides
				// which it gets.
				if d := deviations(got, stepLogits(t, ids, chunk, steps, "adaptive", append(other, sets...)...)); d > errs[name]/10 {
					t.Errorf("%s: with %v the logits are %.2g deviations away", name, other, d)
				}
			}
			if d := deviations(stepLogits(t, ids[:group-1], 10, 5, "adaptive"), stepLogits(t, ids[:group-1], 10, 5, "adaptive", sets...)); d > 1e-5 {
				t.Errorf("%s: before a record is full the logits are %.2g deviations away", name, d)
			}
		}
	}
	t.Logf("largest error of a logit, in standard deviations: %v", errs)
	for _, group := range []string{"/32", "/64"} {
		if a, b := errs["int8"+group], errs["int4"+group]; !(a > 1e-4 && a < 0.05 && b > 4*a && b < 1) {
			t.Errorf("groups of %s: int8 is %.3g deviations away and int4 %.3g", group[1:], a, b)
		}
	}
}

// TestPlanPredictsEncodedCaches compares plan's formula with the ledger.
func TestPlanPredictsEncodedCaches(t *testing.T) {
	const prompt, chunk, answer = 1000, 100, 20
	for _, how := range []plan.Method{
		{OnHost: true, Group: 4, Slots: 2, Bits: 8, ScaleGroup: 64},
		{OnHost: true, Group: 2, Slots: 2, Bits: 4, ScaleGroup: 32},
		{OnHost: true, Group: 1, Slots: 3, Span: 128, Bits: 4, ScaleGroup: 64},
		{Group: 4, Bits: 4, ScaleGroup: 64},
		{Group: 1, Span: 192, Bits: 8, ScaleGroup: 32},
	} {
		how.Chunk = chunk
		sets := []string{
			fmt.Sprintf("heads.offload.dtype=int%d", how.Bits), fmt.Sprintf("heads.offload.scale_group=%d", how.ScaleGroup),
			fmt.Sprintf("heads.attention.group=%d", how.Group), fmt.Sprintf("heads.prefetch.slots=%d", max(how.Slots, 1)),
		}
		if how.Span > 0 {
			sets = append(sets, fmt.Sprintf("heads.attention.span=%d", how.Span))
		}
		if !how.OnHost {
			sets = append(sets, "heads.offload.to=device")
		}
		e := openMethod(t, "adaptive", tinyRandom, sets...)
		text := admit(t, e)
		if _, err := text.Prefill(t.Context(), make([]int32, prompt), chunk, answer); err != nil {
			t.Fatal(err)
		}
		if got := e.Method(chunk); how.OnHost && got != how {
			t.Errorf("the engine describes its tiles as %+v, not %+v", got, how)
		}
		u, want := e.Device.Ledger().Usage(), PlanModel(e).Memory(how, prompt, prompt+answer)
		if got := u.AtPeak["kv"]; got != want.KV {
			t.Errorf("%v: the ledger counted %d bytes, plan says %d", sets, got, want.KV)
		}
		shape := text.Sequence.Shape()
		if got := shape.Bytes(text.Sequence.Capacity()); how.OnHost && got != want.HostKV {
			t.Errorf("%v: the cache takes %d bytes, plan says %d", sets, got, want.HostKV)
		}
		text.Release()
	}
}

// TestEncodingRefusals goes through what does not go together.
func TestEncodingRefusals(t *testing.T) {
	for _, c := range []struct {
		model, want string
		sets        []string
	}{
		{tinyLlama, "a head of the model has 16 channels, which is not a whole number of groups of 64; set heads.offload.dtype=same", nil},
		{tinyRandom, "heads.attention.span=100 is not a multiple of 64, and heads.offload.dtype keeps so many tokens in a record; set it to 128", []string{"heads.attention.span=100"}},
		{tinyRandom, "heads.attention.sinks=4 is not a multiple of 64", []string{"heads.attention.recent=128", "heads.attention.sinks=4"}},
	} {
		_, err := tryEngine(t, load(t, "adaptive", append(c.sets, "heads.offload.dtype=int8")...), c.model)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.sets, err, c.want)
		}
	}
}

// TestFillEncoded decodes after a cache of random codes.
func TestFillEncoded(t *testing.T) {
	const tokens = 1000
	for _, to := range []string{"host", "device"} {
		e := openMethod(t, "adaptive", tinyRandom, "heads.offload.dtype=int4", "heads.offload.to="+to)
		text := admit(t, e)
		if err := text.Fill(t.Context(), tokens, 10); err != nil {
			t.Fatal(err)
		}
		if n := text.Sequence.Tokens(); n != tokens {
			t.Errorf("%d tokens are held, want %d", n, tokens)
		}
		tail := text.Sequence.Tail(3)
		if tail.Tokens != tokens%64 {
			t.Errorf("%d tokens are in no record, want %d", tail.Tokens, tokens%64)
		}
		for range 10 {
			logits, err := text.Step(t.Context(), 1)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range logits {
				if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
					t.Fatal("a logit is not finite")
				}
			}
		}
		text.Release()
	}
}
