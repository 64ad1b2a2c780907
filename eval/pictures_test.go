package eval

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"image/png"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// seen is a picture as its SVG is read back.
type seen struct {
	w, h   float64
	shapes map[string]int // elements by name
	titles []string
	texts  []label
	boxes  []box
}

func see(t *testing.T, p Picture) seen {
	t.Helper()
	var out bytes.Buffer
	if err := p.SVG(&out); err != nil {
		t.Fatal(err)
	}
	s := seen{shapes: map[string]int{}}
	var open []xml.StartElement
	number := func(e xml.StartElement, name string, usual float64) float64 {
		for _, a := range e.Attr {
			if a.Name.Local == name {
				v, err := strconv.ParseFloat(a.Value, 64)
				if err != nil {
					t.Fatal(err)
				}
				return v
			}
		}
		return usual
	}
	for d := xml.NewDecoder(&out); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return s
		}
		if err != nil {
			t.Fatal(err)
		}
		switch x := token.(type) {
		case xml.StartElement:
			open = append(open, x)
			s.shapes[x.Name.Local]++
			switch x.Name.Local {
			case "svg":
				s.w, s.h = number(x, "width", 0), number(x, "height", 0)
			case "rect":
				s.boxes = append(s.boxes, box{x: number(x, "x", 0), y: number(x, "y", 0), w: number(x, "width", 0), h: number(x, "height", 0)})
			}
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			text := string(x)
			if strings.TrimSpace(text) == "" {
				continue
			}
			switch e := open[len(open)-1]; e.Name.Local {
			case "title":
				s.titles = append(s.titles, text)
			case "text":
				l := label{x: number(e, "x", 0), y: number(e, "y", 0), text: text, size: number(e, "font-size", textSize)}
				for _, a := range e.Attr {
					if a.Name.Local == "text-anchor" {
						l.align = map[string]align{"middle": centre, "end": right}[a.Value]
					}
					l.bold = l.bold || a.Name.Local == "font-weight"
				}
				s.texts = append(s.texts, l)
			default:
				t.Errorf("the text %q in a %s", text, e.Name.Local)
			}
		}
	}
}

func (s seen) says(t *testing.T, all ...string) {
	t.Helper()
	for _, want := range all {
		if !slices.ContainsFunc(s.texts, func(l label) bool { return l.text == want }) {
			t.Errorf("no %q is written", want)
		}
	}
}

// laid checks that everything is inside the picture, that letters are large enough to
// read, and that no two texts lie over each other.
func (s seen) laid(t *testing.T) {
	t.Helper()
	for i, l := range s.texts {
		at := l.bounds()
		if at.x0 < 0 || at.y0 < 0 || at.x1 > s.w || at.y1 > s.h {
			t.Errorf("%q is at %.0f to %.0f, %.0f to %.0f of a picture of %g × %g", l.text, at.x0, at.x1, at.y0, at.y1, s.w, s.h)
		}
		if l.size < smallSize {
			t.Errorf("%q is in letters of %g", l.text, l.size)
		}
		for _, other := range s.texts[:i] {
			if at.over(other.bounds()) {
				t.Errorf("%q at %v and %q at %v lie over each other", l.text, place{l.x, l.y}, other.text, place{other.x, other.y})
			}
		}
	}
	for _, b := range s.boxes {
		if b.w < 0 || b.h < 0 || b.x < 0 || b.y < 0 || b.x+b.w > s.w+0.01 || b.y+b.h > s.h+0.01 {
			t.Errorf("the box %+v in a picture of %g × %g", b, s.w, s.h)
		}
	}
}

// everyLayout sees a picture as it is and as it is narrow, laid out well in either way, and
// checks that its image is as large.
func everyLayout(t *testing.T, p Picture, check func(t *testing.T, s seen)) {
	t.Helper()
	for name, p := range map[string]Picture{"wide": p, "narrow": p.Narrow()} {
		t.Run(name, func(t *testing.T) {
			s := see(t, p)
			if most := map[string]float64{"wide": wideWidth, "narrow": narrowWidth}[name]; s.w > most {
				t.Errorf("%g pixels wide, of at most %g", s.w, most)
			}
			s.laid(t)
			check(t, s)
			var out bytes.Buffer
			if err := p.PNG(&out); err != nil {
				t.Fatal(err)
			}
			keep(t, strings.ReplaceAll(t.Name(), "/", "-")+".png", out.Bytes())
			img, err := png.Decode(&out)
			if err != nil {
				t.Fatal(err)
			}
			if size := img.Bounds().Size(); size.X != int(math.Ceil(imageScale*s.w)) || size.Y != int(math.Ceil(imageScale*s.h)) {
				t.Errorf("an image of %v of a drawing of %g × %g", size, s.w, s.h)
			}
		})
	}
}

