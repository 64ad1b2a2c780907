package eval

import (
	"fmt"
	"io"
	"math"
	"strings"
)

// Lanes is a drawing of what ran when: a lane for each that can work while others do,
// such as the streams of a device.
type Lanes struct {
	Title, Note string
	Panels      []LanePanel
	frame
}

// LanePanel is lanes of the same time.
type LanePanel struct {
	Title  string
	Length float64 // microseconds
	Lanes  []Lane
}

// Lane is what one of them did.
type Lane struct {
	Name  string
	Spans []LaneSpan
}

// LaneSpan is one piece of work. What began before the panel's time, or ended after
// it, is drawn as far as it is within it.
type LaneSpan struct {
	Name     string
	From, To float64 // microseconds of the panel's time
}

// check refuses what cannot be drawn.
func (l Lanes) check() error {
	spans := 0
	for _, p := range l.Panels {
		if !(p.Length > 0) || math.IsInf(p.Length, 0) {
			return fmt.Errorf("%s is of %g microseconds", p.Title, p.Length)
		}
		for _, lane := range p.Lanes {
			spans += len(lane.Spans)
			for _, s := range lane.Spans {
				if !(s.To >= s.From) {
					return fmt.Errorf("%s ends at %g, before it begins at %g", s.Name, s.To, s.From)
				}
			}
		}
	}
	if spans == 0 {
		return fmt.Errorf("nothing ran")
	}
	return nil
}

// SVG writes the lanes as a drawing that a browser shows; it refers to nothing outside itself.
func (l Lanes) SVG(w io.Writer) error { return l.write(w, (*drawing).svg) }

// PNG writes the lanes as an image.
func (l Lanes) PNG(w io.Writer) error { return l.write(w, (*drawing).png) }

// Narrow returns the lanes with their names above them.
func (l Lanes) Narrow() Picture {
	l.narrow = true
	return l
}

func (l Lanes) write(w io.Writer, as func(*drawing, io.Writer) error) error {
	return write(w, fmt.Sprintf("time line %q", l.Title), l.check(), l.draw, as)
}

// Sizes of lanes, in pixels.
const (
	laneHeight = 26
	laneGap    = 8
	laneName   = 84 // beside a lane: what it is
)

// laneInks are those of lanes and of what is written on them, the same on dark screens.
var laneInks = []struct{ fill, text ink }{
	{inkOf(0x1f6fa8, ""), onDark}, {inkOf(0xeba937, ""), onLight}, {inkOf(0x63b39d, ""), onLight}, {inkOf(0x9a5a8c, ""), onDark},
}

// draw lays the panels out one below the other.
func (l Lanes) draw() *drawing {
	d := &drawing{w: l.width()}
	y := d.head(l.Title, l.Note)
	for _, p := range l.Panels {
		y = p.draw(d, y, l.narrow)
	}
	d.h = y
	return d
}

// draw adds a panel, and returns where what follows begins.
func (p LanePanel) draw(d *drawing, y float64, narrow bool) float64 {
	for _, text := range wrap(p.Title, d.w-8, textSize, true) {
		d.labels = append(d.labels, label{4, y + groupTitle/2 - 2, text, left, black, textSize, true})
		y += lineOf * textSize
	}
	y += 8
	from, to, ticks := 4.0, d.w-22, 10
	if narrow {
		ticks = 4
	} else {
		from += laneName
	}
	x := func(t float64) float64 { return from + (to-from)*min(max(t/p.Length, 0), 1) }
	top := y
	for i, lane := range p.Lanes {
		if narrow {
			d.note(from, y+barName/2, left, lane.Name)
			y += barName
		} else {
			d.say(from-10, y+laneHeight/2, right, clip(lane.Name, laneName-10, textSize))
		}
		d.lane(lane, laneInks[i%len(laneInks)].fill, laneInks[i%len(laneInks)].text, y, x)
		y += laneHeight + laneGap
	}
	step := even(p.Length, ticks)
	for t := 0.0; t <= p.Length*1.0001; t += step {
		d.rule(place{x(t), top - 4}, place{x(t), y}, gridInk)
		d.note(x(t), y+11, centre, plain(t))
	}
	d.rule(place{from, y}, place{to, y}, black)
	d.note((from+to)/2, y+30, centre, "time, µs")
	return y + 56
}

// lane draws the work of one.
func (d *drawing) lane(lane Lane, fill, ink ink, y float64, x func(float64) float64) {
	d.boxes = append(d.boxes, box{x: x(math.Inf(-1)), y: y, w: x(math.Inf(1)) - x(math.Inf(-1)), h: laneHeight, fill: boxInk})
	for _, s := range lane.Spans {
		a, b := x(s.From), x(s.To)
		title := fmt.Sprintf("%s: %s, %s µs", lane.Name, s.Name, plain(s.To-s.From))
		const gap = 0.5 // between spans that follow each other at once
		d.boxes = append(d.boxes, box{x: a, y: y, w: max(b-a-gap, 0.75), h: laneHeight, fill: fill, title: title})
		if text := s.fitting(b - a - 8); text != "" {
			d.labels = append(d.labels, label{(a + b) / 2, y + laneHeight/2, text, centre, ink, smallSize, false})
		}
	}
}

// fitting returns the longest beginning of the name's words that fits in a width,
// without its first word if that helps; "" if none does.
func (s LaneSpan) fitting(width float64) string {
	fits := func(text string) bool { return roomFor(text, smallSize, false) <= width }
	if fits(s.Name) {
		return s.Name
	}
	_, rest, _ := strings.Cut(s.Name, " ")
	for rest != "" && !fits(rest) {
		at := strings.LastIndex(rest, " ")
		rest = rest[:max(at, 0)]
	}
	return rest
}
