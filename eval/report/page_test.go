package report

import (
	"bytes"
	"errors"
	"fmt"
	"image/png"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"headinfer/eval"
)

// figure is one that a page must show, drawn afresh.
func figure(r *rand.Rand) float64 { return float64(100+r.IntN(900)) / 100 }

// samplePage has a part of every kind, with figures drawn afresh; hostile is a text
// that must not become part of the page's own language.
const hostile = `<b onclick="x()">&amp; </script><script>throw 1</script>`

func samplePage(r *rand.Rand) *Page {
	share := figure(r) / 10
	stack := func(name string) eval.Stack {
		return eval.Stack{Name: name, Parts: []float64{15, figure(r), figure(r)}}
	}
	series := func(name string) eval.Series {
		s := eval.Series{Name: name}
		for n := 1024.0; n < 2e5; n *= 2 {
			s.Points = append(s.Points, eval.Point{Tokens: n, Seconds: n / 1e4 * figure(r)})
		}
		return s
	}
	table := Table{Caption: "Times", Columns: []Column{{Name: "method", Text: true}, {Name: "context", Unit: "tokens"}}}
	for _, group := range []string{"prefill", "decode"} {
		for _, name := range []string{"time", "limit", "copied", "hidden"} {
			table.Columns = append(table.Columns, Column{Group: group, Name: name, Unit: "ms"})
		}
	}
	for i := range 6 {
		row := []string{"headinfer-1 " + hostile, fmt.Sprint(1024 << i)}
		for range 8 {
			row = append(row, fmt.Sprint(figure(r)))
		}
		table.Rows = append(table.Rows, row)
	}
	heat := eval.HeatMap{Title: "niah_single, adaptive", Lengths: []int{1024, 2048, 4096, 8192, 16384, 32768}, Depths: []float64{0, 0.5, 1}}
	for range heat.Depths {
		heat.Scores = append(heat.Scores, []float64{r.Float64(), r.Float64(), r.Float64(), r.Float64(), r.Float64(), r.Float64()})
	}
	picture := func(name string, p eval.Picture) Picture {
		return Picture{Name: name, Caption: "A caption of " + name + ".", Alt: name + " " + hostile, Draw: p}
	}
	return &Page{
		Title: "Prefill and decode of llama-3-8b " + hostile, Lead: "At 128Ki tokens adaptive decodes a token in 317 ms.",
		Facts: []Fact{{Name: "Host", Value: "AMD EPYC"}, {Name: "Command", Value: "headinfer bench --method " + strings.Repeat("adaptive,", 40), Code: true}},
		Sections: []Section{
			{Title: "Speed", Parts: []Part{picture("curves", eval.Curves{Title: "Time against the context", Panels: []eval.Panel{
				{Title: "prefill, seconds", Series: []eval.Series{series("adaptive"), series("standard")}}, {Title: "decode, seconds a token", Series: []eval.Series{series("adaptive")}},
			}}), table, List{"A note.", hostile}}},
			{Title: "Memory", Parts: []Part{Text("A paragraph " + hostile), picture("memory", eval.Stacks{
				Title: "Device memory", Unit: "GiB", Parts: []string{"weights", "keys and values", "activations"}, Limit: 24, LimitName: "budget, 24 GiB",
				Groups: []eval.StackGroup{{Title: "128Ki tokens", Bars: []eval.Stack{stack("adaptive"), stack("headinfer-1"), stack("standard")}}},
			})}},
			{Title: "Roofline", Parts: []Part{picture("roofline", eval.Roofline{
				Title: "Roofline", Roofs: []eval.Roof{{Name: "linear layers, 767 TFLOP/s", Flops: 767e12}, {Name: "link, 55 GB/s", Bytes: 55e9}},
				Points: []eval.RoofPoint{{Series: "adaptive", Kind: "prefill", Label: "8Ki", Intensity: 1e4 * figure(r), Flops: 1e14 * figure(r)}, {Series: "adaptive", Kind: "decode", Label: "8Ki", Intensity: figure(r), Flops: 1e10 * figure(r)}},
			})}},
			{Title: "Copies", Parts: []Part{picture("timeline-1", eval.Lanes{Title: "One layer", Panels: []eval.LanePanel{{
				Title: "a decode step", Length: 400, Lanes: []eval.Lane{{Name: "copy in", Spans: []eval.LaneSpan{{Name: "L1 h0:2 t0:4096", From: -3, To: 160 + figure(r)}}}, {Name: "compute"}},
			}}})}},
			{Title: "Dataflow", Parts: []Part{picture("pipeline", eval.Flow{Levels: []eval.FlowLevel{{
				Name: "documents", Nodes: []eval.FlowNode{{Name: "files", Options: []string{`paths=["a/*.txt"]`}, Busy: &share}, {Name: "decode", Figures: []string{fmt.Sprintf("%g items/s", figure(r))}}},
				Edges: []eval.FlowEdge{{From: 0, To: 1, Label: "Document"}},
			}}})}},
			{Title: "Depths", Parts: []Part{picture("heat", heat), Picture{Name: "heat-2", Caption: "x", Alt: "x", Draw: heat, Small: true}}},
		},
	}
}

