package eval

import (
	"fmt"
	"io"
	"slices"
)

// Flow is a drawing of dataflow: levels of boxes that arrows join, one level below the
// other, each from left to right or, where there is no room, from top to bottom.
type Flow struct {
	Title, Note string
	Levels      []FlowLevel
	frame
}

// FlowLevel is boxes and what goes between them.
type FlowLevel struct {
	Name, Note string
	Nodes      []FlowNode // each reads only from those before it
	Edges      []FlowEdge
}

// FlowNode is a box.
type FlowNode struct {
	Name    string
	Options []string // how it is set
	Figures []string // what it has done
	Busy    *float64 // of the time, 0 to 1
	Open    bool     // an end that is joined to something outside: only its name
}

// FlowEdge is an arrow between two boxes, by their numbers.
type FlowEdge struct {
	From, To int
	Label    string // what goes along
}

// check refuses what cannot be drawn.
func (f Flow) check() error {
	nodes := 0
	for _, l := range f.Levels {
		nodes += len(l.Nodes)
		for _, e := range l.Edges {
			if e.From < 0 || e.From >= e.To || e.To >= len(l.Nodes) {
				return fmt.Errorf("%s: an arrow from box %d to %d of %d; each box reads from one before it", l.Name, e.From, e.To, len(l.Nodes))
			}
		}
	}
	if nodes == 0 {
		return fmt.Errorf("no box")
	}
	return nil
}

// SVG writes the flow as a drawing that a browser shows; it refers to nothing outside itself.
func (f Flow) SVG(w io.Writer) error { return f.write(w, (*drawing).svg) }

// PNG writes the flow as an image.
func (f Flow) PNG(w io.Writer) error { return f.write(w, (*drawing).png) }

// Narrow returns the flow from top to bottom.
func (f Flow) Narrow() Picture {
	f.narrow = true
	return f
}

func (f Flow) write(w io.Writer, as func(*drawing, io.Writer) error) error {
	return write(w, fmt.Sprintf("graph %q", f.Title), f.check(), f.draw, as)
}

// Sizes of boxes, in pixels.
const (
	nodeLeast, nodeMost = 108, 230 // widths from left to right
	nodePadding         = 9
	nodeLine            = 17
	nodeArrow           = 26 // the least of an arrow
	nodeBelow           = 14 // between boxes one above the other
	busyHeight          = 4
	openWidth           = 38
)

// draw lays the levels out.
func (f Flow) draw() *drawing {
	d := &drawing{w: f.width()}
	y := d.head(f.Title, f.Note)
	for _, l := range f.Levels {
		d.labels = append(d.labels, label{4, y + 12, l.Name, left, black, textSize, true})
		y += 24
		for _, text := range wrap(l.Note, d.w-8, smallSize, false) {
			d.note(4, y+6, left, text)
			y += smallSize * lineOf
		}
		y += 8
		boxes, ok := l.across(d.w-8, y)
		if f.narrow || !ok {
			boxes = l.down(d.w-8, y)
			d.joinDown(l, boxes)
		} else {
			d.joinAcross(l, boxes)
		}
		for i, b := range boxes {
			d.node(l.Nodes[i], b)
			y = max(y, b.y+b.h)
		}
		y += 26
	}
	d.h = y - 10
	return d
}

// parent returns which box a box reads from, -1 if none.
func (l FlowLevel) parent(node int) (from int, what string) {
	for _, e := range l.Edges {
		if e.To == node {
			return e.From, e.Label
		}
	}
	return -1, ""
}

// height returns what a box takes.
func (n FlowNode) height() float64 {
	if n.Open {
		return 2*nodePadding + nodeLine - 4
	}
	h := 2*nodePadding + float64(1+len(n.Options)+len(n.Figures))*nodeLine
	if n.Busy != nil {
		h += busyHeight + 6
	}
	return h
}

// width returns what a box's texts ask for, within bounds.
func (n FlowNode) width() float64 {
	if n.Open {
		return openWidth
	}
	w := roomFor(n.Name, textSize, true)
	for _, text := range slices.Concat(n.Options, n.Figures) {
		w = max(w, roomFor(text, smallSize, false))
	}
	return min(max(w+2*nodePadding, nodeLeast), nodeMost)
}

// across sets the boxes in columns by how far they are from the first; ok is false if
// they take more than a width.
func (l FlowLevel) across(width, y float64) (boxes []box, ok bool) {
	column, row := make([]int, len(l.Nodes)), make([]int, len(l.Nodes))
	var widths, arrows []float64 // of columns, and of what is before them
	rows := 0
	for i, n := range l.Nodes {
		from, what := l.parent(i)
		if from >= 0 {
			column[i], row[i] = column[from]+1, row[from]
		} else if i > 0 {
			row[i] = rows
		}
		// The first reader goes on in its row, others get rows of their own.
		taken := func(j int) bool { return column[j] == column[i] && row[j] == row[i] }
		for slices.ContainsFunc(span(i), taken) {
			row[i] = max(row[i]+1, rows)
		}
		rows = max(rows, row[i]+1)
		for len(widths) <= column[i] {
			widths, arrows = append(widths, 0), append(arrows, nodeArrow)
		}
		widths[column[i]] = max(widths[column[i]], n.width())
		arrows[column[i]] = max(arrows[column[i]], roomFor(what, smallSize, false)+16)
	}
	room := width
	for _, a := range arrows[min(1, len(arrows)):] {
		room -= a
	}
	if !shrink(widths, room) {
		return nil, false
	}
	x, at := make([]float64, len(widths)), 4.0
	for i := range widths {
		if i > 0 {
			at += arrows[i]
		}
		x[i] = at
		at += widths[i]
	}
	tops := make([]float64, rows+1)
	for r := range rows {
		tall := 0.0
		for i, n := range l.Nodes {
			if row[i] == r {
				tall = max(tall, n.height())
			}
		}
		tops[r+1] = tops[r] + tall + nodeBelow
	}
	for i, n := range l.Nodes {
		tall := tops[row[i]+1] - tops[row[i]] - nodeBelow
		b := box{x: x[column[i]], y: y + tops[row[i]], w: widths[column[i]], h: tall}
		if n.Open {
			b.y, b.h, b.w = b.y+(tall-n.height())/2, n.height(), n.width()
		}
		boxes = append(boxes, b)
	}
	return boxes, true
}

