package main

import (
	"math"
	"strings"
	"testing"

	"headinfer/kernels"
	"headinfer/kernels/cuda"
	"headinfer/model"
	"headinfer/plan"
	"headinfer/plan/paper"
	"headinfer/stages"
)

// TestPaperModels are those that the program has the shapes of.
func TestPaperModels(t *testing.T) {
	for name, want := range paper.Models {
		c, err := model.Open("random:" + strings.ToLower(name))
		if err != nil {
			t.Fatal(err)
		}
		got := stages.PlanConfig(c.Config, c.WeightBytes(), kernels.BF16)
		got.Rotary, want.Rotary = 0, 0
		if off := float64(want.WeightBytes)/float64(got.WeightBytes) - 1; math.Abs(off) > 1e-3 {
			t.Errorf("%s: %d bytes of weights, the program's shape has %d", name, want.WeightBytes, got.WeightBytes)
		}
		want.WeightBytes = got.WeightBytes
		if got != want {
			t.Errorf("%s: %+v, the program's shape is %+v", name, want, got)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestCardsAndGenerations: what a run knows of a GPU by its generation is about what
// plan knows of it by its name. The generations' figures are those of these cards.
func TestCardsAndGenerations(t *testing.T) {
	for _, name := range []string{"A100", "H100", "H200", "RTX 3060 12GB", "RTX 3090", "RTX 4080", "RTX 4090", "RTX 5090", "B200"} {
		g, ok := plan.GPUByName(name)
		if !ok {
			t.Fatal(name)
		}
		n, r := cuda.Nominal(g.Major, g.Minor, g.Multiprocessors, cuda.Link{MaxGeneration: g.Link, MaxWidth: 16}), g.Rates()
		for what, c := range map[string][2]float64{"linear": {n.Linear, r.Linear}, "attention": {n.Attention, r.Attention}, "copies": {n.CopyIn, r.CopyIn}} {
			if share := c[0] / c[1]; share < 0.7 || share > 1.4 {
				t.Errorf("%s, %s: %g by its generation, %g by its name", name, what, c[0], c[1])
			}
		}
	}
}

// planned computes what the command would.
func planned(t *testing.T, o planOptions) *planFile {
	t.Helper()
	if o.texts == nil {
		o.texts = []string{"8Ki", "128Ki"}
	}
	report, err := o.run(t.Context(), nil, false)
	if err != nil {
		t.Fatal(err)
	}
	return report.(*planFile)
}

// TestPlanRows has of each method what plan's arithmetic and models' rows have.
func TestPlanRows(t *testing.T) {
	o := planOptions{model: "random:llama-3-8b", gpu: "h100", deviceMemory: "24GiB", hostMemory: "512GiB", chunkText: "4096"}
	f := planned(t, o)
	c, err := model.Open(o.model)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	m := stages.PlanConfig(c.Config, c.WeightBytes(), kernels.BF16)
	machine := fitMachine{Device: 24 << 30, Host: 512 << 30, Chunk: 4096, asked: true}
	for i, row := range fitRows(m, machine, c.Config.Context) {
		l := f.Longest[i]
		if l.Method != row.Method || l.Lossy != row.Lossy || l.Tokens != row.Longest || l.Memory != row.Memory {
			t.Errorf("%+v, headinfer models has %+v", l, row)
		}
	}
	g, _ := plan.GPUByName("h100")
	seen := map[string]bool{}
	for _, r := range f.Rows {
		seen[r.Method] = true
		room := plan.Room{Device: 24 << 30, Host: 512 << 30}
		if r.Fits != room.Holds(r.Memory) || r.Device != r.Memory.Device() || r.Fits != (r.Short == 0 && r.ShortHost == 0) {
			t.Errorf("%+v", r)
		}
		how := plan.Method{Chunk: 4096, OnHost: true, Group: r.Group, Span: r.Span, Slots: 2, FreshHost: true}
		if r.Method == "headinfer-2" {
			if want := m.PrefillTime(how, g.Rates(), r.Context); *r.Prefill != want || r.Group != 2 || r.Memory != m.Memory(how, r.Context, r.Context) {
				t.Errorf("%+v: want %+v", r, want)
			}
		}
		if (len(r.Roofline) == 0) != r.Lossy {
			t.Errorf("%s has %d points of a roofline", r.Method, len(r.Roofline))
		}
	}
	if len(seen) != len(plannedMethods) {
		t.Errorf("rows of %v", seen)
	}
}

// TestPlanAdvice says what ends the longest text and what would hold more.
func TestPlanAdvice(t *testing.T) {
	for _, c := range []struct {
		o    planOptions
		want []string
	}{
		{planOptions{gpu: "4090", hostMemory: "64GiB"}, []string{
			"On RTX 4090 with 64 GiB of host memory: 524k tokens (adaptive, exact), where host memory ends it.",
			"128 GiB of host memory would hold 1.05M; a token takes 128 KiB of it.", "Lossy methods would hold more: int8 987k", "Up to 63k tokens the cache fits on the device",
		}},
		{planOptions{gpu: "4090", hostMemory: "8TiB", methods: []string{"headinfer-8"}}, []string{
			"where device memory ends it", "With heads.attention.span=4096 the device's memory does not grow with the text",
		}},
		{planOptions{gpu: "3060"}, []string{"nothing fits: the weights alone take 14.96 GiB", "In 4 bits"}},
		{planOptions{gpu: "4090", hostMemory: "64GiB", methods: []string{"h2o", "streaming-llm"}}, []string{
			"On RTX 4090 with 64 GiB of host memory lossy methods hold: h2o any length, streaming-llm 524k.",
		}},
		{planOptions{gpu: "4090", hostMemory: "64GiB", methods: []string{"adaptive"}, chunkText: "512"}, []string{"Passes of 512 tokens wait for copies at 131072 tokens (adaptive)"}},
	} {
		c.o.model = "random:llama-3-8b"
		advice := strings.Join(planned(t, c.o).Advice, "\n")
		for _, want := range c.want {
			if !strings.Contains(advice, want) {
				t.Errorf("no %q in\n%s", want, advice)
			}
		}
	}
}