// TestCurvesLayout has curves of several methods in both layouts.
func TestCurvesLayout(t *testing.T) {
	everyLayout(t, someCurves(), func(t *testing.T, s seen) {
		s.says(t, "prefill, seconds", "decode, seconds a token", "context, tokens", "adaptive", "limit: link")
		if s.shapes["circle"]+s.shapes["polygon"] != 3+5+3+5+2+2 {
			t.Errorf("marks: %v", s.shapes)
		}
	})
}

// TestHeatMapLayout has so many lengths that a narrow picture has small cells.
func TestHeatMapLayout(t *testing.T) {
	r := rand.New(rand.NewPCG(freshSeed(t), 0))
	m := HeatMap{Title: "niah_single, adaptive", Lengths: []int{4096, 8192, 16384, 32768, 65536, 131072}, Depths: []float64{0, 0.5, 1}}
	for range m.Depths {
		var row []float64
		for range m.Lengths {
			row = append(row, r.Float64())
		}
		m.Scores = append(m.Scores, row)
	}
	everyLayout(t, m, func(t *testing.T, s seen) {
		s.says(t, "0%", "50%", "100%", "context, tokens", "4Ki", "32Ki")
		if len(s.titles) != 18 {
			t.Errorf("%d cells tell what they are", len(s.titles))
		}
	})
}

// TestHeatMapOfManyLengths has all cells inside the picture, however many there are.
func TestHeatMapOfManyLengths(t *testing.T) {
	m := HeatMap{Title: "niah_single, adaptive", Depths: []float64{0.5}, Scores: [][]float64{nil}}
	for i := range 18 {
		m.Lengths, m.Scores[0] = append(m.Lengths, 1024*(i+1)), append(m.Scores[0], 0.25)
	}
	for _, p := range []Picture{m, m.Narrow()} {
		s := see(t, p)
		s.laid(t)
		s.says(t, "18Ki", "100%")
		if want := "18Ki tokens, depth 50%: mean score 25%"; !slices.Contains(s.titles, want) {
			t.Errorf("no cell tells %q; they tell %q", want, s.titles)
		}
	}
}

// TestStacks reads back how long bars and their parts are.
func TestStacks(t *testing.T) {
	r := rand.New(rand.NewPCG(freshSeed(t), 0))
	s := Stacks{Title: "Device memory by purpose", Unit: "GiB", Parts: []string{"weights", "keys and values", "activations"}, Limit: 24, LimitName: "budget, 24 GiB"}
	for _, context := range []string{"8Ki tokens", "128Ki tokens"} {
		g := StackGroup{Title: context}
		for _, name := range []string{"adaptive", "headinfer-1", "a method of a long name, which is not drawn whole"} {
			g.Bars = append(g.Bars, Stack{Name: name, Parts: []float64{15, 1 + 20*r.Float64(), 1 + 3*r.Float64()}})
		}
		g.Bars = append(g.Bars, Stack{Name: "standard, computed", Parts: []float64{15, 16, 0}, Planned: true}, Stack{Name: "tiled", Missing: "the ring asked for 3 GiB"})
		s.Groups = append(s.Groups, g)
	}
	everyLayout(t, s, func(t *testing.T, got seen) {
		got.says(t, "adaptive", "standard, computed", "128Ki tokens", "weights", "budget, 24 GiB", "— the ring asked for 3 GiB", "31 GiB", "0", "20")
		// The picture itself and the legend come before; parts of nothing are not drawn.
		bars, i := got.boxes[1+len(s.Parts):], 0
		perUnit := bars[0].w / s.Groups[0].Bars[0].Parts[0]
		for _, g := range s.Groups {
			for _, b := range g.Bars {
				for part, v := range b.Parts {
					if v == 0 {
						continue
					}
					if math.Abs(bars[i].w-v*perUnit) > 0.02 || part > 0 && math.Abs(bars[i].x-bars[i-1].x-bars[i-1].w) > 0.02 {
						t.Errorf("%s, %s: %+v for %g", b.Name, s.Parts[part], bars[i], v)
					}
					want := fmt.Sprintf("%s, %s: %s %s GiB", g.Title, b.Name, s.Parts[part], plain(v))
					if got.titles[i] != want {
						t.Errorf("%q, want %q", got.titles[i], want)
					}
					i++
				}
			}
		}
		if i != len(bars) {
			t.Errorf("%d parts of bars, want %d", len(bars), i)
		}
	})
	// With scales of their own, the longest bar of each group is as long as another's.
	s.OwnScales, s.Limit = true, 0
	s.Groups = append(s.Groups, StackGroup{Title: "small", Bars: []Stack{{Name: "tiled", Parts: []float64{0.01, 0.02, 0.01}}}})
	everyLayout(t, s, func(t *testing.T, got seen) {
		got.says(t, "0.04 GiB", "0.02")
		longest := map[string]float64{}
		bars, i := got.boxes[1+len(s.Parts):], 0
		for _, g := range s.Groups {
			for _, b := range g.Bars {
				sum := 0.0
				for _, v := range b.Parts {
					if v > 0 {
						sum += bars[i].w
						i++
					}
				}
				longest[g.Title] = max(longest[g.Title], sum)
			}
		}
		for _, g := range s.Groups {
			if math.Abs(longest[g.Title]-longest["small"]) > 0.1 {
				t.Errorf("%v", longest)
			}
		}
	})
	for _, bad := range []Stacks{
		{}, {Parts: []string{"a"}, Groups: []StackGroup{{Bars: []Stack{{Name: "x"}}}}},
		{Parts: []string{"a"}, Groups: []StackGroup{{Bars: []Stack{{Name: "x", Parts: []float64{-1}}}}}},
		{Parts: []string{"a"}, Groups: []StackGroup{{Bars: []Stack{{Name: "x", Parts: []float64{math.NaN()}}}}}},
	} {
		if bad.SVG(io.Discard) == nil {
			t.Errorf("%+v was drawn", bad)
		}
	}
}

