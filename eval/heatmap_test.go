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

func randomMap(r *rand.Rand) HeatMap {
	m := HeatMap{Title: "adaptive & <more>: 50%", Lengths: []int{1024, 10000, 131072, 777}[:1+r.IntN(4)]}
	for range 1 + r.IntN(7) {
		m.Depths = append(m.Depths, r.Float64())
		var row []float64
		for range m.Lengths {
			row = append(row, float64(r.IntN(101))/100)
		}
		m.Scores = append(m.Scores, row)
	}
	m.Scores[0][0] = math.NaN()
	return m
}

// TestSVG reads the drawing back: well-formed, and with every axis, value and the title.
func TestSVG(t *testing.T) {
	seed := freshSeed(t)
	m := randomMap(rand.New(rand.NewPCG(seed, 0)))
	var out bytes.Buffer
	if err := m.SVG(&out); err != nil {
		t.Fatal(err)
	}
	var texts []string
	rects := 0
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
			if x.Name.Local == "rect" {
				rects++
			}
		case xml.CharData:
			if s := strings.TrimSpace(string(x)); s != "" {
				texts = append(texts, s)
			}
		}
	}
	want := []string{m.Title, "context, tokens", "depth of the fact", "100%", "50%", "0%", "–"}
	for j, n := range m.Lengths {
		want = append(want, Tokens(n))
		for i := range m.Depths {
			if s := m.Scores[i][j]; !math.IsNaN(s) {
				want = append(want, strconv.Itoa(int(math.Round(100*s))))
			}
		}
	}
	for _, s := range want {
		if !slices.Contains(texts, s) {
			t.Errorf("no %q among %q", s, texts)
		}
	}
	if cells := len(m.Lengths) * len(m.Depths); rects != 1+cells+steps {
		t.Errorf("%d rectangles for %d cells", rects, cells)
	}
}

// TestPNG looks at pixels beside the values of cells, and for ink in every label.
func TestPNG(t *testing.T) {
	seed := freshSeed(t)
	m := randomMap(rand.New(rand.NewPCG(seed, 0)))
	var out bytes.Buffer
	if err := m.PNG(&out); err != nil {
		t.Fatal(err)
	}
	if dir := os.Getenv("HEATMAP_DIR"); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, "map.png"), out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	img, err := png.Decode(&out)
	if err != nil {
		t.Fatal(err)
	}
	top := int((&drawing{w: m.draw().w}).head(m.Title, "")) + 12
	at := func(x, y int) color.Color { return color.RGBAModel.Convert(img.At(imageScale*x, imageScale*y)) }
	for i := range m.Depths {
		for j, score := range m.Scores[i] {
			want, ink := colourOf(score)
			x, y := marginLeft+j*cellWidth, top+i*cellHeight
			if got := at(x+4, y+4); got != want.RGBA {
				t.Errorf("depth %d, length %d: %v for %g, expected %v", i, j, got, score, want.RGBA)
			}
			marks := 0
			for dx := range imageScale * cellWidth {
				for dy := range imageScale * cellHeight {
					if color.RGBAModel.Convert(img.At(imageScale*x+dx, imageScale*y+dy)) == ink.RGBA {
						marks++
					}
				}
			}
			if marks < 3 || marks > imageScale*imageScale*cellWidth*cellHeight/2 {
				t.Errorf("depth %d, length %d: %d pixels of ink", i, j, marks)
			}
		}
	}
}

func TestHeatMapShape(t *testing.T) {
	for _, m := range []HeatMap{
		{}, {Lengths: []int{1}, Depths: []float64{0}}, {Lengths: []int{1, 2}, Depths: []float64{0}, Scores: [][]float64{{1}}},
	} {
		if m.SVG(io.Discard) == nil || m.PNG(io.Discard) == nil {
			t.Errorf("%+v was drawn", m)
		}
	}
	for n, want := range map[int]string{1: "1", 1000: "1k", 1024: "1Ki", 131072: "128Ki", 1 << 20: "1Mi", 2000000: "2M", 777: "777", 10240: "10Ki"} {
		if got := Tokens(n); got != want {
			t.Errorf("%d is %s, expected %s", n, got, want)
		}
	}
}
