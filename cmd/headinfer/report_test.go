package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"headinfer/eval"
	"headinfer/graph"
	"headinfer/kernels"
	devicerate "headinfer/kernels/rate"
	"headinfer/plan"
	"headinfer/transfer"
)

// openPage parses a report, and returns its texts by element: td, h2, figcaption, dd
// and text (of pictures, which are there wide and narrow).
func openPage(t *testing.T, dir, path string) map[string][]string {
	t.Helper()
	root, err := html.Parse(strings.NewReader(string(readFile(t, dir, path))))
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string][]string{}
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		var text strings.Builder
		for c := range n.Descendants() {
			if c.Type == html.TextNode {
				text.WriteString(c.Data)
			}
		}
		texts[n.Data] = append(texts[n.Data], strings.TrimSpace(text.String()))
	}
	return texts
}

func wants(t *testing.T, texts map[string][]string, element string, all ...string) {
	t.Helper()
	for _, want := range all {
		if !slices.Contains(texts[element], want) {
			t.Errorf("no <%s> says %q; they say %q", element, want, texts[element])
		}
	}
}

// TestBenchReport measures on the processor and compares the page with the rows that
// are printed.
func TestBenchReport(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	stdout, stderr, code := headinfer(t, dir, "bench", "--json", "--model", "random:tiny", "--device", "cpu", "--method", "headinfer-1,standard",
		"--context", "60,300", "--chunk", "64", "--decode-tokens", "2", "--report", "out/page")
	if code != 0 || !strings.Contains(stderr, "report written") {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	var r benchReport
	read(t, []byte(stdout), &r)
	page := openPage(t, dir, "out/page/report.html")
	wants(t, page, "h2", "Speed", "Memory", "Roofline", "Copies and computing")
	wants(t, page, "text", "prefill, seconds", "decode, seconds a token", "60 tokens", "300 tokens", "keys and values", "FLOP/s reached", "copy in", "compute", "time, µs",
		"layer 3 of 4, prefill of tokens 256 to 300", "layer 3 of 4, a decode step after 301 tokens")
	wants(t, page, "dd", r.Machine.Version, r.Machine.Command, r.Rows[0].Device)
	for _, row := range r.Rows {
		wants(t, page, "td", row.Pipeline, strconv.Itoa(row.Context), number(row.Prefill.Seconds), number(1e3*row.Decode.Seconds))
		unit := byteUnit{"MiB", 1 << 20}
		wants(t, page, "td", unit.cell(row.Memory.Peak), unit.cell(row.Memory.AtPeak[kernels.KVCache]))
	}
	for _, name := range []string{"curves", "memory", "roofline", "timeline-1"} {
		for _, extension := range []string{".svg", ".png"} {
			readFile(t, dir, "out/page/"+name+extension)
		}
	}
	// The cache of standard never moves.
	if slices.ContainsFunc(page["text"], func(s string) bool { return strings.Contains(s, "One layer of standard") }) {
		t.Error("standard has a time line")
	}
}

// TestRunReport answers two documents, one of which cannot be read, and looks for what
// the summary says.
func TestRunReport(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "d/a.txt"), "The access code is 4711. "+strings.Repeat("The sea was calm. ", 30))
	write(t, filepath.Join(dir, "d/a.question"), "What is the access code?")
	write(t, filepath.Join(dir, "d/b.txt"), "bad \xff bytes")
	write(t, filepath.Join(dir, "d/b.question"), "What is it?")
	write(t, filepath.Join(dir, "p.yaml"), `
model: { path: builtin }
device: { kind: cpu, memory: 256MiB }
documents:
  - files: { paths: ["d/*.txt"] }
  - tokenize: { chat: true, prompt: "{{.Text}} {{.Question}}" }
  - chunked-prefill: { chunk: 64 }
  - decode: { max_tokens: 4 }
  - jsonl: { path: out/a.jsonl }
heads:
  - prefetch
  - attention: { group: 2 }
  - offload: { to: host }
`)
	stdout, stderr, code := headinfer(t, dir, "run", "p.yaml", "--json", "--report", "out/page", "--trace", "out/t.json")
	if code != exitDeadLetters {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	var s summary
	read(t, []byte(stdout), &s)
	if s.Took <= 0 || len(s.Heads) != 3 || s.Heads[1].Name != "attention" || s.Heads[1].In == 0 {
		t.Errorf("took %v, heads %+v", s.Took, s.Heads)
	}
	page := openPage(t, dir, "out/page/report.html")
	wants(t, page, "h1", "Run of p.yaml")
	wants(t, page, "h2", "Dataflow", "Work", "Memory", "Copies and computing")
	wants(t, page, "text", "documents", "heads", "files", "tokenize", "chunked-prefill", "decode", "jsonl", "prefetch", "attention", "offload", "group=2", "this run", "standard, computed", "copy out")
	wants(t, page, "td", strconv.FormatInt(s.PromptTokens, 10), strconv.FormatInt(s.DecodeSteps, 10))
	wants(t, page, "caption", "Dead letters")
	wants(t, page, "td", "d/b.txt")
	for _, stage := range s.Heads {
		if !slices.ContainsFunc(page["text"], func(text string) bool { return strings.HasPrefix(text, counted(stage.In, "item")+", ") }) {
			t.Errorf("no box says that %s took %d items", stage.Name, stage.In)
		}
	}
	_, stderr, code = headinfer(t, dir, "run", "p.yaml", "--report", "")
	if code != exitUsage || !strings.Contains(stderr, "--report: no folder") {
		t.Errorf("without a folder: %d, %s", code, stderr)
	}
	_, stderr, code = headinfer(t, dir, "run", "p.yaml", "--restart", "--report", "p.yaml/x")
	if code != exitUsage || !strings.Contains(stderr, "--report: mkdir p.yaml") {
		t.Errorf("below a file: %d, %s", code, stderr)
	}
}