// TestRoofline compares the roofs' lines with where their figures are on the axes.
func TestRoofline(t *testing.T) {
	rand := rand.New(rand.NewPCG(freshSeed(t), 0))
	r := Roofline{Title: "Roofline", Note: "NVIDIA H100", Roofs: []Roof{
		{Name: "linear layers, 767 TFLOP/s", Flops: 767e12}, {Name: "device memory, 3.1 TB/s", Bytes: 3.1e12}, {Name: "link, 55 GB/s", Bytes: 55e9},
	}}
	for i, name := range []string{"adaptive", "headinfer-1", "standard"} {
		for _, context := range []string{"8Ki", "32Ki", "128Ki"} {
			r.Points = append(r.Points,
				RoofPoint{Series: name, Kind: "prefill", Label: context, Intensity: 1e4 * (1 + rand.Float64()), Flops: 3e14 * (1 + rand.Float64())},
				RoofPoint{Series: name, Kind: "decode", Label: context, Intensity: float64(1+i) * (1 + rand.Float64()), Flops: 1e11 * (1 + rand.Float64())})
		}
	}
	everyLayout(t, r, func(t *testing.T, s seen) {
		s.says(t, "FLOP/s reached", "FLOP for each byte moved", "adaptive", "prefill", "decode", "link, 55 GB/s", "100 T")
		// Discs and squares of the points, and one of each in the legend.
		if s.shapes["circle"] != 10 || s.shapes["polygon"] != 10 || len(s.titles) != len(r.Points) {
			t.Errorf("%v, %d of %d points tell what they are", s.shapes, len(s.titles), len(r.Points))
		}
	})
	at := plot{0, 0, 1000, 500}
	x, y := r.axes(at)
	for _, roof := range r.Roofs {
		for _, p := range r.through(roof, x, y) {
			intensity, flops := x.least*math.Pow(x.most/x.least, p.x/1000), y.least*math.Pow(y.most/y.least, 1-p.y/500)
			want := roof.Flops
			if roof.Bytes > 0 {
				want = roof.Bytes * intensity
			}
			if math.Abs(flops/want-1) > 1e-6 || flops > 767e12*1.000001 || p.x < -1e-6 || p.x > 1000.000001 || p.y < -1e-6 || p.y > 500.000001 {
				t.Errorf("%s at %g FLOP a byte is drawn at %g, want %g", roof.Name, intensity, flops, want)
			}
		}
	}
	for _, bad := range []Roofline{{}, {Points: []RoofPoint{{Intensity: 0, Flops: 1}}}, {Points: []RoofPoint{{Intensity: 1, Flops: math.Inf(1)}}}, {Points: r.Points, Roofs: []Roof{{}}}} {
		if bad.SVG(io.Discard) == nil {
			t.Errorf("%+v was drawn", bad)
		}
	}
}

// TestLabelsKeepClear finds what a stroke goes through, and puts a mark's label where
// there is neither a stroke nor another mark, if there is such a place.
func TestLabelsKeepClear(t *testing.T) {
	p := plot{10, 10, 20, 20}
	for _, c := range []struct {
		through []place
		crossed bool
	}{
		{[]place{{0, 15}, {100, 15}}, true},
		{[]place{{100, 100}, {0, 0}}, true},
		{[]place{{15, 12}, {16, 13}}, true},
		{[]place{{0, 50}, {50, 50}, {12, 12}}, true},
		{[]place{{0, 5}, {100, 5}}, false},
		{[]place{{0, 25}, {25, 0}}, true},
		{[]place{{0, 45}, {45, 0}}, false},
		{[]place{{30, 15}, {100, 15}}, false},
	} {
		if got := p.crossed(line{through: c.through}); got != c.crossed {
			t.Errorf("%v through %v: %v", c.through, p, got)
		}
	}
	at, within := place{100, 100}, plot{0, 0, 200, 200}
	roof := line{through: []place{{0, 100}, {200, 100}}}
	l, ok := beside(at, "8Ki", []plot{{95, 95, 105, 105}, {95, 110, 105, 120}}, []line{roof}, within)
	if !ok || l.room().crossed(roof) || l.room().over(plot{95, 110, 105, 120}) {
		t.Errorf("%v, %v", l, ok)
	}
	everywhere := []line{roof, {through: []place{{0, 86}, {200, 86}}}, {through: []place{{0, 114}, {200, 114}}}}
	if l, ok := beside(at, "8Ki", nil, everywhere, within); !ok {
		t.Errorf("%v has no place, and only strokes are in its way", l)
	}
	if l, ok := beside(at, "8Ki", []plot{within}, nil, within); ok {
		t.Errorf("%v lies over a mark", l)
	}
}

// TestRoofLeftOfTheAxis draws a roof from the axis on if it meets the first slope left of
// that, wherever it meets the others.
func TestRoofLeftOfTheAxis(t *testing.T) {
	r := Roofline{Roofs: []Roof{{Flops: 700e12}, {Flops: 500e12}, {Bytes: 3e12}, {Bytes: 55e9}}}
	for _, intensity := range []float64{2000, 5000, 20000} {
		r.Points = append(r.Points, RoofPoint{Intensity: intensity, Flops: 3e14})
	}
	x, y := r.axes(plot{0, 0, 1000, 500})
	for roof, from := range []float64{700e12 / 3e12, x.least} {
		if got := r.through(r.Roofs[roof], x, y); len(got) != 2 || math.Abs(got[0].x-x.at(from)) > 1e-6 || math.Abs(got[1].x-1000) > 1e-6 {
			t.Errorf("roof %d is drawn through %v, want from %g on", roof, got, x.at(from))
		}
	}
}

// TestLanes reads back when spans began and ended.
func TestLanes(t *testing.T) {
	r := rand.New(rand.NewPCG(freshSeed(t), 0))
	p := LanePanel{Title: "layer 17 of 32, a decode step after 131072 tokens", Length: 400 + 800*r.Float64()}
	copies := Lane{Name: "copy in", Spans: []LaneSpan{{"L15 h7:8 t0:131072", -50, 30}}}
	for at := 35.0; at < p.Length; at += 120 {
		copies.Spans = append(copies.Spans, LaneSpan{fmt.Sprintf("L16 h%d:%d t0:131072", len(copies.Spans), len(copies.Spans)+1), at, at + 100*r.Float64()})
	}
	p.Lanes = []Lane{copies, {Name: "compute", Spans: []LaneSpan{{"L16 project", 0, 90}, {"L16 feed-forward", p.Length - 90, p.Length + 40}}}, {Name: "copy out"}}
	everyLayout(t, Lanes{Title: "One layer, stream by stream", Panels: []LanePanel{p}}, func(t *testing.T, s seen) {
		s.says(t, "copy in", "compute", "copy out", "time, µs", "0", p.Title)
		boxes := s.boxes[1:]
		lane := boxes[0] // behind the spans
		i := 0
		for n, l := range p.Lanes {
			if boxes[i].w != lane.w || boxes[i].x != lane.x {
				t.Fatalf("lane %d is %+v", n, boxes[i])
			}
			i++
			for _, span := range l.Spans {
				from, to := max(span.From, 0)/p.Length*lane.w+lane.x, min(span.To, p.Length)/p.Length*lane.w+lane.x
				if b := boxes[i]; math.Abs(b.x-from) > 0.02 || math.Abs(b.x+b.w-to) > 1.02 {
					t.Errorf("%s is at %g to %g, want %g to %g", span.Name, b.x, b.x+b.w, from, to)
				}
				i++
			}
		}
		if i != len(boxes) || len(s.titles) != len(copies.Spans)+2 {
			t.Errorf("%d boxes and %d titles", len(boxes), len(s.titles))
		}
	})
	for _, bad := range []Lanes{{}, {Panels: []LanePanel{{Length: 1}}}, {Panels: []LanePanel{{Lanes: p.Lanes}}}, {Panels: []LanePanel{{Length: 1, Lanes: []Lane{{Spans: []LaneSpan{{"x", 2, 1}}}}}}}} {
		if bad.PNG(io.Discard) == nil {
			t.Errorf("%+v was drawn", bad)
		}
	}
}

