package eval

import (
	"fmt"
	"io"
	"math"
	"slices"
)

// Curves is a drawing of times against the length of the context, both on axes of
// decades, in panels side by side.
type Curves struct {
	Title, Note string
	Panels      []Panel
	frame
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

// Sizes of panels on axes of decades, in pixels.
const (
	axesHeight = 380
	axesNarrow = 260 // their height on a narrow picture
	axesLeft   = 64  // beside them: what they say
	axesRight  = 24
	axesTop    = 34  // above them: a panel's title
	axesBottom = 58  // below them: what they say
	wideDecade = 150 // in which 1, 2 and 5 are written
	highDecade = 90
)

// limitDashes are those of limits in turn.
var limitDashes = [][2]float64{{9, 5}, {2.5, 4}, {16, 4}, {5, 9}}

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

// PNG writes the curves as an image.
func (c Curves) PNG(w io.Writer) error { return c.write(w, (*drawing).png) }

// Narrow returns the curves with their panels one below the other.
func (c Curves) Narrow() Picture {
	c.narrow = true
	return c
}

func (c Curves) write(w io.Writer, as func(*drawing, io.Writer) error) error {
	return write(w, fmt.Sprintf("curves %q", c.Title), c.check(), c.draw, as)
}

// draw lays the panels out.
func (c Curves) draw() *drawing {
	d := &drawing{w: c.width()}
	top, names := d.head(c.Title, c.Note), c.methods()
	d.h = top
	for i, p := range c.Panels {
		if c.narrow {
			if i > 0 {
				d.h += groupGap
			}
			d.h = p.draw(d, names, plot{axesLeft, d.h + axesTop, d.w - axesRight, d.h + axesTop + axesNarrow})
			continue
		}
		from, to := d.w*float64(i)/float64(len(c.Panels))+axesLeft, d.w*float64(i+1)/float64(len(c.Panels))-axesRight
		d.h = max(d.h, p.draw(d, names, plot{from, top + axesTop, to, top + axesTop + axesHeight}))
	}
	d.h += 8
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

// axes are those of a panel.
func (p Panel) axes(at plot) (x, y axis) {
	var tokens, seconds []float64
	for _, s := range p.Series {
		for _, at := range s.Points {
			tokens, seconds = append(tokens, at.Tokens), append(seconds, at.Seconds)
		}
	}
	return newAxis(tokens, at.x0, at.x1), newAxis(seconds, at.y1, at.y0)
}

// draw adds a panel, and returns where what follows begins.
func (p Panel) draw(d *drawing, names []string, at plot) float64 {
	x, y := p.axes(at)
	d.labels = append(d.labels, label{at.x0, at.y0 - axesTop/2, p.Title, left, black, textSize, true})
	at.decades(d, x, y, func(v float64) string { return Tokens(int(v)) }, Seconds)
	d.note((at.x0+at.x1)/2, at.y1+40, centre, "context, tokens")
	var entries []entry
	limits := 0
	for _, s := range p.Series {
		look, shape := line{width: 2.5}, shape(0)
		if s.Limit {
			look = line{width: 1.75, dash: limitDashes[limits%len(limitDashes)], ink: limitInk}
			limits++
			entries = append(entries, entry{name: s.Name, line: &look})
		} else {
			n := slices.Index(names, s.Name)
			look.ink, shape = inks[n%len(inks)], shapeOf(n)
			entries = append(entries, entry{name: s.Name, line: &look, mark: &mark{shape: shape, ink: look.ink}})
		}
		p.trace(d, s, look, shape, x, y)
	}
	return d.legend(at.x0-axesLeft+4, at.y1+axesBottom, at.x1-at.x0+axesLeft, entries)
}

// shapeOf returns the mark of the n-th method.
func shapeOf(n int) shape { return shape(n % int(shapes)) }

// trace draws a series.
func (p Panel) trace(d *drawing, s Series, look line, shape shape, x, y axis) {
	for _, at := range s.Points {
		to := place{x.at(at.Tokens), y.at(at.Seconds)}
		look.through = append(look.through, to)
		if !s.Limit {
			title := fmt.Sprintf("%s at %s tokens: %s", s.Name, Tokens(int(at.Tokens)), Seconds(Rounded(at.Seconds)))
			d.marks = append(d.marks, mark{to, shape, look.ink, title})
		}
	}
	if len(look.through) > 1 {
		d.lines = append(d.lines, look)
	}
}
