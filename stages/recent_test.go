package stages

import (
	"math"
	"strings"
	"testing"
)

// TestRecentLosesWhatLiesBetween reads a text with a window: as long as the
// window holds everything the logits are standard's, and then they depend on
// the first and the last tokens alone.
func TestRecentLosesWhatLiesBetween(t *testing.T) {
	const chunk, sinks, recent = 50, 4, 200
	ids := func(between int32) []int32 {
		ids := make([]int32, 1000)
		for i := range ids {
			ids[i] = int32((i*37 + i*i%11) % 250)
			// Each of the model's two layers sees a window and a chunk further back.
			if i >= sinks && i < len(ids)-2*(recent+chunk) {
				ids[i] = (ids[i] + between) % 250
			}
		}
		return ids
	}
	window := []string{"heads.attention.sinks=4", "heads.attention.recent=200"}
	logits := func(method string, ids []int32, sets ...string) []float32 {
		t.Helper()
		e := openMethod(t, method, tinyLlama, sets...)
		text := admit(t, e)
		defer text.Release()
		got, err := text.Prefill(t.Context(), ids, chunk, 0)
		if err != nil {
			t.Fatal(err)
		}
		if lossy := strings.Join(e.Report().Lossy, " "); strings.Contains(lossy, "heads.attention.recent=200") != (len(sets) > 0) {
			t.Errorf("%s with %v is reported as lossy: %q", method, sets, lossy)
		}
		return got
	}
	near := func(a, b []float32) bool {
		for i := range a {
			if math.Abs(float64(a[i]-b[i])) > 1e-4*(1+math.Abs(float64(b[i]))) {
				return false
			}
		}
		return true
	}
	short := ids(0)[:recent]
	if !near(logits("layer-wise", short, window...), logits("standard", short)) {
		t.Error("a text within the window differs from standard")
	}
	long := ids(0)
	windowed := logits("layer-wise", long, window...)
	if near(windowed, logits("standard", long)) {
		t.Error("a text past the window gives standard's logits: nothing was lost")
	}
	if !near(logits("layer-wise", ids(7), window...), windowed) {
		t.Error("what lies between matters")
	}
	if near(logits("standard", ids(7)), logits("standard", long)) {
		t.Error("what lies between does not matter to standard either: the test shows nothing")
	}
	for _, sets := range [][]string{{"heads.attention.group=1"}, {"heads.attention.group=1", "heads.attention.span=33"}} {
		if !near(logits("layer-wise", long, append(sets, window...)...), windowed) {
			t.Errorf("with %v the window gives other logits", sets)
		}
	}
	if !near(logits("chunked-prefill", long, window...), windowed) {
		t.Error("with the cache on the device the window gives other logits")
	}
}

// TestRecentTakesNoMoreMemory compares the device's memory for the cache.
func TestRecentTakesNoMoreMemory(t *testing.T) {
	var took []int64
	for _, n := range []int{500, 1500} {
		e := openMethod(t, "layer-wise", tinyLlama, "heads.attention.sinks=4", "heads.attention.recent=200")
		text := admit(t, e)
		if _, err := text.Prefill(t.Context(), make([]int32, n), 50, 0); err != nil {
			t.Fatal(err)
		}
		text.Release()
		took = append(took, e.Device.Ledger().Usage().AtPeak["kv"])
	}
	if took[0] != took[1] || took[0] == 0 {
		t.Errorf("500 tokens took %d bytes for the cache, 1500 took %d", took[0], took[1])
	}
}
