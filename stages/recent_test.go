package stages

import (
	"errors"
	"math"
	"os"
	"path/filepath"
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

// TestStreamingHeads gives every head, or none, the window by a file.
func TestStreamingHeads(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ids := make([]int32, 700)
	for i := range ids {
		ids[i] = int32((i*37 + i*i%11) % 250)
	}
	logits := func(sets ...string) []float32 {
		t.Helper()
		e := openMethod(t, "adaptive", tinyLlama, sets...)
		text := admit(t, e)
		defer text.Release()
		got, err := text.Prefill(t.Context(), ids, 50, 0)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	same := func(a, b []float32) bool {
		for i := range a {
			if math.Abs(float64(a[i]-b[i])) > 1e-4*(1+math.Abs(float64(b[i]))) {
				return false
			}
		}
		return true
	}
	const recent = "heads.attention.recent=100"
	window, whole := logits(recent), logits()
	heads := func(path string) string { return "heads.attention.streaming_heads=" + path }
	if got := logits(recent, heads(file("none", "0 0 0 0\n0 0 0 0\n"))); !same(got, window) {
		t.Error("with streaming heads only, the logits are not those of the window")
	}
	if got := logits(recent, heads(file("all", "1 1 1 1\n\n0.9\t0.5 1 1"))); !same(got, whole) {
		t.Error("with full heads only, the logits are not those of everything")
	}
	some := file("some", "1 0 0 1\n0 1 1 0\n")
	got := logits(recent, heads(some))
	if same(got, window) || same(got, whole) {
		t.Error("with heads of both kinds, the logits are those of one kind")
	}
	for _, set := range []string{"heads.attention.group=1", "heads.attention.span=64", "heads.offload.to=device"} {
		if !same(logits(recent, heads(some), set), got) {
			t.Errorf("with %s the logits differ", set)
		}
	}
	for text, want := range map[string]string{
		"1 0 0\n": `:1: 3 numbers; the model has 4 KV heads a layer`, "1 0 0 1\n": `: 1 lines with numbers; the model has 2 layers`,
		"1 0 x 1\n": `:1: "x" is not a number from 0 to 1`, "1 0 0 1\n0 2 1 0\n": `:2: "2" is not a number from 0 to 1`,
	} {
		_, err := tryEngine(t, load(t, "adaptive", recent, heads(file("bad", text))), tinyLlama)
		if _, ok := errors.AsType[*HeadsError](err); !ok || !strings.Contains(err.Error(), want) {
			t.Errorf("%q gave %v; want %s", text, err, want)
		}
	}
	if _, err := tryEngine(t, load(t, "adaptive", heads(some)), tinyLlama); err == nil || !strings.Contains(err.Error(), "give recent a number") {
		t.Errorf("streaming heads without a window: %v", err)
	}
}
