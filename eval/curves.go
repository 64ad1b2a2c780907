package eval

import (
	"fmt"
	"image/color"
	"io"
	"math"
	"slices"
)

// Curves is a drawing of times against the length of the context, both on axes of
// decades, in panels side by side.
type Curves struct {
	Title, Note string
	Panels      []Panel
}

// Panel is what is drawn on the same axes.
type Panel struct {
	Title  string
	Series []Series
}

// Series is a method's times, or a limit's.
type Series struct {
	Name   string // the same in all panels
	Limit  bool   // drawn as a broken line, without marks
	Points []Point
}

// Point is the seconds at a context of some tokens.
type Point struct{ Tokens, Seconds float64 }

// Sizes of the drawing, in pixels.
const (
	curvesWidth   = 1280
	curvesTop     = 108 // above the axes: titles
	curvesHeight  = 480 // of the axes
	curvesLeft    = 104 // beside a panel's axes: what they say
	curvesGap     = 24  // to its right
	curvesBottom  = 72  // below the axes: what they say, and the space before the legend
	legendRow     = 24
	legendSample  = 44 // of a line in the legend
	legendPadding = 12
)

var (
	gridInk   = color.RGBA{228, 228, 228, 255}
	decadeInk = color.RGBA{170, 170, 170, 255}
	limitInk  = color.RGBA{90, 90, 90, 255}
	// Told apart without seeing red or green (Okabe and Ito), and by marks in grey.
	inks = []color.RGBA{{0, 114, 178, 255}, {213, 94, 0, 255}, {0, 158, 115, 255}, {160, 70, 135, 255}, {190, 135, 0, 255}, {70, 150, 200, 255}, {60, 60, 60, 255}}
	// limitDashes are those of limits in turn.
	limitDashes = [][2]float64{{9, 5}, {2.5, 4}, {16, 4}, {5, 9}}
)

// check refuses what cannot be drawn: nothing, and what has no logarithm.
func (c Curves) check() error {
	if len(c.Panels) == 0 {
		return fmt.Errorf("curves %q: no panel", c.Title)
	}
	for _, p := range c.Panels {
		n := 0
		for _, s := range p.Series {
			n += len(s.Points)
			for _, at := range s.Points {
				for _, v := range []float64{at.Tokens, at.Seconds} {
					if !(v > 0) || math.IsInf(v, 0) {
						return fmt.Errorf("curves %q: %s has %g s at %g tokens, and an axis of decades has places for what is above 0", c.Title, s.Name, at.Seconds, at.Tokens)
					}
				}
			}
		}
		if n == 0 {
			return fmt.Errorf("curves %q: no point in the panel %q", c.Title, p.Title)
		}
	}
	return nil
}

// SVG writes the curves as a drawing that a browser shows; it refers to nothing outside itself.
func (c Curves) SVG(w io.Writer) error { return c.write(w, (*drawing).svg) }

// PNG writes the curves as an image, 1280 pixels wide, in letters of its own.
func (c Curves) PNG(w io.Writer) error { return c.write(w, (*drawing).png) }

func (c Curves) write(w io.Writer, as func(*drawing, io.Writer) error) error {
	if err := c.check(); err != nil {
		return err
	}
	if err := as(c.draw(), w); err != nil {
		return fmt.Errorf("curves %q: %w", c.Title, err)
	}
	return nil
}

// draw lays the panels out.
func (c Curves) draw() *drawing {
	entries := 0
	for _, p := range c.Panels {
		entries = max(entries, len(p.Series))
	}
	d := &drawing{w: curvesWidth, h: curvesTop + curvesHeight + curvesBottom + entries*legendRow + legendPadding}
	d.say(16, 22, left, clip(c.Title, curvesWidth-32))
	d.say(16, 48, left, clip(c.Note, curvesWidth-32))
	names := c.methods()
	for i, p := range c.Panels {
		from, to := curvesWidth*i/len(c.Panels)+curvesLeft, curvesWidth*(i+1)/len(c.Panels)-curvesGap
		p.draw(d, names, from, to)
	}
	return d
}

