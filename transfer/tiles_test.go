package transfer

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestTilesInOrder(t *testing.T) {
	shape := Shape{Layers: 2, KVHeads: 3, HeadDim: 8}
	for _, c := range []struct {
		name  string
		pasts []int
		cut   Cut
		want  string
	}{
		{"nothing held yet", []int{0}, Cut{Group: 3}, "L0 h0:3 t0:0 first last|L1 h0:3 t0:0 first last"},
		{"whole layers", []int{10}, Cut{Group: 3}, "L0 h0:3 t0:10 first last|L1 h0:3 t0:10 first last"},
		{"an odd group", []int{10}, Cut{Group: 2}, "L0 h0:2 t0:10 first last|L0 h2:3 t0:10 first last|L1 h0:2 t0:10 first last|L1 h2:3 t0:10 first last"},
		{"spans", []int{10}, Cut{Group: 3, Span: 4}, "L0 h0:3 t0:4 first|L0 h0:3 t4:8|L0 h0:3 t8:10 last|L1 h0:3 t0:4 first|L1 h0:3 t4:8|L1 h0:3 t8:10 last"},
		{"two texts", []int{0, 5}, Cut{Group: 3, Span: 4}, "L0 h0:3 t0:0 first last|L0 h0:3 t0:4 first|L0 h0:3 t4:5 last|L1 h0:3 t0:0 first last|L1 h0:3 t0:4 first|L1 h0:3 t4:5 last"},
		{"sinks and recent", []int{10}, Cut{Group: 3, Keep: Keep{Sinks: 1, Recent: 5}}, "L0 h0:3 t0:1 first|L0 h0:3 t5:10 last|L1 h0:3 t0:1 first|L1 h0:3 t5:10 last"},
		{"recent alone, in spans", []int{10}, Cut{Group: 3, Span: 3, Keep: Keep{Recent: 5}}, "L0 h0:3 t5:8 first|L0 h0:3 t8:10 last|L1 h0:3 t5:8 first|L1 h0:3 t8:10 last"},
		{"one head sees everything", []int{10}, Cut{Group: 3, Keep: Keep{Recent: 5}, Full: [][]bool{{false, true, false}, {false, false, true}}}, "L0 h0:1 t5:10 first last|L0 h1:2 t0:10 first last|L0 h2:3 t5:10 first last|L1 h0:2 t5:10 first last|L1 h2:3 t0:10 first last"},
		{"all of it is recent", []int{6}, Cut{Group: 3, Keep: Keep{Sinks: 1, Recent: 5}}, "L0 h0:3 t0:6 first last|L1 h0:3 t0:6 first last"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			longest, merges := 0, false
			for _, tile := range c.cut.Tiles(shape, apart(c.pasts...)) {
				s := tile.String()
				if tile.First {
					s += " first"
				}
				if tile.Last {
					s += " last"
				}
				got = append(got, s)
				longest, merges = max(longest, tile.Token.Len()), merges || !tile.First
			}
			past := slices.Max(c.pasts)
			if n := c.cut.Longest(past); n < longest {
				t.Errorf("the longest tile has %d tokens, Longest says %d", longest, n)
			}
			if c.cut.Merges(past) != merges {
				t.Errorf("tiles merge: %t, Merges says %t", merges, !merges)
			}
			if s := strings.Join(got, "|"); s != c.want {
				t.Errorf("got  %s\nwant %s", s, c.want)
			}
		})
	}
}

// TestBundles puts tiles of several texts together, but never more tokens than there is
// place for, nor tiles of other heads, nor some that others have to follow.
func TestBundles(t *testing.T) {
	shape := Shape{Layers: 1, KVHeads: 2, HeadDim: 8}
	branched := Past{Segments: Range{0, 2}, Tokens: 5, Branched: true}
	for _, c := range []struct {
		name   string
		cut    Cut
		pasts  []Past
		tokens int
		want   string
	}{
		{"all", Cut{Group: 2}, apart(3, 4, 5), 12, "0 1 2"},
		{"as many as fit", Cut{Group: 2}, apart(3, 4, 5), 11, "0 1|2"},
		{"one that does not fit", Cut{Group: 2}, apart(3, 9, 1, 2), 5, "0|1|2 3"},
		{"heads by themselves", Cut{Group: 1}, apart(3, 4), 12, "0 1|0 1"},
		{"spans before their last", Cut{Group: 2, Span: 4}, apart(9, 2, 3), 12, "0|0|0 1 2"},
		{"nothing held", Cut{Group: 2}, apart(0, 0, 5, 0), 0, "0 1|2|3"},
		{"branches", Cut{Group: 2}, append([]Past{branched}, Past{Segments: Range{2, 3}, Tokens: 4}), 4, "0|0 1 2"},
	} {
		var got []string
		for _, b := range Bundles(c.cut.Tiles(shape, c.pasts), c.tokens) {
			var of []string
			for _, tile := range b {
				of = append(of, fmt.Sprint(tile.Segment))
			}
			got = append(got, strings.Join(of, " "))
		}
		if s := strings.Join(got, "|"); s != c.want {
			t.Errorf("%s: got %s, want %s", c.name, s, c.want)
		}
	}
}

