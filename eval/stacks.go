package eval

import (
	"fmt"
	"io"
	"math"
)

// Stacks is a drawing of wholes and their parts, such as memory by purpose: a bar for
// each whole, in groups.
type Stacks struct {
	Title, Note string
	Unit        string   // of all figures
	Parts       []string // what a bar's parts are, from its beginning
	Limit       float64  // drawn across all groups; 0: none
	LimitName   string
	OwnScales   bool // of each group, for those that differ much
	Groups      []StackGroup
	frame
}

// StackGroup is bars that are compared, such as methods at one context.
type StackGroup struct {
	Title string
	Bars  []Stack
}

// Stack is one bar.
type Stack struct {
	Name    string
	Parts   []float64 // as many as Stacks has; of none, Missing says why
	Missing string
	Planned bool // computed and not measured: a thinner bar
}

func (s Stack) sum() (sum float64) {
	for _, p := range s.Parts {
		sum += p
	}
	return sum
}

// check refuses what cannot be drawn.
func (s Stacks) check() error {
	bars := 0
	for _, g := range s.Groups {
		for _, b := range g.Bars {
			bars++
			if len(b.Parts) != len(s.Parts) && (len(b.Parts) > 0 || b.Missing == "") {
				return fmt.Errorf("%s has %d parts of %d, and no reason why", b.Name, len(b.Parts), len(s.Parts))
			}
			for _, v := range b.Parts {
				if !(v >= 0) || math.IsInf(v, 0) {
					return fmt.Errorf("%s has a part of %g", b.Name, v)
				}
			}
		}
	}
	switch {
	case bars == 0:
		return fmt.Errorf("no bar")
	case len(s.Parts) > len(stackInks):
		return fmt.Errorf("%d parts, and %d colours", len(s.Parts), len(stackInks))
	}
	return nil
}

// SVG writes the bars as a drawing that a browser shows; it refers to nothing outside itself.
func (s Stacks) SVG(w io.Writer) error { return s.write(w, (*drawing).svg) }

// PNG writes the bars as an image.
func (s Stacks) PNG(w io.Writer) error { return s.write(w, (*drawing).png) }

// Narrow returns the bars with their names above them.
func (s Stacks) Narrow() Picture {
	s.narrow = true
	return s
}

func (s Stacks) write(w io.Writer, as func(*drawing, io.Writer) error) error {
	return write(w, fmt.Sprintf("bars %q", s.Title), s.check(), s.draw, as)
}

// Sizes of bars, in pixels.
const (
	barHeight, plannedHeight = 20, 8
	barGap                   = 9
	barName                  = 18 // of a line for a name, above a bar
	groupGap                 = 14
	groupTitle               = 26
	totalRoom                = 90  // to the right of bars: what they come to
	nameMost                 = 200 // of a name beside a bar
)

// column is where groups are: names from left on, bars up to right.
type column struct {
	left, from, right float64
	most              float64 // that the bars' room holds
}

func (c column) x(v float64) float64 { return c.from + (c.right-totalRoom-c.from)*v/c.most }

// columns are side by side where there are many groups and room.
func (s Stacks) columns(width float64) []column {
	names := 0.0
	for _, g := range s.Groups {
		for _, b := range g.Bars {
			names = max(names, roomFor(b.Name, textSize, false))
		}
	}
	number, gap := 1, 36.0
	if !s.narrow && len(s.Groups) > 2 {
		number = 2
	}
	var all []column
	for i := range number {
		wide := (width - 8 - gap*float64(number-1)) / float64(number)
		c := column{left: 4 + float64(i)*(wide+gap)}
		c.right, c.from = c.left+wide+4, c.left
		if !s.narrow {
			c.from += min(names, nameMost) + 12
		}
		all = append(all, c)
	}
	return all
}

// most returns what the scale of some groups must hold.
func (s Stacks) most(groups ...StackGroup) float64 {
	most := s.Limit
	for _, g := range groups {
		for _, b := range g.Bars {
			most = max(most, b.sum())
		}
	}
	if most == 0 {
		return 1
	}
	return most
}

