package graph

import "headinfer/config"

// A Sketch is what [Draw] draws of one level, for those who draw it themselves.
type Sketch struct {
	Level  config.Level
	Boxes  []SketchBox // each reads only from those before it
	Arrows []SketchArrow
}

// SketchBox is a stage, or an end of the level that is joined to something outside.
type SketchBox struct {
	ID    string   // of the entry; "in" or "out" of an end
	Lines []string // what Draw writes into the box
	Open  bool     // it is an end
}

// SketchArrow joins two boxes, by their numbers.
type SketchArrow struct {
	From, To int
	Label    string // the type of the items
}

// Sketch returns what there is to draw of the graph.
func (g *Graph) Sketch() Sketch {
	s := &sketcher{Sketch: Sketch{Level: g.level}, number: map[string]int{}}
	g.paint(s)
	ids := s.Boxes
	if g.ends.In != nil {
		ids = ids[1:]
	}
	for i, b := range g.boxes {
		ids[i].ID = b.entry.ID
	}
	return s.Sketch
}

// sketcher is a painter that keeps what it is told to paint.
type sketcher struct {
	Sketch
	number map[string]int // of a box by its name
}

func (s *sketcher) begin()            {}
func (s *sketcher) beginLevel(string) {}
func (s *sketcher) endLevel()         {}
func (s *sketcher) end() string       { return "" }

func (s *sketcher) node(name string, kind shape, lines []string) {
	s.number[name] = len(s.Boxes)
	s.Boxes = append(s.Boxes, SketchBox{ID: lines[0], Lines: lines, Open: kind == openShape})
}

func (s *sketcher) edge(from, to, label string) {
	s.Arrows = append(s.Arrows, SketchArrow{s.number[from], s.number[to], label})
}
