package stages

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"headinfer/config"
	"headinfer/transfer"
)

// TestTraceHasEveryPassTileAndStage runs prefill and decode and looks for each
// piece of work, on the host and on the device, within its pass.
func TestTraceHasEveryPassTileAndStage(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	prompt, chunk, steps := 20+r.IntN(60), 1+r.IntN(17), 1+r.IntN(5)
	e := openMethod(t, "headinfer-1", tinyLlama)
	ids := make([]int32, prompt)
	for i := range ids {
		ids[i] = r.Int32N(300)
	}
	greedy(t, e, ids, steps, chunk)

	trace := e.Trace()
	var want []string
	for at := 0; at < prompt; at += chunk {
		want = append(want, fmt.Sprintf("prefill t%d:%d", at, min(at+chunk, prompt)))
	}
	for i := range steps {
		want = append(want, fmt.Sprintf("decode t%d", prompt+i))
	}
	var got []string
	for _, p := range trace.Device.Passes {
		got = append(got, p.String())
	}
	if !slices.Equal(got, want) {
		t.Fatalf("passes %q, want %q", got, want)
	}

	c := e.Checkpoint.Config
	perPass := make([]map[transfer.Track]int, len(want))
	for _, s := range trace.Device.Spans {
		if perPass[s.Pass] == nil {
			perPass[s.Pass] = map[transfer.Track]int{}
		}
		perPass[s.Pass][s.Track]++
		p, slack := trace.Device.Passes[s.Pass], trace.Device.Clock.Error
		if start, end := trace.Device.Clock.Host(s.Start), trace.Device.Clock.Host(s.End); start.Before(p.Start.Add(-slack)) || end.After(p.End.Add(slack)) {
			t.Errorf("%q on %q, %v to %v, is outside of %v, %v to %v", s.Name, s.Track, start, end, p, p.Start, p.End)
		}
	}
	tiles := c.Layers * c.KVHeads
	for i, n := range perPass {
		// Embedding, projections and feed-forward, attention, logits. Without logits the
		// last layer is projected, and no more.
		in, compute := tiles, 2+2*c.Layers+tiles
		if !strings.HasPrefix(want[i], "decode") && i+steps != len(want)-1 {
			in, compute = tiles-c.KVHeads, 2*c.Layers+tiles-c.KVHeads
		}
		if i == 0 {
			in = 0 // no past
		}
		if n[transfer.CopyIn] != in || n[transfer.CopyOut] != tiles || n[transfer.Compute] != compute {
			t.Errorf("%s has spans %v, want %d in, %d out, %d of compute", want[i], n, in, tiles, compute)
		}
	}

	shares := transfer.MeasurePasses(trace.Device.Spans, trace.Device.Passes)
	if shares.PrefillPasses != len(want)-steps || shares.DecodePasses != steps ||
		shares.PrefillHidden < 0 || shares.PrefillHidden > 1 || shares.DecodeCopyIn <= 0 || shares.DecodeCopyIn > 1 {
		t.Errorf("shares %+v", shares)
	}

	heads := trace.Levels[1]
	if heads.Level != config.Heads || !slices.Equal(heads.Stages, []string{"prefetch", "attention", "offload"}) {
		t.Fatalf("level %q with the stages %q", heads.Level, heads.Stages)
	}
	// A stage reports its last tile when it has let go of it, which the pass does not wait for.
	for deadline := time.Now().Add(10 * time.Second); len(heads.Spans) < 3*tiles*len(want); heads = e.Trace().Levels[1] {
		if time.Now().After(deadline) {
			t.Fatalf("%d spans of the heads' stages, want %d", len(heads.Spans), 3*tiles*len(want))
		}
		time.Sleep(time.Millisecond)
	}
	named := map[string]int{}
	for _, s := range heads.Spans {
		named[s.Stage]++
		if !isTile(s.Name) || s.End.Before(s.Start) {
			t.Errorf("a span %+v", s)
		}
	}
	for _, stage := range heads.Stages {
		if named[stage] != tiles*len(want) {
			t.Errorf("%d spans of %q, want %d", named[stage], stage, tiles*len(want))
		}
	}
}

// TestTraceOfAnInterruptedPass has what the pass had done when it was stopped.
func TestTraceOfAnInterruptedPass(t *testing.T) {
	e := openMethod(t, "headinfer-1", tinyLlama)
	text := admit(t, e)
	defer text.Release()
	ctx, cancel := context.WithCancelCause(t.Context())
	e.Observer = cancelling{func() { cancel(context.Canceled) }}
	if _, err := text.Prefill(ctx, make([]int32, 30), 10, 0); err == nil {
		t.Fatal("the prefill went through")
	}
	trace := e.Trace()
	if n := len(trace.Device.Passes); n < 1 || n > 2 {
		t.Fatalf("%d passes, of which one was whole", n)
	}
	if p := trace.Device.Passes[0].String(); p != "prefill t0:10" {
		t.Errorf("the whole pass is %q", p)
	}
}

// cancelling cancels after the first chunk.
type cancelling struct{ cancel func() }

func (c cancelling) Prefill(string, int, int) { c.cancel() }
func (cancelling) Text(string, string)        {}

func TestLevelSpansAreBounded(t *testing.T) {
	l := newLevelSpans(config.Documents)
	l.limit = 3
	now := time.Now()
	for i := range 5 {
		l.Span("files", fmt.Sprint(i), now, now)
	}
	if got := l.trace(); len(got.Spans) != 3 || got.Spans[2].Name != "2" || got.Dropped != 2 {
		t.Errorf("%+v", got)
	}
}

func TestItemsAreNamedByTheirDocument(t *testing.T) {
	d := &Document{ID: "a/b.txt"}
	prompt := &Prompt{Document: d}
	for _, item := range []any{d, prompt, &Prefilled{Document: d}, &Answer{ID: "a/b.txt"}} {
		if n, ok := item.(interface{ SpanName() string }); !ok || n.SpanName() != "a/b.txt" {
			t.Errorf("a %T has no name", item)
		}
	}
}
