package eval

import (
	"fmt"
	"io"
	"math"
	"slices"
)

// Roofline is a drawing of what was computed a second against what was computed for
// each byte moved, both on axes of decades, under what a machine can do at most.
type Roofline struct {
	Title, Note string
	Roofs       []Roof
	Points      []RoofPoint
	frame
}

// Roof is a limit: of arithmetic, in FLOP a second, or of a way that bytes come, in
// bytes a second. One of the two is 0.
type Roof struct {
	Name         string
	Flops, Bytes float64
}

// RoofPoint is something that was measured.
type RoofPoint struct {
	Series    string  // such as the method: a colour
	Kind      string  // such as the phase: a shape
	Label     string  // beside the mark, such as the context
	Intensity float64 // FLOP a byte
	Flops     float64 // a second
}

// check refuses what cannot be drawn: nothing, and what has no logarithm.
func (r Roofline) check() error {
	if len(r.Points) == 0 {
		return fmt.Errorf("no point")
	}
	for _, p := range r.Points {
		for _, v := range []float64{p.Intensity, p.Flops} {
			if !(v > 0) || math.IsInf(v, 0) {
				return fmt.Errorf("%s, %s at %s has %g FLOP/s at %g FLOP a byte, and an axis of decades has places for what is above 0", p.Series, p.Kind, p.Label, p.Flops, p.Intensity)
			}
		}
	}
	for _, roof := range r.Roofs {
		if (roof.Flops > 0) == (roof.Bytes > 0) {
			return fmt.Errorf("the roof %q is of %g FLOP/s and of %g bytes a second; one of them bounds", roof.Name, roof.Flops, roof.Bytes)
		}
	}
	return nil
}

// SVG writes the roofline as a drawing that a browser shows; it refers to nothing outside itself.
func (r Roofline) SVG(w io.Writer) error { return r.write(w, (*drawing).svg) }

// PNG writes the roofline as an image.
func (r Roofline) PNG(w io.Writer) error { return r.write(w, (*drawing).png) }

// Narrow returns the roofline on a narrow picture.
func (r Roofline) Narrow() Picture {
	r.narrow = true
	return r
}

func (r Roofline) write(w io.Writer, as func(*drawing, io.Writer) error) error {
	return write(w, fmt.Sprintf("roofline %q", r.Title), r.check(), r.draw, as)
}

// most returns the highest roof of arithmetic, +Inf if there is none.
func (r Roofline) most() float64 {
	most := 0.0
	for _, roof := range r.Roofs {
		most = max(most, roof.Flops)
	}
	if most == 0 {
		return math.Inf(1)
	}
	return most
}

// axes hold the points and where the roofs meet.
func (r Roofline) axes(at plot) (x, y axis) {
	var across, up []float64
	for _, p := range r.Points {
		across, up = append(across, p.Intensity), append(up, p.Flops)
	}
	for _, roof := range r.Roofs {
		if roof.Flops > 0 {
			up = append(up, roof.Flops)
		} else if most := r.most(); !math.IsInf(most, 1) {
			across = append(across, most/roof.Bytes)
		}
	}
	return newAxis(across, at.x0, at.x1), newAxis(up, at.y1, at.y0)
}

// draw lays the roofline out.
func (r Roofline) draw() *drawing {
	d := &drawing{w: r.width()}
	height := float64(axesHeight + 40)
	if r.narrow {
		height = axesNarrow + 40
	}
	top := d.head(r.Title, r.Note) + axesTop
	at := plot{axesLeft, top, d.w - axesRight, top + height}
	x, y := r.axes(at)
	d.labels = append(d.labels, label{at.x0, at.y0 - axesTop/2, "FLOP/s reached", left, black, textSize, true})
	at.decades(d, x, y, scaledUnit(""), scaledUnit(""))
	d.note((at.x0+at.x1)/2, at.y1+40, centre, "FLOP for each byte moved")
	var entries []entry
	for i, roof := range r.Roofs {
		look := line{width: 1.75, dash: limitDashes[i%len(limitDashes)], ink: limitInk}
		entries = append(entries, entry{name: roof.Name, line: &look})
		look.through = r.through(roof, x, y)
		if len(look.through) == 2 {
			d.lines = append(d.lines, look)
		}
	}
	entries = append(entries, r.points(d, x, y, at)...)
	d.h = d.legend(4, at.y1+axesBottom, d.w-8, entries) + 8
	return d
}

// scaledUnit writes values with the prefix of their size before a unit.
func scaledUnit(unit string) func(float64) string {
	return func(v float64) string { return Scaled(v) + unit }
}

