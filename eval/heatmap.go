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
	frame
}

// Sizes of a map, in pixels.
const (
	cellWidth, cellHeight = 64, 36
	marginLeft            = 64
	marginRight           = 76
	marginBottom          = 60
	legendWidth, steps    = 14, 64
)

var (
	none    = inkOf(0xe1e1e1, "")
	onLight = inkOf(0x1e1e1e, "")
	onDark  = inkOf(0xffffff, "")
	// From nothing right to everything right; told apart without seeing red or green.
	scale = []ink{inkOf(0x441456, ""), inkOf(0xbe465a, ""), inkOf(0xf5b95f, ""), inkOf(0x96cd91, ""), inkOf(0x23828c, "")}
)

// colourOf returns the colour of a score, and one for text on it.
func colourOf(score float64) (fill, text ink) {
	if math.IsNaN(score) {
		return none, onLight
	}
	at := min(max(score, 0), 1) * float64(len(scale)-1)
	i := min(int(at), len(scale)-2)
	mix := func(a, b uint8) uint8 { return uint8(math.Round(float64(a) + (at-float64(i))*(float64(b)-float64(a)))) }
	a, b := scale[i], scale[i+1]
	fill.RGBA = color.RGBA{mix(a.R, b.R), mix(a.G, b.G), mix(a.B, b.B), 255}
	if 299*int(fill.R)+587*int(fill.G)+114*int(fill.B) < 125_000 {
		return fill, onDark
	}
	return fill, onLight
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

// cell returns the size of a score's: smaller on a narrow picture, as far as the
// score can still be read.
func (m HeatMap) cell() (w, h float64) {
	if !m.narrow {
		return cellWidth, cellHeight
	}
	const least = 30
	return min(max((narrowWidth-marginLeft-marginRight)/float64(len(m.Lengths)), least), cellWidth), cellHeight
}

// draw lays the map out. It is as wide as it needs to be.
func (m HeatMap) draw() *drawing {
	cellW, cellH := m.cell()
	gridW, gridH := cellW*float64(len(m.Lengths)), cellH*float64(len(m.Depths))
	legendH := max(gridH, 3*cellH)
	d := &drawing{w: max(marginLeft+gridW+marginRight, narrowWidth)}
	if !m.narrow {
		d.w = max(d.w, min(roomFor(m.Title, titleSize, true)+8, wideWidth)) // cells are never cut off
	}
	top := d.head(m.Title, "") + 12
	d.h = top + legendH + marginBottom
	d.note(4, top-10, left, "depth of the fact")
	for i, depth := range m.Depths {
		y := top + float64(i)*cellH
		d.note(marginLeft-8, y+cellH/2, right, strconv.FormatFloat(math.Round(1000*depth)/10, 'g', -1, 64)+"%")
		for j, score := range m.Scores[i] {
			fill, ink := colourOf(score)
			x := marginLeft + float64(j)*cellW
			text, what := "–", "not measured"
			if !math.IsNaN(score) {
				text = strconv.Itoa(int(math.Round(100 * score)))
				what = "mean score " + text + "%"
			}
			title := fmt.Sprintf("%s tokens, depth %.3g%%: %s", Tokens(m.Lengths[j]), 100*depth, what)
			d.boxes = append(d.boxes, box{x: x + 1, y: y + 1, w: cellW - 2, h: cellH - 2, fill: fill, title: title})
			d.labels = append(d.labels, label{x + cellW/2, y + cellH/2, text, centre, ink, textSize, false})
		}
	}
	end := 0.0
	for j, n := range m.Lengths {
		at, half := marginLeft+(float64(j)+0.5)*cellW, roomFor(Tokens(n), smallSize, false)/2
		if at-half > end+4 {
			d.note(at, top+gridH+16, centre, Tokens(n))
			end = at + half
		}
	}
	d.note(marginLeft+gridW/2, top+gridH+40, centre, "context, tokens")
	d.scale(marginLeft+gridW+20, top, legendH)
	return d
}

// scale draws what the colours say.
func (d *drawing) scale(x, top, height float64) {
	for i := range steps {
		from, to := height*float64(i)/steps, height*float64(i+1)/steps
		fill, _ := colourOf(1 - (float64(i)+0.5)/steps)
		d.boxes = append(d.boxes, box{x: x, y: top + from, w: legendWidth, h: to - from + 0.5, fill: fill})
	}
	for _, mark := range []struct {
		text string
		y    float64
	}{{"100%", 7}, {"50%", height / 2}, {"0%", height - 7}} {
		d.note(x+legendWidth+8, top+mark.y, left, mark.text)
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
