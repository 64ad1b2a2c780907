package transfer

import (
	"fmt"
	"strings"
	"testing"
)

func TestTilesInOrder(t *testing.T) {
	shape := Shape{Layers: 2, KVHeads: 3, HeadDim: 8}
	for _, c := range []struct {
		name        string
		pasts       []int
		group, span int
		want        string
	}{
		{"nothing held yet", []int{0}, 3, 0, "L0 h0:3 t0:0 first last|L1 h0:3 t0:0 first last"},
		{"whole layers", []int{10}, 3, 0, "L0 h0:3 t0:10 first last|L1 h0:3 t0:10 first last"},
		{"an odd group", []int{10}, 2, 0, "L0 h0:2 t0:10 first last|L0 h2:3 t0:10 first last|L1 h0:2 t0:10 first last|L1 h2:3 t0:10 first last"},
		{"spans", []int{10}, 3, 4, "L0 h0:3 t0:4 first|L0 h0:3 t4:8|L0 h0:3 t8:10 last|L1 h0:3 t0:4 first|L1 h0:3 t4:8|L1 h0:3 t8:10 last"},
		{"two texts", []int{0, 5}, 3, 4, "L0 h0:3 t0:0 first last|L0 h0:3 t0:4 first|L0 h0:3 t4:5 last|L1 h0:3 t0:0 first last|L1 h0:3 t0:4 first|L1 h0:3 t4:5 last"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, tile := range Tiles(shape, c.pasts, c.group, c.span) {
				s := tile.String()
				if tile.First {
					s += " first"
				}
				if tile.Last {
					s += " last"
				}
				got = append(got, s)
			}
			if s := strings.Join(got, "|"); s != c.want {
				t.Errorf("got  %s\nwant %s", s, c.want)
			}
		})
	}
}

func TestAdaptiveGroupsShrinkAsTheContextGrows(t *testing.T) {
	shape := Shape{Layers: 32, KVHeads: 8, HeadDim: 128, DType: 2 /* f16 */}
	const budget = 8 << 30
	var got []string
	for _, tokens := range []int{1, 512 << 10, 1 << 20, 2 << 20, 4 << 20, 8 << 20} {
		g := Grouping{Adaptive: true}.Choose(shape, 2, tokens, 0, budget)
		got = append(got, fmt.Sprint(g))
		if g > 1 && 2*shape.SlotBytes(g, tokens) > budget {
			t.Errorf("at %d tokens, a ring for %d heads does not fit", tokens, g)
		}
	}
	if s := strings.Join(got, " "); s != "8 8 8 4 2 1" {
		t.Errorf("groups %s", s)
	}
	if g := (Grouping{Heads: 16}).Choose(shape, 2, 1, 0, 0); g != 8 {
		t.Errorf("a group of 16 of 8 heads is %d", g)
	}
}