// through returns a roof's line, as far as it is on the axes and under the highest roof.
func (r Roofline) through(roof Roof, x, y axis) []place {
	if roof.Flops > 0 {
		from := math.Inf(1)
		for _, other := range r.Roofs {
			if other.Bytes > 0 { // left of all slopes there is nothing to bound
				from = min(from, roof.Flops/other.Bytes)
			}
		}
		if math.IsInf(from, 1) {
			from = x.least // without slopes
		}
		if from = max(from, x.least); from >= x.most {
			return nil
		}
		return []place{{x.at(from), y.at(roof.Flops)}, {x.at(x.most), y.at(roof.Flops)}}
	}
	from, to := max(x.least, y.least/roof.Bytes), min(x.most, y.most/roof.Bytes, r.most()/roof.Bytes)
	if from >= to {
		return nil
	}
	return []place{{x.at(from), y.at(from * roof.Bytes)}, {x.at(to), y.at(to * roof.Bytes)}}
}

// points draws what was measured, and returns what the legend says of it.
func (r Roofline) points(d *drawing, x, y axis, at plot) (entries []entry) {
	var series, kinds []string
	var taken []plot // by marks and labels
	for _, p := range r.Points {
		if !slices.Contains(series, p.Series) {
			series = append(series, p.Series)
		}
		if !slices.Contains(kinds, p.Kind) {
			kinds = append(kinds, p.Kind)
		}
		ink, shape := inks[slices.Index(series, p.Series)%len(inks)], shapeOf(slices.Index(kinds, p.Kind))
		title := fmt.Sprintf("%s, %s at %s: %sFLOP/s, %s FLOP a byte", p.Series, p.Kind, p.Label, Scaled(p.Flops), plain(p.Intensity))
		d.marks = append(d.marks, mark{place{x.at(p.Intensity), y.at(p.Flops)}, shape, ink, title})
	}
	for _, m := range d.marks {
		taken = append(taken, plot{m.at.x - radius, m.at.y - radius, m.at.x + radius, m.at.y + radius})
	}
	said := map[string][]place{} // at which marks
	for i, p := range r.Points {
		// One label does for marks of the same that lie together.
		if slices.ContainsFunc(said[p.Label], func(at place) bool { return math.Hypot(at.x-d.marks[i].at.x, at.y-d.marks[i].at.y) < 4*radius }) {
			continue
		}
		if l, ok := beside(d.marks[i].at, p.Label, taken, d.lines, at); ok {
			said[p.Label] = append(said[p.Label], d.marks[i].at)
			taken, d.labels = append(taken, l.room()), append(d.labels, l)
		}
	}
	for i, name := range kinds {
		entries = append(entries, entry{name: name, mark: &mark{shape: shapeOf(i), ink: black}})
	}
	for i, name := range series {
		entries = append(entries, entry{name: name, fill: &inks[i%len(inks)]})
	}
	return entries
}

// beside finds a place for a text near a mark where there is nothing else or, if there
// is none, only a line; ok is false if there is none either, and what the text says is in
// the mark's title.
func beside(at place, text string, taken []plot, lines []line, within plot) (l label, ok bool) {
	for _, avoid := range [][]line{lines, nil} {
		for _, by := range []struct {
			x, y  float64
			align align
		}{{9, 0, left}, {0, 14, centre}, {0, -14, centre}, {-9, 0, right}, {8, 11, left}, {-8, 11, right}, {8, -11, left}, {-8, -11, right}} {
			l = label{at.x + by.x, at.y + by.y, text, by.align, quietInk, smallSize, false}
			room := l.room()
			if room.x0 < within.x0 || room.x1 > within.x1 || room.y0 < within.y0 || room.y1 > within.y1 {
				continue
			}
			if !slices.ContainsFunc(taken, room.over) && !slices.ContainsFunc(avoid, room.crossed) {
				return l, true
			}
		}
	}
	return l, false
}

// over reports whether two rectangles have a part in common.
func (p plot) over(other plot) bool {
	return p.x0 < other.x1 && other.x0 < p.x1 && p.y0 < other.y1 && other.y0 < p.y1
}

// crossed reports whether a line goes through a rectangle: a stroke does if it is not
// beside it, and has corners on both sides.
func (p plot) crossed(by line) bool {
	for i := 1; i < len(by.through); i++ {
		a, b := by.through[i-1], by.through[i]
		if min(a.x, b.x) > p.x1 || max(a.x, b.x) < p.x0 || min(a.y, b.y) > p.y1 || max(a.y, b.y) < p.y0 {
			continue
		}
		above := 0
		for _, corner := range []place{{p.x0, p.y0}, {p.x1, p.y0}, {p.x0, p.y1}, {p.x1, p.y1}} {
			if (b.x-a.x)*(corner.y-a.y) < (b.y-a.y)*(corner.x-a.x) {
				above++
			}
		}
		if above%4 != 0 {
			return true
		}
	}
	return false
}