func fresh(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// TestPage reads a page back: every text is there once it is parsed, nothing is fetched
// from elsewhere, no script is in it, and pictures have words.
func TestPage(t *testing.T) {
	p, dir := samplePage(fresh(t)), filepath.Join(t.TempDir(), "new", "out")
	paths, err := p.Write(dir)
	if err != nil {
		t.Fatal(err)
	}
	if want := 2*len(p.pictures()) + 1; len(paths) != want || paths[want-1] != filepath.Join(dir, PageFile) {
		t.Errorf("%d files: %q", len(paths), paths)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err == nil && filepath.Ext(path) == ".png" {
			_, err = png.Decode(bytes.NewReader(data))
		}
		if err != nil || len(data) < 500 {
			t.Errorf("%s: %d bytes, %v", path, len(data), err)
		}
	}
	data, err := os.ReadFile(filepath.Join(dir, PageFile))
	if err != nil {
		t.Fatal(err)
	}
	root, err := html.Parse(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	var cells, labels []string
	counts := map[string]int{}
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		counts[n.Data]++
		for _, a := range n.Attr {
			switch {
			case strings.HasPrefix(a.Key, "on"), a.Key == "src":
				t.Errorf("<%s %s=%q>", n.Data, a.Key, a.Val)
			case a.Key == "href" && n.Data != "a" && a.Val != "data:,":
				t.Errorf("<%s href=%q>", n.Data, a.Val)
			case a.Key == "href" && strings.Contains(a.Val, ":") && n.Data == "a":
				t.Errorf("a link to %s", a.Val)
			case a.Key == "aria-label":
				labels = append(labels, a.Val)
			}
		}
		switch n.Data {
		case "td":
			cells = append(cells, textOf(n))
		case "title":
			if n.Parent.Data == "head" && textOf(n) != p.Title {
				t.Errorf("the title %q", textOf(n))
			}
		}
	}
	if counts["script"]+counts["b"]+counts["img"]+counts["iframe"] != 0 || counts["h1"] != 1 || counts["h2"] != len(p.Sections) || counts["svg"] != 2*len(p.pictures()) {
		t.Errorf("elements: %v", counts)
	}
	table := p.Sections[0].Parts[1].(Table)
	if want := slices.Concat(table.Rows...); !slices.Equal(cells, want) {
		t.Errorf("cells %q, want %q", cells, want)
	}
	for _, picture := range p.pictures() {
		if !slices.Contains(labels, picture.Alt) {
			t.Errorf("no words for %s", picture.Name)
		}
	}
	if strings.Contains(string(data), "http://") && strings.Count(string(data), "http://") != strings.Count(string(data), `xmlns="http://www.w3.org/2000/svg"`) {
		t.Error("the page names an address")
	}
}

func textOf(n *html.Node) string {
	var out strings.Builder
	for c := range n.Descendants() {
		if c.Type == html.TextNode {
			out.WriteString(c.Data)
		}
	}
	return out.String()
}

func TestPageRefused(t *testing.T) {
	one := eval.HeatMap{Lengths: []int{1}, Depths: []float64{0}, Scores: [][]float64{{1}}}
	parts := func(all ...Part) *Page { return &Page{Title: "t", Sections: []Section{{Title: "s", Parts: all}}} }
	for what, p := range map[string]*Page{
		"a page without a title": {},
		"row 2 has 1 cells":      parts(Table{Columns: []Column{{Name: "a"}, {Name: "b"}}, Rows: [][]string{{"1", "2"}, {"3"}}}),
		`picture "../x"`:         parts(Picture{Name: "../x", Alt: "x", Draw: one}),
		"nothing to draw":        parts(Picture{Name: "x", Alt: "x"}),
		"no words":               parts(Picture{Name: "x", Draw: one}),
		"two pictures":           parts(Picture{Name: "x", Alt: "x", Draw: one}, Picture{Name: "x", Alt: "x", Draw: one}),
		"heat map":               parts(Picture{Name: "x", Alt: "x", Draw: eval.HeatMap{}}),
	} {
		dir := t.TempDir()
		_, err := p.Write(dir)
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := os.Stat(filepath.Join(dir, PageFile)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: a page was written", what)
		}
	}
}

// TestWriteNamesThePath has a folder that is a file, and a file that is a folder; what
// was there before stays.
func TestWriteNamesThePath(t *testing.T) {
	p, dir := samplePage(fresh(t)), t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Write(file); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a file for a folder: %v", err)
	}
	taken := filepath.Join(dir, "memory.svg", "x")
	if err := os.MkdirAll(taken, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Write(dir); err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "memory.svg")) {
		t.Errorf("a folder for a file: %v", err)
	}
	names, err := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil || len(names) != 0 {
		t.Errorf("left behind: %q, %v", names, err)
	}
	if _, err := os.Stat(filepath.Join(dir, PageFile)); err != nil {
		t.Errorf("the page itself: %v", err)
	}
	var a, b bytes.Buffer
	if err := errors.Join(p.HTML(&a), p.HTML(&b)); err != nil || !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Errorf("written twice, the pages differ: %v", err)
	}
	if err := p.HTML(failing{}); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("a full disk: %v", err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrShortWrite }
