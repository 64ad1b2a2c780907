package eval

import (
	"bytes"
	"encoding/xml"
	"errors"
	"image/color"
	"image/png"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// powers has times that are powers of ten at contexts that are powers of ten, so that
// their places can be told from the axes' ends alone.
func powers(name string, limit bool, points ...Point) Series {
	return Series{Name: name, Limit: limit, Points: points}
}

func someCurves() Curves {
	return Curves{
		Title: "llama-3-8b (random weights)", Note: "NVIDIA H100 80GB HBM3, <driver> & more",
		Panels: []Panel{
			{Title: "prefill, seconds", Series: []Series{
				powers("adaptive", false, Point{1024, 0.053}, Point{4096, 0.17}, Point{32768, 1.26}, Point{131072, 10.6}, Point{262144, 36.8}),
				powers("standard", false, Point{1024, 0.051}, Point{4096, 0.16}, Point{32768, 1.21}),
				powers("limit: arithmetic", true, Point{1024, 0.02}, Point{32768, 1.02}, Point{262144, 33.5}),
			}},
			{Title: "decode, seconds a token", Series: []Series{
				powers("standard", false, Point{1024, 0.0082}, Point{4096, 0.0083}, Point{32768, 0.0096}),
				powers("adaptive", false, Point{1024, 0.009}, Point{4096, 0.013}, Point{32768, 0.0807}, Point{131072, 0.317}, Point{262144, 0.637}),
				powers("limit: link", true, Point{1024, 0.0052}, Point{4096, 0.01}, Point{262144, 0.62}),
				powers("limit: device memory", true, Point{1024, 0.0052}, Point{262144, 0.017}),
			}},
		},
	}
}

// TestAxis compares places with those that the logarithms give.
func TestAxis(t *testing.T) {
	r := rand.New(rand.NewPCG(freshSeed(t), 0))
	for range 200 {
		values := make([]float64, 1+r.IntN(5))
		for i := range values {
			values[i] = math.Exp(20 * (r.Float64() - 0.5))
		}
		from, to := 1000*r.Float64(), 1000*r.Float64()
		a := newAxis(values, from, to)
		if !(a.least < slices.Min(values) && a.most > slices.Max(values) && a.most/a.least > 9.999) {
			t.Fatalf("%v from %g to %g", values, a.least, a.most)
		}
		if math.Abs(a.at(a.least)-from) > 1e-9 || math.Abs(a.at(a.most)-to) > 1e-9 || math.Abs(a.at(math.Sqrt(a.least*a.most))-(from+to)/2) > 1e-9 {
			t.Errorf("the axis from %g to %g ends at %g and %g", from, to, a.at(a.least), a.at(a.most))
		}
		decades := 0
		for i, tick := range a.ticks(200, Seconds) {
			if tick.value < a.least || tick.value > a.most {
				t.Errorf("a line at %g between %g and %g", tick.value, a.least, a.most)
			}
			if i > 0 && tick.value <= a.ticks(200, Seconds)[i-1].value {
				t.Errorf("lines out of order at %g", tick.value)
			}
			if tick.decade {
				decades++
				if n := math.Log10(tick.value); math.Abs(n-math.Round(n)) > 1e-9 || tick.text == "" {
					t.Errorf("%g is a decade with the text %q", tick.value, tick.text)
				}
			}
		}
		if want := int(math.Floor(math.Log10(a.most))-math.Ceil(math.Log10(a.least))) + 1; decades != want {
			t.Errorf("%d decades between %g and %g, want %d", decades, a.least, a.most, want)
		}
	}
	for s, want := range map[float64]string{0.07: "70 ms", 0.0005: "0.5 ms", 1: "1 s", 200: "200 s", 0.9: "900 ms"} {
		if got := Seconds(s); got != want {
			t.Errorf("%g s is %s, want %s", s, got, want)
		}
	}
}

// TestCurvesSVG reads a drawing back: each mark is where its point's logarithms say,
// relative to the decades' lines, and all names and titles are there.
func TestCurvesSVG(t *testing.T) {
	c := someCurves()
	var out bytes.Buffer
	if err := c.SVG(&out); err != nil {
		t.Fatal(err)
	}
	keep(t, "curves.svg", out.Bytes())
	var texts []string
	var discs, paths, polygons [][]place
	for d := xml.NewDecoder(&out); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch x := token.(type) {
		case xml.StartElement:
			attribute := map[string]string{}
			for _, a := range x.Attr {
				attribute[a.Name.Local] = a.Value
			}
			switch x.Name.Local {
			case "circle":
				discs = append(discs, readPlaces(t, attribute["cx"]+","+attribute["cy"]))
			case "polyline":
				paths = append(paths, readPlaces(t, attribute["points"]))
			case "polygon":
				polygons = append(polygons, readPlaces(t, attribute["points"]))
			}
		case xml.CharData:
			if s := strings.TrimSpace(string(x)); s != "" {
				texts = append(texts, s)
			}
		}
	}
	for _, want := range []string{c.Title, c.Note, "prefill, seconds", "decode, seconds a token", "context, tokens", "adaptive", "standard",
		"limit: link", "limit: device memory", "limit: arithmetic", "1 s", "10 s", "100 ms", "10 ms", "10k", "100k", "20k", "500 ms", "5 s"} {
		if !slices.Contains(texts, want) {
			t.Errorf("no %q among %q", want, texts)
		}
	}
	// adaptive is the first method, so its marks are discs: 10 and two in legends.
	if len(discs) != 5+1+5+1 || len(polygons) != 3+1+3+1 {
		t.Fatalf("%d discs and %d other marks", len(discs), len(polygons))
	}
	for panel, marks := range [][][]place{discs[:5], discs[6:11]} {
		i := slices.IndexFunc(c.Panels[panel].Series, func(s Series) bool { return s.Name == "adaptive" })
		checkPlaces(t, c.Panels[panel].Series[i].Points, marks)
	}
	for _, p := range c.Panels {
		for _, s := range p.Series {
			if !slices.ContainsFunc(paths, func(path []place) bool { return len(path) == len(s.Points) && len(path) > 2 }) && len(s.Points) > 2 {
				t.Errorf("no line through %d points of %s", len(s.Points), s.Name)
			}
		}
	}
}

