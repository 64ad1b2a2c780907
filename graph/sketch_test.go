package graph

import (
	"slices"
	"testing"

	"headinfer/config"
)

// TestSketch has every box and arrow that Draw draws, in an order in which each box
// reads from one before it.
func TestSketch(t *testing.T) {
	r := vocabulary(t)
	for level, ends := range map[config.Level]Ends{config.Documents: {}, config.Heads: headEnds} {
		g := mustCheck(t, r, drawn, level, ends)
		s := g.Sketch()
		var ids, want []string
		for i, b := range s.Boxes {
			ids = append(ids, b.ID)
			if b.Open != (b.ID == "in" || b.ID == "out") || len(b.Lines) == 0 {
				t.Errorf("%s: box %d is %+v", level, i, b)
			}
		}
		if ends.In != nil {
			want = append(want, "in")
		}
		readers := 0
		for _, b := range g.boxes {
			want = append(want, b.entry.ID)
			readers += len(b.readers)
		}
		if ends.Out != nil {
			want = append(want, "out")
			readers++
		}
		if ends.In != nil {
			readers++
		}
		if !slices.Equal(ids, want) || s.Level != level {
			t.Errorf("%s: boxes %q, want %q", s.Level, ids, want)
		}
		if len(s.Arrows) < readers {
			t.Errorf("%s: %d arrows, want %d or more", level, len(s.Arrows), readers)
		}
		for _, a := range s.Arrows {
			if a.From >= a.To || a.Label == "" {
				t.Errorf("%s: an arrow %+v", level, a)
			}
		}
	}
}