// TestFlow draws levels that fit side by side, one with a branch, and one that does not fit.
func TestFlow(t *testing.T) {
	share := 0.83
	node := func(name string, options ...string) FlowNode {
		return FlowNode{Name: name, Options: options, Figures: []string{"12 items, 0.16/s", "busy 64.3 s, 83%"}, Busy: &share}
	}
	f := Flow{Levels: []FlowLevel{
		{Name: "documents", Note: "what each document goes through", Nodes: []FlowNode{
			node("files", `paths=[testdata/corpus/*.txt]`), node("tokenize", `prompt="{{.Text}}\n\nQuestion: {{.Question}}…`, "chat=true"), node("decode"), node("jsonl"), node("csv", "path=out/a.csv"),
		}, Edges: []FlowEdge{{0, 1, "Document"}, {1, 2, "Prompt"}, {2, 3, "Answer"}, {2, 4, "Answer"}}},
		{Name: "heads", Nodes: []FlowNode{{Name: "in", Open: true}, node("prefetch"), node("attention"), {Name: "out", Open: true}}, Edges: []FlowEdge{{0, 1, "Planned"}, {1, 2, "Fetched"}, {2, 3, "Attended"}}},
	}}
	long := FlowLevel{Name: "long"}
	for i := range 12 {
		long.Nodes = append(long.Nodes, node(fmt.Sprintf("stage-%d", i)))
		if i > 0 {
			long.Edges = append(long.Edges, FlowEdge{i - 1, i, "Document"})
		}
	}
	f.Levels = append(f.Levels, long)
	everyLayout(t, f, func(t *testing.T, s seen) {
		s.says(t, "documents", "heads", "files", "tokenize", "decode", "jsonl", "csv", "in", "out", "Document", "Attended", "12 items, 0.16/s", "stage-11")
		if arrows := s.shapes["polyline"]; arrows != 2*(4+3+11) {
			t.Errorf("%d lines of arrows", arrows)
		}
	})
	for _, bad := range []Flow{{}, {Levels: []FlowLevel{{Nodes: []FlowNode{node("a")}, Edges: []FlowEdge{{0, 0, ""}}}}}, {Levels: []FlowLevel{{Nodes: []FlowNode{node("a")}, Edges: []FlowEdge{{0, 1, ""}}}}}} {
		if bad.SVG(io.Discard) == nil {
			t.Errorf("%+v was drawn", bad)
		}
	}
}

// TestTones has a colour for light and dark screens of every ink that a drawing names.
func TestTones(t *testing.T) {
	seen := map[string]bool{}
	for _, tone := range Tones() {
		if tone.Name == "" || tone.Light == "" || tone.Dark == "" || seen[tone.Name] {
			t.Errorf("%+v", tone)
		}
		seen[tone.Name] = true
	}
}

// TestMethodsDiffer has no two of many methods drawn alike.
func TestMethodsDiffer(t *testing.T) {
	type look struct {
		ink   ink
		shape shape
	}
	seen := map[look]bool{}
	for n := range 3 * len(inks) {
		l := look{inks[n%len(inks)], shapeOf(n)}
		if seen[l] {
			t.Errorf("method %d looks like another", n)
		}
		seen[l] = true
	}
}
