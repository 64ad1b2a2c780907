package main

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	devicerate "headinfer/kernels/rate"
	"headinfer/plan"
)

// TestBenchCurve draws two methods' times on the processor and compares what is
// written with the rows that are printed.
func TestBenchCurve(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	stdout, stderr, code := headinfer(t, dir, "bench", "--json", "--model", "random:tiny", "--device", "cpu", "--methods", "adaptive,standard",
		"--contexts", "50,100,400", "--kv-fill-above", "100", "--chunk", "64", "--decode-tokens", "3", "--curve", "a/b")
	if code != 0 || !strings.Contains(stderr, "curves drawn") {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	var r benchReport
	var f curveFile
	read(t, []byte(stdout), &r)
	read(t, readFile(t, dir, "a/b/curve.json"), &f)
	if len(f.Methods) != 2 || f.Methods[0].Name != "adaptive" || f.Methods[1].Name != "standard" || f.Model != r.Rows[0].Model || f.Device != r.Rows[0].Device {
		t.Fatalf("%+v", f)
	}
	for _, row := range r.Rows {
		m := f.Methods[slices.IndexFunc(f.Methods, func(m curveMethod) bool { return m.Name == row.Pipeline })]
		p := m.Points[slices.IndexFunc(m.Points, func(p curvePoint) bool { return p.Context == row.Context })]
		if p.OnHost != (row.Pipeline == "adaptive") || row.Filled != (row.Context > 100) || (p.Prefill == nil) != row.Filled || p.Error != "" {
			t.Errorf("%s at %d: %+v", row.Pipeline, row.Context, p)
		}
		for _, c := range []struct {
			time  *curveTime
			phase *benchPhase
		}{{p.Prefill, row.Prefill}, {p.Decode, row.Decode}} {
			if c.phase == nil {
				continue
			}
			if c.time.Seconds != c.phase.Seconds || c.time.Limit != c.phase.Limit.Seconds || math.Abs(c.time.Share*c.time.Seconds-c.time.Limit) > 1e-9 || c.time.Bound == "" {
				t.Errorf("%s at %d: %+v of %+v", row.Pipeline, row.Context, c.time, c.phase)
			}
		}
	}
	if len(f.Limits) != 3 {
		t.Fatalf("%d lines of limits", len(f.Limits))
	}
	for _, l := range f.Limits {
		first, last := l.Points[0], l.Points[len(l.Points)-1]
		if end := map[string]float64{"prefill": 100, "decode": 400}[l.Phase]; first[0] != 50 || last[0] != end || !(last[1] > first[1]) {
			t.Errorf("the limit %s goes from %v to %v", l.Name, first, last)
		}
	}
	table := string(readFile(t, dir, "a/b/curve.md"))
	for _, want := range []string{"| adaptive | 50 | 50 | host | ", "| standard | 400 | — | device | — | — | — | — | ", "| of the limit | bound by |", "--curve a/b"} {
		if !strings.Contains(table, want) {
			t.Errorf("no %q in\n%s", want, table)
		}
	}
	checkPictures(t, dir, "a/b")
}

// checkPictures opens both drawings.
func checkPictures(t *testing.T, dir, folder string) {
	t.Helper()
	file, err := os.Open(filepath.Join(dir, folder, "curve.png"))
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(file)
	if err := errors.Join(err, file.Close()); err != nil || img.Bounds().Dx() != 2*1040 {
		t.Errorf("curve.png: %v", err)
	}
	marks := 0
	for d := xml.NewDecoder(strings.NewReader(string(readFile(t, dir, folder+"/curve.svg")))); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && (e.Name.Local == "circle" || e.Name.Local == "polygon") {
			marks++
		}
	}
	// Of two methods: two prompts and three caches, and one mark each in two legends.
	if marks != 2*(2+3)+4 {
		t.Errorf("curve.svg has %d marks", marks)
	}
}

func read(t *testing.T, data []byte, to any) {
	t.Helper()
	if err := json.Unmarshal(data, to); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
}

func readFile(t *testing.T, dir, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestBenchCurveRefused has wrong usage: the message names the flag and what to do.
func TestBenchCurveRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "file"), "in the way")
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"--curve", ""}, []string{"--curve", "out/curve"}},
		{[]string{"--curve", "file"}, []string{"--curve: ", "file"}},
		{[]string{"--curve", "c", "--limits=false"}, []string{"--limits=false", "leave it out"}},
		{[]string{"--curve", "c", "--weights", "all"}, []string{"--weights", "?dtype="}},
		{[]string{"--curve", "c", "--kv-fill-above", "0"}, []string{"--kv-fill-above", "--kv-fill"}},
		{[]string{"--curve", "c", "--kv-fill-above", "many"}, []string{"--kv-fill-above", `"many"`}},
		{[]string{"--curve", "c", "--context", "0"}, []string{"--context", "1 or more"}},
	} {
		_, stderr, code := headinfer(t, dir, append([]string{"bench", "--model", "random:tiny", "--device", "cpu"}, c.args...)...)
		if code != exitUsage {
			t.Errorf("%q: exit code %d: %s", c.args, code, stderr)
		}
		for _, want := range c.want {
			if !strings.Contains(stderr, want) {
				t.Errorf("%q: no %q in %s", c.args, want, stderr)
			}
		}
	}
	other := benchPipeline{name: "other.yaml", pipeline: benchOf(t, "builtin")}
	o := benchOptions{limits: true, curve: filepath.Join(dir, "never")}
	err := o.checkCurve([]benchPipeline{{name: "adaptive", pipeline: benchOf(t, "random:tiny")}, other})
	if err == nil || !strings.Contains(err.Error(), "other.yaml") || !strings.Contains(err.Error(), "--model") {
		t.Errorf("two models: %v", err)
	}
	if _, err := os.Stat(o.curve); err == nil {
		t.Error("the folder was made for what is refused")
	}
}