// checkPlaces checks that places are a linear function of points' logarithms, with
// time upwards.
func checkPlaces(t *testing.T, points []Point, places [][]place) {
	t.Helper()
	first, last := places[0][0], places[len(places)-1][0]
	a, b := points[0], points[len(points)-1]
	for i, p := range points {
		u := math.Log(p.Tokens/a.Tokens) / math.Log(b.Tokens/a.Tokens)
		v := math.Log(p.Seconds/a.Seconds) / math.Log(b.Seconds/a.Seconds)
		want := place{first.x + u*(last.x-first.x), first.y + v*(last.y-first.y)}
		if got := places[i][0]; math.Hypot(got.x-want.x, got.y-want.y) > 0.05 {
			t.Errorf("%+v is at %v, want %v", p, got, want)
		}
	}
	if last.x-first.x < 300 || first.y-last.y < 150 {
		t.Errorf("from %v to %v: the points take little of the panel", first, last)
	}
}

func readPlaces(t *testing.T, text string) (all []place) {
	t.Helper()
	for _, pair := range strings.Fields(text) {
		x, y, _ := strings.Cut(pair, ",")
		a, errA := strconv.ParseFloat(x, 64)
		b, errB := strconv.ParseFloat(y, 64)
		if err := errors.Join(errA, errB); err != nil {
			t.Fatal(err)
		}
		all = append(all, place{a, b})
	}
	return all
}