// methods are the names of all series but limits, in order: a name has the same ink
// and shape in every panel.
func (c Curves) methods() (names []string) {
	for _, p := range c.Panels {
		for _, s := range p.Series {
			if !s.Limit && !slices.Contains(names, s.Name) {
				names = append(names, s.Name)
			}
		}
	}
	return names
}

func (d *drawing) say(x, y int, a align, text string) {
	d.labels = append(d.labels, label{x, y, text, a, black})
}

// axes are those of a panel between two columns of pixels.
func (p Panel) axes(from, to int) (x, y axis) {
	var tokens, seconds []float64
	for _, s := range p.Series {
		for _, at := range s.Points {
			tokens, seconds = append(tokens, at.Tokens), append(seconds, at.Seconds)
		}
	}
	return newAxis(tokens, float64(from), float64(to)), newAxis(seconds, curvesTop+curvesHeight, curvesTop)
}

// draw adds a panel.
func (p Panel) draw(d *drawing, names []string, from, to int) {
	const (
		bottom     = curvesTop + curvesHeight
		wide, high = 200, 120 // of a decade in which 1, 2 and 5 are written
	)
	x, y := p.axes(from, to)
	d.say((from+to)/2, curvesTop-24, centre, p.Title)
	rule := func(a, b place, decade bool) {
		ink := gridInk
		if decade {
			ink = decadeInk
		}
		d.lines = append(d.lines, line{through: []place{a, b}, width: 1, ink: ink})
	}
	for _, t := range x.ticks(wide, func(v float64) string { return Tokens(int(v)) }) {
		at := math.Floor(x.at(t.value)) + 0.5 // in one row of pixels
		rule(place{at, curvesTop}, place{at, bottom}, t.decade)
		if t.text != "" {
			d.say(int(math.Round(at)), bottom+16, centre, t.text)
		}
	}
	for _, t := range y.ticks(high, Seconds) {
		at := math.Floor(y.at(t.value)) + 0.5
		rule(place{float64(from), at}, place{float64(to), at}, t.decade)
		if t.text != "" {
			d.say(from-8, int(math.Round(at)), right, t.text)
		}
	}
	corner := []place{{float64(from), curvesTop}, {float64(from), bottom}, {float64(to), bottom}}
	d.lines = append(d.lines, line{through: corner, width: 2, ink: black})
	d.say((from+to)/2, bottom+42, centre, "context, tokens")
	limits := 0
	for i, s := range p.Series {
		look, shape := line{width: 2.5}, shape(0)
		if s.Limit {
			look = line{width: 2, dash: limitDashes[limits%len(limitDashes)], ink: limitInk}
			limits++
		} else {
			n := slices.Index(names, s.Name)
			look.ink, shape = inks[n%len(inks)], shapeOf(n)
		}
		p.trace(d, s, look, shape, x, y)
		s.legend(d, look, shape, from, to, bottom+curvesBottom+i*legendRow+legendRow/2)
	}
}

// shapeOf returns the mark of the n-th method.
func shapeOf(n int) shape { return shape(n % int(shapes)) }

// trace draws a series.
func (p Panel) trace(d *drawing, s Series, look line, shape shape, x, y axis) {
	for _, at := range s.Points {
		to := place{x.at(at.Tokens), y.at(at.Seconds)}
		look.through = append(look.through, to)
		if !s.Limit {
			d.marks = append(d.marks, mark{to, shape, look.ink})
		}
	}
	if len(look.through) > 1 {
		d.lines = append(d.lines, look)
	}
}

// legend says what a series looks like.
func (s Series) legend(d *drawing, look line, shape shape, from, to, y int) {
	middle := float64(y)
	look.through = []place{{float64(from), middle}, {float64(from + legendSample), middle}}
	d.lines = append(d.lines, look)
	if !s.Limit {
		d.marks = append(d.marks, mark{place{float64(from) + legendSample/2, middle}, shape, look.ink})
	}
	d.say(from+legendSample+10, y, left, clip(s.Name, to-from-legendSample-10))
}