func benchOf(t *testing.T, model string) *pipeline {
	t.Helper()
	o := overrides{sets: []string{"model.path=" + model}}
	p, err := o.loadMethod("adaptive")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestCurveLines compares the limits' lines with figures that can be followed, of
// Llama-3-8B on an H100.
func TestCurveLines(t *testing.T) {
	m := plan.Model{Layers: 32, Hidden: 4096, Heads: 32, KVHeads: 8, HeadDim: 128, FFN: 14336, Vocab: 128256, WeightBytes: 16_060_522_496, ElementBytes: 2}
	host := plan.Method{OnHost: true, Group: 8, Slots: 2}
	phase := func() *benchPhase { return &benchPhase{Seconds: 20, Limit: &benchLimit{}} }
	row := func(name string, context int, how plan.Method) benchRow {
		return benchRow{Pipeline: name, Context: context, Prefill: phase(), Decode: phase(), model: m, how: how}
	}
	int8 := host
	int8.Bits, int8.ScaleGroup = 8, 64
	r := benchReport{
		Rates: &benchRates{Rates: devicerate.Rates{CopyIn: 55.3e9, Linear: 767e12, Attention: 617e12, Read: 2857e9}},
		Rows: []benchRow{
			row("adaptive", 128<<10, host), row("headinfer-1", 128<<10, host), row("int8", 1<<10, int8), row("standard", 1<<10, plan.Standard()),
			{Pipeline: "tiled", Context: 256 << 10, Error: "no room"}, {Pipeline: "streaming-llm", Context: 1 << 10, Decode: &benchPhase{Seconds: 1}},
		},
	}
	lines := map[string][][2]float64{}
	for _, l := range r.curveLines() {
		lines[l.Phase+" "+l.Name] = l.Points
	}
	for name, want := range map[string][2]float64{ // at 1Ki and 256Ki
		"prefill arithmetic":                  {0.0185, 32.91},
		"decode link, 55.3 GB/s":              {0.00530, 0.6213},
		"decode link, 55.3 GB/s, 8-bit codes": {0.00530, 0.3301},
		"decode device memory, 2857 GB/s":     {0.00530, 0.01728},
	} {
		points := lines[name]
		if len(points) < 10 {
			t.Errorf("%d points of %q in %v", len(points), name, lines)
			continue
		}
		for i, p := range [][2]float64{points[0], points[len(points)-1]} {
			if tokens := []float64{1 << 10, 256 << 10}[i]; p[0] != tokens || math.Abs(p[1]-want[i]) > 0.01*want[i] {
				t.Errorf("%s: %v, want %g s at %g tokens", name, p, want[i], tokens)
			}
		}
	}
	if len(lines) != 4 {
		t.Errorf("%d lines", len(lines))
	}
	var table strings.Builder
	if err := r.curves().markdown(&table); err != nil || !strings.Contains(table.String(), "- tiled at 262144 tokens: no room\n") {
		t.Errorf("%v\n%s", err, &table)
	}
	none := benchReport{Rows: []benchRow{{Pipeline: "adaptive", Context: 5, Error: "no room"}}}
	if err := none.draw(filepath.Join(t.TempDir(), "missing"), zerolog.Nop()); err != nil {
		t.Error(err)
	}
}

// TestSpread has numbers between any two, ascending, with both ends.
func TestSpread(t *testing.T) {
	for _, ends := range [][2]int{{1, 1}, {5, 7}, {1000, 1 << 20}} {
		all := spread(ends[0], ends[1])
		if all[0] != ends[0] || all[len(all)-1] != ends[1] || !slices.IsSorted(all) {
			t.Errorf("%v: %v", ends, all)
		}
	}
}

// TestUsualContexts leaves out what passes a model's context, but never all.
func TestUsualContexts(t *testing.T) {
	for most, want := range map[int]int{1 << 30: 4, 8192: 2, 8200: 3, 10: 1} {
		o := benchOptions{decode: 8, contexts: []int{1024, 4096, 8192, 16384}}
		if o.allow(most); len(o.contexts) != want {
			t.Errorf("of a model for %d tokens: %v", most, o.contexts)
		}
	}
}
