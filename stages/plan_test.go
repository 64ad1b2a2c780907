package stages

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"headinfer/plan"
)

// TestPlanMethod knows before a device is open what an engine has after a pass: the
// same tiles, in the same passes, with the same memory.
func TestPlanMethod(t *testing.T) {
	heads := filepath.Join(t.TempDir(), "heads.tsv")
	if err := os.WriteFile(heads, []byte("1 0 1 0\n0 0 1 1\n1 1 1 1\n0 1 0 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const tokens = 300
	for _, c := range []struct {
		method string
		sets   []string
	}{
		{"standard", nil}, {"chunked-prefill", nil}, {"layer-wise", nil}, {"headinfer-8", nil}, {"headinfer-2", nil}, {"headinfer-1", nil},
		{"adaptive", nil}, {"adaptive", []string{"heads.attention.span=auto", "heads.prefetch.slots=3"}}, {"tiled", nil}, {"int8", nil}, {"int4", []string{"heads.offload.scale_group=32"}},
		{"h2o", nil}, {"streaming-llm", nil}, {"streaming-llm", []string{"heads.attention.group=1", "heads.attention.streaming_heads=" + heads}},
		{"adaptive", []string{"documents.chunked-prefill.chunk=100"}}, {"int8", []string{"heads.offload.to=device", "heads.prefetch.slots=none"}},
		{"headinfer-1", []string{"heads.prefetch.overlap=false"}}, {"adaptive", []string{"heads.prefetch.ahead=layer", "heads.offload.write=whole"}},
	} {
		p := load(t, c.method, c.sets...)
		e, err := tryEngine(t, p, "random:tiny")
		if err != nil {
			t.Fatal(err)
		}
		text := admit(t, e)
		chunk := ChunkOf(p.Documents, e)
		if _, err := text.Prefill(t.Context(), make([]int32, tokens), chunk, 1); err != nil {
			t.Fatal(err)
		}
		text.Release()
		m, had := PlanModel(e), e.Method(chunk)
		planned, err := PlanMethod(p, m)
		if err != nil {
			t.Fatal(err)
		}
		if lossy := len(e.Report().Lossy) > 0; planned.Lossy != lossy {
			t.Errorf("%s %v: lossy is %v, the engine says %v", c.method, c.sets, planned.Lossy, lossy)
		}
		room := plan.Room{Device: int64(p.Device.Memory), Host: math.MaxInt64}
		got := planned.For(m, PlanMachine(e.Device.Info(), int64(p.Device.Memory)), room, e.Checkpoint.Config.Context, tokens)
		if streaming := got.Streaming; streaming > 0 && streaming < 1 && math.Abs(streaming-6.0/16) > 1e-9 {
			t.Errorf("%g of the heads stream; the file has 6 of 16", streaming)
		}
		got.Streaming, got.Recent = 0, 0 // Engine.Method does not say
		if had.Group = min(had.Group, m.KVHeads); got != had {
			t.Errorf("%s %v: %+v is planned, and a run has %+v", c.method, c.sets, got, had)
		}
	}
}