func TestAdaptiveGroupsShrinkAsTheContextGrows(t *testing.T) {
	shape := Shape{Layers: 32, KVHeads: 8, HeadDim: 128, DType: 2 /* f16 */}
	const budget = 8 << 30
	var got []string
	for _, tokens := range []int{1, 512 << 10, 1 << 20, 2 << 20, 4 << 20, 8 << 20} {
		g := Grouping{Adaptive: true}.Choose(shape.KVHeads, 2*shape.SlotBytes(1, tokens), budget)
		got = append(got, fmt.Sprint(g))
		if g > 1 && 2*shape.SlotBytes(g, tokens) > budget {
			t.Errorf("at %d tokens, a ring for %d heads does not fit", tokens, g)
		}
	}
	if s := strings.Join(got, " "); s != "8 8 8 4 2 1" {
		t.Errorf("groups %s", s)
	}
	if g := (Grouping{Heads: 16}).Choose(shape.KVHeads, 1, 0); g != 8 {
		t.Errorf("a group of 16 of 8 heads is %d", g)
	}
}

// TestLongestHoldsAllTheWay goes through a text's pasts: no tile on the way may
// be longer than what Longest says of the end, and one is as long.
func TestLongestHoldsAllTheWay(t *testing.T) {
	shape := Shape{Layers: 1, KVHeads: 2, HeadDim: 8}
	for _, c := range []Cut{
		{Group: 2}, {Group: 2, Span: 7}, {Group: 2, Keep: Keep{Recent: 9}}, {Group: 2, Keep: Keep{Sinks: 4, Recent: 9}},
		{Group: 2, Span: 5, Keep: Keep{Sinks: 4, Recent: 9}}, {Group: 2, Keep: Keep{Sinks: 4, Recent: 9}, Full: [][]bool{{true, false}}},
	} {
		longest := 0
		for past := range 40 {
			for _, tile := range c.Tiles(shape, apart(past)) {
				longest = max(longest, tile.Token.Len())
			}
			if n := c.Longest(past); n != longest {
				t.Errorf("%+v: up to %d tokens, the longest tile has %d, Longest says %d", c, past, longest, n)
			}
		}
	}
}

// apart are the pasts of texts that share nothing.
func apart(tokens ...int) []Past {
	var pasts []Past
	for i, n := range tokens {
		pasts = append(pasts, Past{Segments: Range{i, i + 1}, Tokens: n})
	}
	return pasts
}

func TestBranchesShareTiles(t *testing.T) {
	shape := Shape{Layers: 1, KVHeads: 2, HeadDim: 8}
	pasts := []Past{
		{Segments: Range{0, 2}, Tokens: 5, Branched: true},
		{Segments: Range{2, 3}, Tokens: 2},
		{Segments: Range{3, 4}, Branched: true}, // of an empty text
	}
	var got []string
	for _, tile := range (Cut{Group: 2, Span: 4}).Tiles(shape, pasts) {
		got = append(got, fmt.Sprintf("%d of %d:%d %s %t %t", tile.Segment, tile.With.From, tile.With.To, tile, tile.First, tile.Last))
	}
	want := []string{
		"0 of 0:2 L0 h0:2 t0:4 true false", "0 of 0:2 L0 h0:2 t4:5 false false",
		"0 of 0:2 L0 h0:2 t0:0 false true", "1 of 0:2 L0 h0:2 t0:0 false true",
		"2 of 2:3 L0 h0:2 t0:2 true true",
		"3 of 3:4 L0 h0:2 t0:0 true true",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