// TestEvalReport asks few questions and compares the page with the scores.
func TestEvalReport(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	stdout, stderr, code := headinfer(t, dir, "eval", "--json", "--model", "random:tiny", "--device", "cpu", "--method", "adaptive,int8",
		"--context", "400", "--depths", "2", "--report", "page")
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	var r evalReport
	read(t, []byte(stdout), &r)
	page := openPage(t, dir, "page/report.html")
	wants(t, page, "h2", "Scores", "Scores by depth")
	wants(t, page, "text", "niah_single, adaptive", "niah_single, int8", "depth of the fact", "400")
	for _, c := range r.Cells {
		wants(t, page, "td", inPercent(c.Score), strconv.Itoa(c.Tokens))
	}
	if !slices.ContainsFunc(page["p"], func(s string) bool { return strings.HasPrefix(s, "Mean score: adaptive ") }) {
		t.Errorf("the page begins with %q", page["p"])
	}
	readFile(t, dir, "page/niah_single-int8.png")
	if _, stderr, code := headinfer(t, dir, "eval", "--task", "perplexity", "--report", "page"); code != exitUsage || !strings.Contains(stderr, "--report") {
		t.Errorf("perplexity: %d, %s", code, stderr)
	}
}

// TestLayerPanel takes the middle layer of the last pass of a kind, and what lies over
// its time.
func TestLayerPanel(t *testing.T) {
	us := func(n int) time.Duration { return time.Duration(n) * time.Microsecond }
	span := func(pass int, track transfer.Track, name string, from, to int) transfer.Span {
		return transfer.Span{Track: track, Name: name, Pass: pass, Start: us(from), End: us(to)}
	}
	offset := rand.IntN(1e6)
	record := &transfer.Record{
		Passes: []transfer.Pass{{Number: 3, Kind: transfer.Prefill, Tokens: transfer.Range{From: 0, To: 64}}, {Number: 4, Kind: transfer.Prefill, Tokens: transfer.Range{From: 64, To: 128}},
			{Number: 5, Kind: transfer.Decode, Tokens: transfer.Range{From: 128, To: 129}}},
		Spans: []transfer.Span{
			span(3, transfer.Compute, "L0 project", 0, 5), span(3, transfer.Compute, "L1 project", 5, 9),
			span(4, transfer.Compute, "embedding", offset, offset+3), span(4, transfer.Compute, "L0 project", offset+3, offset+10),
			span(4, transfer.CopyIn, "L1 h0:2 t0:64", offset+4, offset+14),
			span(4, transfer.Compute, "L1 project", offset+10, offset+20), span(4, transfer.Compute, "L1 h0:2 t0:64", offset+20, offset+50),
			span(4, transfer.CopyOut, "L1 h0:2 t0:64", offset+22, offset+80), span(4, transfer.CopyIn, "L2 h0:2 t0:64", offset+60, offset+70),
			span(4, transfer.Compute, "L2 project", offset+50, offset+70),
		},
	}
	p, ok := layerPanel(record, transfer.Prefill)
	want := eval.LanePanel{Title: "layer 2 of 3, prefill of tokens 64 to 128", Length: 40, Lanes: []eval.Lane{
		{Name: "copy in", Spans: []eval.LaneSpan{{Name: "L1 h0:2 t0:64", From: -6, To: 4}}},
		{Name: "compute", Spans: []eval.LaneSpan{{Name: "L1 project", From: 0, To: 10}, {Name: "L1 h0:2 t0:64", From: 10, To: 40}}},
		{Name: "copy out", Spans: []eval.LaneSpan{{Name: "L1 h0:2 t0:64", From: 12, To: 70}}},
	}}
	if !ok || fmt.Sprint(p) != fmt.Sprint(want) {
		t.Errorf("%+v, want %+v", p, want)
	}
	if _, ok := layerPanel(record, transfer.Decode); ok {
		t.Error("a pass without spans has a panel")
	}
	if _, ok := timelineSection([]benchTimeline{{"x", nil}, {"y", &transfer.Record{}}}); ok {
		t.Error("nothing recorded has a section")
	}
}