// draw lays the groups out, row by row.
func (s Stacks) draw() *drawing {
	d := &drawing{w: s.width()}
	y := d.head(s.Title, s.Note)
	var entries []entry
	for i, name := range s.Parts {
		entries = append(entries, entry{name: name, fill: &stackInks[i]})
	}
	if s.Limit > 0 {
		entries = append(entries, entry{name: s.LimitName, line: &line{width: 1.5, dash: limitDashes[0], ink: limitInk}})
	}
	y = d.legend(4, y, d.w-8, entries) + 6
	columns := s.columns(d.w)
	for i := 0; i < len(s.Groups); i += len(columns) {
		row, end := s.Groups[i:min(i+len(columns), len(s.Groups))], y
		for j, g := range row {
			c := columns[j]
			if c.most = s.most(s.Groups...); s.OwnScales {
				c.most = s.most(g)
			}
			at := s.group(d, g, y, c)
			// What the scale says is below a column's last group.
			if s.OwnScales || i+j+len(columns) >= len(s.Groups) {
				at = s.scale(d, at, c)
			}
			end = max(end, at)
		}
		y = end + groupGap
	}
	d.h = y - groupGap + 4
	return d
}

// scale writes the values of the lines across.
func (s Stacks) scale(d *drawing, y float64, c column) float64 {
	for v := 0.0; v <= c.most*1.0001; v += s.step(c) {
		d.note(c.x(v), y+8, centre, plain(v))
	}
	d.note(c.x(c.most)+20, y+8, left, s.Unit)
	return y + 20
}

// step is between the lines across.
func (s Stacks) step(c column) float64 {
	const room = 60 // of a line
	return even(c.most, int((c.x(c.most)-c.from)/room))
}

// group draws a group, and returns where what follows begins.
func (s Stacks) group(d *drawing, g StackGroup, y float64, c column) float64 {
	if g.Title != "" {
		d.labels = append(d.labels, label{c.left, y + groupTitle/2, g.Title, left, black, textSize, true})
		y += groupTitle
	}
	top := y
	for _, b := range g.Bars {
		height := float64(barHeight)
		if b.Planned {
			height = plannedHeight
		}
		room := max(height, smallSize+2)
		if s.narrow {
			d.say(c.from+4, y+barName/2, left, clip(b.Name, c.right-c.left-4, textSize)) // clear of the line at 0
			y += barName
		} else {
			d.say(c.from-10, y+room/2, right, clip(b.Name, nameMost, textSize))
		}
		d.bar(s, g, b, box{x: c.from, y: y + (room-height)/2, h: height}, c)
		y += room + barGap
	}
	for v := 0.0; v <= c.most*1.0001; v += s.step(c) {
		ink := gridInk
		if v == 0 {
			ink = decadeInk
		}
		d.rule(place{c.x(v), top - 4}, place{c.x(v), y - 2}, ink)
	}
	if s.Limit > 0 {
		d.lines = append(d.lines, line{through: []place{{c.x(s.Limit), top - 4}, {c.x(s.Limit), y - 2}}, width: 1.5, dash: limitDashes[0], ink: limitInk})
	}
	return y
}

// bar draws the parts of one whole from a box's left edge, and what they come to.
func (d *drawing) bar(s Stacks, g StackGroup, b Stack, at box, c column) {
	middle := at.y + at.h/2
	if len(b.Parts) == 0 {
		d.note(at.x+8, middle, left, clip("— "+b.Missing, c.right-at.x-12, smallSize))
		return
	}
	sum := 0.0
	for i, v := range b.Parts {
		from := c.x(sum)
		sum += v
		if v == 0 {
			continue
		}
		title := fmt.Sprintf("%s: %s %s %s", b.Name, s.Parts[i], plain(v), s.Unit)
		if g.Title != "" {
			title = g.Title + ", " + title
		}
		d.boxes = append(d.boxes, box{x: from, y: at.y, w: max(c.x(sum)-from, 0.5), h: at.h, fill: stackInks[i], title: title})
	}
	total, after := plain(sum)+" "+s.Unit, c.x(sum)+8
	if line := c.x(s.Limit); s.Limit > 0 && after-4 < line && line < after+roomFor(total, smallSize, false)+4 {
		after = line + 8
	}
	d.note(after, middle, left, total)
}
