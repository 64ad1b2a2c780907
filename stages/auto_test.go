package stages

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"headinfer/kernels"
)

// known is a device of which more is known.
type known struct {
	kernels.Device
	nominal kernels.Nominal
}

func (d known) Info() kernels.Info {
	info := d.Device.Info()
	info.Chunk, info.Nominal = 64, d.nominal
	return info
}

// TestAutoSizes lets engines choose chunk and span on devices whose rates put both at
// sizes that a short text shows: plan's figures are the ledger's to the byte, and the
// tokens are standard's.
func TestAutoSizes(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	const prompt, answer = 1500, 6
	ids := make([]int32, prompt)
	for i := range ids {
		ids[i] = r.Int32N(300)
	}
	want := greedy(t, openMethod(t, "standard", tinyLlama), ids, answer, 0)
	slow := kernels.Nominal{CopyIn: 0.5e9, Linear: 2e10, Attention: 2e10, Blocks: 5, BlockRows: 128}
	nothing := kernels.Nominal{}
	for _, c := range []struct {
		method  string
		sets    []string
		nominal kernels.Nominal
		group   int
		chunk   int
		span    int // 0: all
	}{
		{"adaptive", nil, slow, 4, 128, 512},
		{"headinfer-1", nil, slow, 1, 128, 1280},
		{"headinfer-2", nil, nothing, 2, 64, 0}, // tiles of 16 MiB would hold more than all
		{"adaptive", []string{"device.memory=2500KiB"}, slow, 4, 0, 0},
		{"chunked-prefill", nil, slow, 4, 128, 0},
	} {
		t.Run(fmt.Sprint(c.method, c.sets), func(t *testing.T) {
			open := func(budget int64) (kernels.Device, error) {
				dev, err := twoThreads(budget)
				return known{dev, c.nominal}, err
			}
			p := load(t, c.method, append(c.sets, "heads.attention.span=auto")...)
			e, err := tryEngineOn(t, open, p, tinyLlama)
			if err != nil {
				t.Fatal(err)
			}
			chunk, span := ChunkOf(p.Documents, e), e.loop.cut.Span
			t.Log(e.Choices(p.Documents))
			if c.sets == nil && (chunk != c.chunk || c.span > 0 && span != c.span || c.span == 0 && span > 0 && span < prompt) {
				t.Errorf("chunks of %d tokens and spans of %d, want %d and %d", chunk, span, c.chunk, c.span)
			}
			if got := greedy(t, e, ids, answer, chunk); !slices.Equal(got, want) {
				t.Errorf("the tokens are %v, standard's %v", got, want)
			}
			u, how := e.Device.Ledger().Usage(), e.Method(chunk)
			plan := PlanModel(e).Memory(how, prompt, prompt+answer)
			if how.Group != c.group || how.Span != span || plan.KV != u.AtPeak[kernels.KVCache] || plan.Activations != u.AtPeak[kernels.Activations] {
				t.Errorf("%+v takes %+v by plan, and by the ledger %+v", how, plan, u.AtPeak)
			}
			checkChoices(t, e.Choices(p.Documents), chunk, span)
		})
	}
}

func checkChoices(t *testing.T, got []Choice, chunk, span int) {
	t.Helper()
	if len(got) != 2 || got[0].Option != ChunkOption || got[0].Tokens != chunk || got[1].Option != SpanOption || got[1].Tokens != span {
		t.Fatalf("chosen: %+v", got)
	}
	for _, c := range got {
		if c.Why == "" || !strings.HasPrefix(c.String(), c.Option+"=") || !strings.HasSuffix(c.String(), ": "+c.Why) {
			t.Errorf("%+v is written %q", c, c)
		}
	}
}

// TestAutoLeavesAlone has what is not to be chosen: numbers, and chunks of lossy
// methods, whose results depend on them.
func TestAutoLeavesAlone(t *testing.T) {
	fast := func(budget int64) (kernels.Device, error) {
		dev, err := twoThreads(budget)
		return known{dev, kernels.Nominal{CopyIn: 1e9, Linear: 1e15, Attention: 1e15}}, err
	}
	for _, c := range []struct {
		method string
		sets   []string
		chunk  int
		chosen []string
	}{
		{"adaptive", nil, 256, []string{ChunkOption}}, // four times the device's own
		{"adaptive", []string{"documents.chunked-prefill.chunk=77"}, 77, nil},
		{"standard", nil, 0, nil},
		{"int8", nil, 64, []string{ChunkOption}},
		{"int8", []string{"heads.attention.span=auto"}, 64, []string{ChunkOption, SpanOption}},
		{"streaming-llm", []string{"documents.chunked-prefill.chunk=auto"}, 64, []string{ChunkOption}},
		{"h2o", []string{"documents.chunked-prefill.chunk=auto"}, 64, []string{ChunkOption}},
	} {
		p := load(t, c.method, c.sets...)
		e, err := tryEngineOn(t, fast, p, "random:tiny")
		if err != nil {
			t.Fatal(err)
		}
		var chosen []string
		for _, choice := range e.Choices(p.Documents) {
			chosen = append(chosen, choice.Option)
		}
		if got := ChunkOf(p.Documents, e); got != c.chunk || !slices.Equal(chosen, c.chosen) {
			t.Errorf("%s %v: chunks of %d, want %d; chosen %v", c.method, c.sets, got, c.chunk, chosen)
		}
	}
	_, err := tryEngineOn(t, fast, load(t, "h2o", "heads.attention.span=auto"), "random:tiny")
	if err == nil || !strings.Contains(err.Error(), "heads.attention.span=all") {
		t.Errorf("spans of a cache that drops tokens: %v", err)
	}
}