// TestCurvesPNG finds each method's ink at its points, and drawing again gives the
// same bytes.
func TestCurvesPNG(t *testing.T) {
	c := someCurves()
	var out, again bytes.Buffer
	if err := errors.Join(c.PNG(&out), c.PNG(&again)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.Bytes(), again.Bytes()) {
		t.Error("drawn twice, the images differ")
	}
	keep(t, "curves.png", out.Bytes())
	img, err := png.Decode(&out)
	if err != nil {
		t.Fatal(err)
	}
	if size := img.Bounds().Size(); size.X != imageScale*wideWidth || size.Y < imageScale*500 {
		t.Errorf("an image of %v", size)
	}
	at := func(x, y float64) color.RGBA {
		return color.RGBAModel.Convert(img.At(int(imageScale*x), int(imageScale*y))).(color.RGBA)
	}
	top := (&drawing{w: wideWidth}).head(c.Title, c.Note) + axesTop
	for i, p := range c.Panels {
		half := wideWidth / 2.0
		x, y := p.axes(plot{half*float64(i) + axesLeft, top, half*float64(i+1) - axesRight, top + axesHeight})
		for _, s := range p.Series {
			if s.Limit {
				continue
			}
			n := slices.Index(c.methods(), s.Name)
			for j, point := range s.Points {
				// Later marks may lie over this one.
				if got := at(x.at(point.Tokens), y.at(point.Seconds)); got != inks[0].RGBA && got != inks[1].RGBA {
					t.Errorf("%s, %+v: %v", s.Name, point, got)
				}
				if next := j + 1; next < len(s.Points) {
					q := s.Points[next]
					mx, my := (x.at(point.Tokens)+x.at(q.Tokens))/2, (y.at(point.Seconds)+y.at(q.Seconds))/2
					if got := at(mx, my); s.Name == "adaptive" && point.Tokens > 4096 && got != inks[n].RGBA {
						t.Errorf("between %+v and %+v: %v", point, q, got)
					}
				}
			}
		}
		if got := at(x.from+10, y.from-30); got != paper.RGBA && got != gridInk.RGBA && got != decadeInk.RGBA {
			t.Errorf("in an empty place: %v", got)
		}
	}
}

// TestStrokes has a line of two parts with dashes that go on around its corner.
func TestStrokes(t *testing.T) {
	through := []place{{0, 0}, {10, 0}, {10, 7}}
	if got := (line{through: through}).strokes(); len(got) != 2 || got[1] != [2]place{{10, 0}, {10, 7}} {
		t.Errorf("without dashes: %v", got)
	}
	want := [][2]place{{{0, 0}, {4, 0}}, {{6, 0}, {10, 0}}, {{10, 2}, {10, 6}}}
	if got := (line{through: through, dash: [2]float64{4, 2}}).strokes(); !slices.Equal(got, want) {
		t.Errorf("with dashes: %v, want %v", got, want)
	}
}

func TestCurvesRefused(t *testing.T) {
	for _, c := range []Curves{
		{}, {Panels: []Panel{{}}},
		{Panels: []Panel{{Series: []Series{powers("a", false, Point{1, 0})}}}},
		{Panels: []Panel{{Series: []Series{powers("a", false, Point{1, math.NaN()})}}}},
		{Panels: []Panel{{Series: []Series{powers("a", true, Point{-3, 1})}}}},
		{Panels: []Panel{{Series: []Series{powers("a", true, Point{math.Inf(1), 1})}}}},
	} {
		if c.SVG(io.Discard) == nil || c.PNG(io.Discard) == nil {
			t.Errorf("%+v was drawn", c)
		}
	}
	one := Curves{Panels: []Panel{{Title: "one point", Series: []Series{powers("a", false, Point{7, 1e-7})}}}}
	if err := errors.Join(one.SVG(io.Discard), one.PNG(io.Discard)); err != nil {
		t.Error(err)
	}
	for _, text := range []string{"", "short", strings.Repeat("long ", 50)} {
		if got := clip(text, 300, textSize); roomFor(got, textSize, false) > 300 || len(text) < 20 && got != text {
			t.Errorf("%q was clipped to %q, %g pixels", text, got, roomFor(got, textSize, false))
		}
	}
}

// keep leaves a drawing where a person asked for it.
func keep(t *testing.T, name string, data []byte) {
	t.Helper()
	if dir := os.Getenv("HEATMAP_DIR"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