// TestReportArithmetic compares the roofline's points and the memory's bars with
// figures drawn afresh.
func TestReportArithmetic(t *testing.T) {
	r := rand.New(rand.NewPCG(rand.Uint64(), 0))
	m := plan.Model{Layers: 4, Hidden: 64, Heads: 8, KVHeads: 2, HeadDim: 8, FFN: 128, Vocab: 100, WeightBytes: 1e6, ElementBytes: 2}
	context := 100 + r.IntN(1000)
	row := benchRow{
		Pipeline: "tiled", Context: context, Chunk: 50, model: m, how: plan.Method{Chunk: 50, OnHost: true, Group: 1, Slots: 2},
		Prefill: &benchPhase{Seconds: 1 + r.Float64(), In: 5e6, Out: 1e6}, Decode: &benchPhase{Seconds: 0.1 + r.Float64(), In: 3e6},
		Memory: &kernels.Usage{Peak: 5 << 20, AtPeak: map[kernels.Purpose]int64{kernels.Weights: 1 << 20, kernels.KVCache: 4 << 20}},
	}
	resident := row
	resident.Pipeline, resident.how = "chunked", plan.Method{Chunk: 50}
	resident.Prefill, resident.Decode = &benchPhase{Seconds: 1}, &benchPhase{Seconds: 1}
	missing := benchRow{Pipeline: "tiled", Context: 2 * context, Error: "did not fit"}
	rates := &benchRates{Rates: devicerate.Rates{Linear: 1e12, Read: 1e10, CopyIn: 1e9}}

	picture, ok := rooflinePicture(rates, []benchRow{row, resident, missing})
	if !ok {
		t.Fatal("no roofline")
	}
	roofline := picture.Draw.(eval.Roofline)
	if len(roofline.Roofs) != 3 || len(roofline.Points) != 4 {
		t.Fatalf("%+v", roofline)
	}
	work := m.LinearFlops(context) + m.AttentionFlops(context)
	step := m.LinearFlops(1) + 4*64*4*float64(context+1)
	passes := int64((context + 49) / 50)
	// Each chunk has what precedes it read, of the last layer only the last one.
	var past, last int64
	for at := 0; at < context; at += 50 {
		past, last = past+int64(at), int64(at)
	}
	in := m.KV(1)*past - m.KV(1)/int64(m.Layers)*(past-last)
	// What follows the last layer's attention, and the output layer, are for the last chunk.
	layer := m.Hidden * (2*m.Heads*m.HeadDim + 2*m.KVHeads*m.HeadDim + 3*m.FFN)
	once := m.Hidden * (m.Heads*m.HeadDim + 3*m.FFN + m.Vocab)
	all := m.Layers*layer + 2*m.Hidden*m.Vocab
	weights := float64(passes*m.ReadPerToken()) - float64((passes-1)*int64(once))*float64(m.WeightBytes)/float64(all)
	for i, want := range [][2]float64{
		{work / 6e6, work / row.Prefill.Seconds}, {step / 3e6, step / row.Decode.Seconds},
		{work / (weights + float64(in+m.KV(context))), work}, {step / float64(m.ReadPerToken()+m.KV(context)), step},
	} {
		if p := roofline.Points[i]; math.Abs(p.Intensity/want[0]-1) > 1e-9 || math.Abs(p.Flops/want[1]-1) > 1e-9 {
			t.Errorf("point %d is %+v, want %v", i, p, want)
		}
	}

	partial := row
	partial.Pipeline, partial.Partial = "h2o", true
	picture, _ = rooflinePicture(rates, []benchRow{row, partial})
	if points := picture.Draw.(eval.Roofline).Points; len(points) != 2 || !strings.HasSuffix(picture.Caption, "leaves tokens out: h2o.") {
		t.Errorf("%+v, %s", points, picture.Caption)
	}
	if _, ok := rooflinePicture(rates, []benchRow{partial}); ok {
		t.Error("a roofline without a point was drawn")
	}

	picture, ok = memoryPicture([]benchRow{row, missing})
	stacks := picture.Draw.(eval.Stacks)
	if !ok || len(stacks.Groups) != 2 || stacks.Unit != "MiB" {
		t.Fatalf("%+v", stacks)
	}
	if got := stacks.Groups[0].Bars[0]; got.Planned || !slices.Equal(got.Parts, []float64{1, 4, 0, 0}) {
		t.Errorf("measured: %+v", got)
	}
	planned := m.Memory(row.how, 2*context, 2*context)
	if got := stacks.Groups[1].Bars[0]; !got.Planned || math.Abs(got.Parts[1]*(1<<20)-float64(planned.KV)) > 1e-6 {
		t.Errorf("what did not fit: %+v, planned %+v", got, planned)
	}
	if got := stacks.Groups[1].Bars[1]; got.Name != "standard, computed" || math.Abs(got.Parts[1]*(1<<20)-float64(m.KV(2*context))) > 1e-6 {
		t.Errorf("standard: %+v", got)
	}
	// A prompt that is read and a cache that is filled, of the same length.
	filled, failed := row, missing
	filled.Filled, filled.Chunk, filled.how.Chunk, failed.Filled = true, 0, 1, true
	picture, _ = memoryPicture([]benchRow{row, filled, failed, missing, {Pipeline: "fails", Context: 2 * context, Error: "did not fit"}})
	stacks = picture.Draw.(eval.Stacks)
	var names []string
	for _, g := range stacks.Groups {
		for _, b := range g.Bars {
			names = append(names, b.Name)
		}
	}
	if want := []string{"tiled", "tiled, filled", "standard, computed", "tiled, filled, computed", "tiled, computed", "fails", "standard, computed"}; !slices.Equal(names, want) {
		t.Errorf("bars are %q, want %q", names, want)
	}
	for i, how := range []plan.Method{filled.how, row.how} {
		if got, want := stacks.Groups[1].Bars[i].Parts[2]*(1<<20), float64(m.Memory(how, 2*context, 2*context).Activations); math.Abs(got-want) > 1e-6 {
			t.Errorf("%s: %g bytes of activations, want %g", stacks.Groups[1].Bars[i].Name, got, want)
		}
	}
	if _, ok := memoryPicture([]benchRow{missing}); ok {
		t.Error("memory of nothing was drawn")
	}
}

// TestThroughput counts what a stage took, and of a source what it gave.
func TestThroughput(t *testing.T) {
	for want, s := range map[string]graph.Stats{"3 items": {In: 3, Out: 12}, "5 items": {In: 5, Out: 1}, "12 items": {Out: 12}} {
		if lines, _ := throughput(s, time.Second); !strings.HasPrefix(lines[0], want+",") {
			t.Errorf("%+v: %q, want %s", s, lines, want)
		}
	}
}

// TestGraphSVG draws a pipeline on the command line.
func TestGraphSVG(t *testing.T) {
	t.Parallel()
	path, err := filepath.Abs(filepath.Join("..", "..", "pipeline.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	stdout, stderr, code := headinfer(t, t.TempDir(), "graph", path, "--format", "svg")
	if code != 0 || !strings.HasPrefix(stdout, "<svg ") {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	for _, want := range []string{">files<", ">chunked-prefill<", ">attention<", ">Document<", ">in<"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q is drawn", want)
		}
	}
	if strings.Contains(stdout, "busy") {
		t.Error("stages that have not run have figures")
	}
}