// shrink makes the widest columns narrower until all fit in a room; false if they do
// not at the least width.
func shrink(widths []float64, room float64) bool {
	for {
		sum, widest := 0.0, 0
		for i, w := range widths {
			sum += w
			if w > widths[widest] {
				widest = i
			}
		}
		if sum <= room {
			return true
		}
		if widths[widest] <= nodeLeast {
			return false
		}
		widths[widest] = max(widths[widest]-min(4, sum-room), nodeLeast)
	}
}

// span returns the numbers below n.
func span(n int) (all []int) {
	for i := range n {
		all = append(all, i)
	}
	return all
}

// down sets the boxes one below the other, those that do not read from the one above
// further to the right.
func (l FlowLevel) down(width, y float64) (boxes []box) {
	const indent = 22
	depth := make([]int, len(l.Nodes))
	for i, n := range l.Nodes {
		from, what := l.parent(i)
		if from >= 0 {
			depth[i] = depth[from]
			if from < i-1 || l.branches(from) {
				depth[i]++
			}
			y += nodeBelow
			if what != "" {
				y += nodeLine - 4
			}
		}
		b := box{x: 4 + float64(depth[i])*indent, y: y, h: n.height()}
		b.w = min(width-float64(depth[i])*indent, max(n.width(), 260))
		if n.Open {
			b.w = n.width()
		}
		boxes = append(boxes, b)
		y += b.h
	}
	return boxes
}

// branches reports whether several boxes read from one.
func (l FlowLevel) branches(node int) bool {
	readers := 0
	for _, e := range l.Edges {
		if e.From == node {
			readers++
		}
	}
	return readers > 1
}

// joinAcross draws the arrows between columns, with what goes along above them.
func (d *drawing) joinAcross(l FlowLevel, boxes []box) {
	for _, e := range l.Edges {
		a, b := boxes[e.From], boxes[e.To]
		from, to := place{a.x + a.w, a.y + a.h/2}, place{b.x, b.y + b.h/2}
		turn := to.x - nodeArrow/2
		way := []place{from, to}
		if from.y != to.y {
			turn = min(turn, from.x+nodeArrow/2)
			way = []place{from, {turn, from.y}, {turn, to.y}, to}
		} else {
			turn = from.x
		}
		d.arrow(way)
		d.note((turn+to.x)/2, to.y-11, centre, e.Label)
	}
}

// joinDown draws the arrows between boxes one below the other.
func (d *drawing) joinDown(l FlowLevel, boxes []box) {
	for _, e := range l.Edges {
		a, b := boxes[e.From], boxes[e.To]
		at := a.x + 11
		if b.x > a.x {
			d.arrow([]place{{at, a.y + a.h}, {at, b.y + b.h/2}, {b.x, b.y + b.h/2}})
			d.note(b.x+6, b.y-8, left, e.Label)
			continue
		}
		d.arrow([]place{{at, a.y + a.h}, {at, b.y}})
		d.note(at+9, (a.y+a.h+b.y)/2, left, e.Label)
	}
}

// arrow draws a line with a head at its end.
func (d *drawing) arrow(way []place) {
	const long, half = 7, 3.5
	n := len(way)
	tip, before := way[n-1], way[n-2]
	d.lines = append(d.lines, line{through: way, width: 1.25, ink: limitInk})
	wings := []place{{tip.x - long, tip.y - half}, tip, {tip.x - long, tip.y + half}}
	if tip.x == before.x {
		wings = []place{{tip.x - half, tip.y - long}, tip, {tip.x + half, tip.y - long}}
	}
	d.lines = append(d.lines, line{through: wings, width: 1.25, ink: limitInk})
}

// node draws a box and its texts.
func (d *drawing) node(n FlowNode, b box) {
	if n.Open {
		b.fill, b.edge, b.round = paper, decadeInk, b.h/2
		d.boxes = append(d.boxes, b)
		d.note(b.x+b.w/2, b.y+b.h/2, centre, n.Name)
		return
	}
	b.fill, b.edge, b.round = boxInk, decadeInk, 5
	d.boxes = append(d.boxes, b)
	x, y, room := b.x+nodePadding, b.y+nodePadding+nodeLine/2, b.w-2*nodePadding
	d.labels = append(d.labels, label{x, y, clip(n.Name, room/1.05, textSize), left, black, textSize, true})
	for _, text := range n.Options {
		y += nodeLine
		d.note(x, y, left, clip(text, room/1.15, smallSize)) // brackets differ most in width
	}
	for _, text := range n.Figures {
		y += nodeLine
		d.labels = append(d.labels, label{x, y, clip(text, room, smallSize), left, black, smallSize, false})
	}
	if n.Busy != nil {
		at := box{x: x, y: b.y + b.h - nodePadding - busyHeight + 2, w: room, h: busyHeight, fill: gridInk, round: busyHeight / 2}
		d.boxes = append(d.boxes, at)
		at.w, at.fill = max(room*min(max(*n.Busy, 0), 1), busyHeight), inks[0]
		at.title = fmt.Sprintf("%s: busy %.0f%% of the time", n.Name, 100**n.Busy)
		d.boxes = append(d.boxes, at)
	}
}
