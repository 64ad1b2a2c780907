package eval

import (
	"fmt"
	"io"
	"math"
)

// A Picture draws itself. SVG refers to nothing outside itself, and PNG is an image on
// white, of twice as many pixels as SVG has units. Narrow is the same picture laid out for a
// telephone's screen. All three draw the same figures.
type Picture interface {
	SVG(w io.Writer) error
	PNG(w io.Writer) error
	Narrow() Picture
}

// Widths of pictures, in pixels of SVG.
const (
	wideWidth   = 1040
	narrowWidth = 360
)

// frame is how wide a picture is.
type frame struct{ narrow bool }

func (f frame) width() float64 {
	if f.narrow {
		return narrowWidth
	}
	return wideWidth
}

// Sizes of letters.
const (
	textSize  = 13
	titleSize = 15
	smallSize = 12
	lineOf    = 1.45 // the distance of lines, in sizes
)

// drawing is what SVG and PNG are made from: a grid, boxes, lines and marks over them,
// and text over all. Measures are in pixels from the upper left corner.
type drawing struct {
	w, h   float64
	grid   []line // under all else
	boxes  []box
	lines  []line
	marks  []mark
	labels []label
}

// box is a filled rectangle, with an edge if that has ink.
type box struct {
	x, y, w, h float64
	fill, edge ink
	round      float64 // radius of the corners
	title      string  // what a pointer over it tells
}

// place is a point of a drawing.
type place struct{ x, y float64 }

// line joins places by straight strokes, which dashes may interrupt.
type line struct {
	through []place
	width   float64
	dash    [2]float64 // drawn and left out in turn; zero: drawn through
	ink     ink
}

// mark is a filled shape around a place.
type mark struct {
	at    place
	shape shape
	ink   ink
	title string // what a pointer over it tells
}

// shape is what a mark looks like.
type shape int

const (
	disc shape = iota
	square
	triangle
	diamond
	shapes // how many there are
)

// radius is that of a disc; other shapes look as large.
const radius = 5.0

// corners are those of a shape around a place, nil for a disc.
func (s shape) corners(at place) []place {
	switch s {
	case square:
		const r = 4.5
		return []place{{at.x - r, at.y - r}, {at.x + r, at.y - r}, {at.x + r, at.y + r}, {at.x - r, at.y + r}}
	case triangle:
		return []place{{at.x, at.y - 6.5}, {at.x + 6, at.y + 4.5}, {at.x - 6, at.y + 4.5}}
	case diamond:
		const r = 6.5
		return []place{{at.x, at.y - r}, {at.x + r, at.y}, {at.x, at.y + r}, {at.x - r, at.y}}
	}
	return nil
}

// label is a line of text whose middle line is y.
type label struct {
	x, y  float64
	text  string
	align align
	ink   ink
	size  float64
	bold  bool
}

// align says which part of a label is at x.
type align int

const (
	left align = iota
	centre
	right
)

// bounds returns the rectangle that a label takes.
func (l label) bounds() plot { return l.around(widthOf(l.text, l.size, l.bold)) }

// room returns the rectangle to leave for a label.
func (l label) room() plot { return l.around(roomFor(l.text, l.size, l.bold)) }

// around returns the rectangle of a label that is so wide.
func (l label) around(width float64) plot {
	x := l.x - width*float64(l.align)/2
	return plot{x, l.y - l.size/2, x + width, l.y + l.size/2}
}

// say adds a label in the usual letters.
func (d *drawing) say(x, y float64, a align, text string) {
	d.labels = append(d.labels, label{x, y, text, a, black, textSize, false})
}

// note adds a label that is less than the others.
func (d *drawing) note(x, y float64, a align, text string) {
	d.labels = append(d.labels, label{x, y, text, a, quietInk, smallSize, false})
}

// rule adds a thin line to the grid, in one row of pixels if it is straight.
func (d *drawing) rule(a, b place, i ink) {
	sharp := func(v float64) float64 { return math.Floor(v) + 0.5 }
	if a.x == b.x {
		a.x, b.x = sharp(a.x), sharp(b.x)
	}
	if a.y == b.y {
		a.y, b.y = sharp(a.y), sharp(b.y)
	}
	d.grid = append(d.grid, line{through: []place{a, b}, width: 1, ink: i})
}

// head writes a picture's title and note, and returns where what follows begins.
func (d *drawing) head(title, text string) float64 {
	const margin = 4
	y := 8.0
	for _, l := range wrap(title, d.w-2*margin, titleSize, true) {
		d.labels = append(d.labels, label{margin, y + titleSize*lineOf/2, l, left, black, titleSize, true})
		y += titleSize * lineOf
	}
	for _, l := range wrap(text, d.w-2*margin, smallSize, false) {
		d.note(margin, y+smallSize*lineOf/2, left, l)
		y += smallSize * lineOf
	}
	return y + 8
}

// entry is a line of a legend.
type entry struct {
	name string
	line *line // what stands before the name: a stroke,
	mark *mark // a shape
	fill *ink  // or a square
}

// legend writes entries side by side, as many as there is room for in a row, and
// returns where what follows begins.
func (d *drawing) legend(x, y, width float64, entries []entry) float64 {
	const row, gap = 22, 16
	at := x
	for _, e := range entries {
		sample := 18.0
		if e.line != nil {
			sample = 44
		}
		name := clip(e.name, width-sample, textSize)
		if w := sample + roomFor(name, textSize, false); at > x && at+w > x+width {
			at, y = x, y+row
		}
		middle := y + row/2
		if e.line != nil {
			l := *e.line
			l.through = []place{{at, middle}, {at + sample - 8, middle}}
			d.lines = append(d.lines, l)
		}
		if e.mark != nil {
			d.marks = append(d.marks, mark{at: place{at + (sample-8)/2, middle}, shape: e.mark.shape, ink: e.mark.ink})
		}
		if e.fill != nil {
			d.boxes = append(d.boxes, box{x: at, y: middle - 5, w: 11, h: 11, fill: *e.fill})
		}
		d.say(at+sample, middle, left, name)
		at += sample + roomFor(name, textSize, false) + gap
	}
	return y + row
}

// write draws a picture that has been found to be one, and says which it is if that fails.
func write(w io.Writer, what string, check error, draw func() *drawing, as func(*drawing, io.Writer) error) error {
	err := check
	if err == nil {
		err = as(draw(), w)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
