package eval

import (
	"fmt"
	"image/color"
	"math"
	"strconv"
)

// HeatMap is scores by the depth of a fact and the length of the text.
type HeatMap struct {
	Title   string
	Lengths []int       // in tokens, from left to right
	Depths  []float64   // 0 to 1, from top to bottom
	Scores  [][]float64 // [depth][length], 0 to 1; NaN for one that was not measured
}

// Sizes of a drawing, in pixels.
const (
	cellWidth, cellHeight = 64, 36
	marginLeft, marginTop = 76, 56
	marginRight           = 96
	marginBottom          = 60
	legendWidth, steps    = 16, 64
)

var (
	none = color.RGBA{225, 225, 225, 255}
	// From nothing right to everything right; told apart without seeing red or green.
	scale = []color.RGBA{{68, 20, 86, 255}, {190, 70, 90, 255}, {245, 185, 95, 255}, {150, 205, 145, 255}, {35, 130, 140, 255}}
)

// colourOf returns the colour of a score, and one for text on it.
func colourOf(score float64) (fill, ink color.RGBA) {
	if math.IsNaN(score) {
		return none, black
	}
	at := min(max(score, 0), 1) * float64(len(scale)-1)
	i := min(int(at), len(scale)-2)
	mix := func(a, b uint8) uint8 { return uint8(math.Round(float64(a) + (at-float64(i))*(float64(b)-float64(a)))) }
	a, b := scale[i], scale[i+1]
	fill = color.RGBA{mix(a.R, b.R), mix(a.G, b.G), mix(a.B, b.B), 255}
	ink = black
	if 299*int(fill.R)+587*int(fill.G)+114*int(fill.B) < 125_000 {
		ink = paper
	}
	return fill, ink
}

// check refuses a map whose scores are not one for each depth and length.
func (m HeatMap) check() error {
	if len(m.Lengths) == 0 || len(m.Depths) == 0 || len(m.Scores) != len(m.Depths) {
		return fmt.Errorf("heat map %q: %d rows of scores for %d depths and %d lengths", m.Title, len(m.Scores), len(m.Depths), len(m.Lengths))
	}
	for i, row := range m.Scores {
		if len(row) != len(m.Lengths) {
			return fmt.Errorf("heat map %q: row %d has %d scores for %d lengths", m.Title, i, len(row), len(m.Lengths))
		}
	}
	return nil
}

// draw lays the map out.
func (m HeatMap) draw() drawing {
	gridW, gridH := cellWidth*len(m.Lengths), cellHeight*len(m.Depths)
	legendH := max(gridH, 3*cellHeight)
	d := drawing{w: marginLeft + gridW + marginRight, h: marginTop + legendH + marginBottom}
	// A long title makes the drawing wider.
	d.w = max(d.w, 2*16+widthOf(m.Title))
	add := func(x, y int, a align, text string) { d.labels = append(d.labels, label{x, y, text, a, black}) }
	add(16, 18, left, m.Title)
	add(16, marginTop-16, left, "depth of the fact")
	for i, depth := range m.Depths {
		y := marginTop + i*cellHeight
		add(marginLeft-8, y+cellHeight/2, right, strconv.FormatFloat(math.Round(1000*depth)/10, 'g', -1, 64)+"%")
		for j, score := range m.Scores[i] {
			fill, ink := colourOf(score)
			x := marginLeft + j*cellWidth
			d.boxes = append(d.boxes, box{x + 1, y + 1, cellWidth - 2, cellHeight - 2, fill})
			text := "-"
			if !math.IsNaN(score) {
				text = strconv.Itoa(int(math.Round(100 * score)))
			}
			d.labels = append(d.labels, label{x + cellWidth/2, y + cellHeight/2, text, centre, ink})
		}
	}
	for j, n := range m.Lengths {
		add(marginLeft+j*cellWidth+cellWidth/2, marginTop+gridH+16, centre, Tokens(n))
	}
	add(marginLeft+gridW/2, marginTop+gridH+42, centre, "tokens")
	d.legend(marginLeft+gridW+20, legendH)
	return d
}

// legend draws the scale of colours.
func (d *drawing) legend(x, height int) {
	for i := range steps {
		from, to := height*i/steps, height*(i+1)/steps
		fill, _ := colourOf(1 - (float64(i)+0.5)/steps)
		d.boxes = append(d.boxes, box{x, marginTop + from, legendWidth, to - from, fill})
	}
	for _, mark := range []struct {
		text string
		y    int
	}{{"100%", 8}, {"50%", height / 2}, {"0%", height - 8}} {
		d.labels = append(d.labels, label{x + legendWidth + 8, marginTop + mark.y, mark.text, left, black})
	}
}

// Tokens writes a count as people say it: 131072 is 128Ki, 10000 is 10k.
func Tokens(n int) string {
	for _, unit := range []struct {
		size int
		name string
	}{{1 << 20, "Mi"}, {1 << 10, "Ki"}, {1e6, "M"}, {1e3, "k"}} {
		if n >= unit.size && n%unit.size == 0 {
			return strconv.Itoa(n/unit.size) + unit.name
		}
	}
	return strconv.Itoa(n)
}
