package transfer

import "fmt"

// Tile is the unit that moves: some KV heads of a layer × a span of the tokens
// that a segment's sequence held before the pass.
type Tile struct {
	Segment int // of the pass
	Layer   int
	Head    Range // KV heads
	Token   Range // of the past; empty if there is none
	First   bool  // of the tiles of its segment, layer and heads
	Last    bool  // of these; the pass's own keys and values go with it
}

// Range is the half-open interval [From, To).
type Range struct{ From, To int }

// Len returns how many there are.
func (r Range) Len() int { return r.To - r.From }

// String names the tile as traces do, such as "L3 h0:2 t0:4096".
func (t Tile) String() string {
	return fmt.Sprintf("L%d h%d:%d t%d:%d", t.Layer, t.Head.From, t.Head.To, t.Token.From, t.Token.To)
}

// Tiles lists the tiles of one pass in the order in which they are attended
// to: by layer, segment, head group, span. pasts are the tokens that each
// segment's sequence holds; group is KV heads a tile, span tokens a tile (0:
// the whole past).
func Tiles(shape Shape, pasts []int, group, span int) []Tile {
	var tiles []Tile
	for layer := range shape.Layers {
		for segment, past := range pasts {
			step := span
			if step <= 0 || step > past {
				step = max(past, 1)
			}
			for head := 0; head < shape.KVHeads; head += group {
				heads := Range{head, min(head+group, shape.KVHeads)}
				for from := 0; from == 0 || from < past; from += step {
					to := min(from+step, past)
					tiles = append(tiles, Tile{
						Segment: segment, Layer: layer, Head: heads, Token: Range{from, to},
						First: from == 0, Last: to == past,
					})
				}
			}
		}
	}
	return tiles
}

// SlotBytes returns what a ring slot must hold for tiles of group heads × tokens.
func (s Shape) SlotBytes(group, tokens int) int64 {
	return int64(group) * int64(tokens) * s.TokenBytes()
}

// Grouping chooses how many KV heads a tile has.
type Grouping struct {
	Adaptive bool
	Heads    int // fixed group, if not adaptive; 0 means all
}

// Choose returns the group for tiles of some tokens: the fixed one, or the
// largest whose ring of slots fits in the free bytes (the paper's section 4.3,
// decided from what is really left); besides is what each of the group's heads
// takes outside the ring, in bytes. A group of one head is the least there is,
// whether it fits or not; the ring's own request then says what is missing.
func (g Grouping) Choose(shape Shape, slots, tokens int, besides, free int64) int {
	if !g.Adaptive {
		if g.Heads <= 0 || g.Heads > shape.KVHeads {
			return shape.KVHeads
		}
		return g.Heads
	}
	for heads := shape.KVHeads; heads > 1; heads = (heads + 1) / 2 {
		if int64(slots)*shape.SlotBytes(heads, tokens)+int64(heads)*besides <= free {
			return heads
		}
	}
	return 1
}
