package eval

import (
	"image/color"
	"unicode/utf8"
)

// textSize is of letters, in SVG.
const textSize = 14

var (
	paper = color.RGBA{255, 255, 255, 255}
	black = color.RGBA{30, 30, 30, 255}
)

// drawing is what SVG and PNG are made from: boxes, lines and marks over them, and
// text over all. Measures are in pixels from the upper left corner.
type drawing struct {
	w, h   int
	boxes  []box
	lines  []line
	marks  []mark
	labels []label
}

// box is a filled rectangle.
type box struct {
	x, y, w, h int
	fill       color.RGBA
}

// place is a point of a drawing.
type place struct{ x, y float64 }

// line joins places by straight strokes, which dashes may interrupt.
type line struct {
	through []place
	width   float64
	dash    [2]float64 // drawn and left out in turn; zero: drawn through
	ink     color.RGBA
}

// mark is a filled shape around a place.
type mark struct {
	at    place
	shape shape
	ink   color.RGBA
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
	x, y  int
	text  string
	align align
	ink   color.RGBA
}

// align says which part of a label is at x.
type align int

const (
	left align = iota
	centre
	right
)

// widthOf returns the pixels that a text takes in an image; in SVG it takes less.
func widthOf(text string) int { return (utf8.RuneCountInString(text)*glyphAdvance - 1) * pixel }

// clip shortens a text to what fits in so many pixels.
func clip(text string, width int) string {
	const rest = "..."
	most := (width/pixel + 1) / glyphAdvance
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:max(most-len(rest), 0)]) + rest
}
