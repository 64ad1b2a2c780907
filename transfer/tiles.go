package transfer

import (
	"fmt"
	"slices"
	"unsafe"

	"headinfer/kernels"
)

// Tile is the unit that moves: some KV heads of a layer × a span of the tokens
// that a segment's sequence held before the pass.
type Tile struct {
	Segment int   // of the pass; without Last, the first of With
	With    Range // the segments with the same past: all of them attend to it, but to its last tile the tile's own
	Layer   int
	Head    Range // KV heads
	Token   Range // of the past; empty if there is none
	First   bool  // of the tiles of its segment, layer and heads
	Last    bool  // of these; the pass's own keys and values go with it
	Local   bool  // the layer has a window: all of its heads are one tile, and Token is empty
}

// Range is the half-open interval [From, To).
type Range struct{ From, To int }

// Len returns how many there are.
func (r Range) Len() int { return r.To - r.From }

// String names the tile as traces do, such as "L3 h0:2 t0:4096".
func (t Tile) String() string {
	return fmt.Sprintf("L%d h%d:%d t%d:%d", t.Layer, t.Head.From, t.Head.To, t.Token.From, t.Token.To)
}

// Keep says which of the past's tokens are attended to: all, or lossily the
// first few and the last many (StreamingLLM, Xiao et al. 2023). The zero Keep
// is all.
type Keep struct {
	Sinks  int // the first tokens
	Recent int // the last tokens; 0 means that all are attended to
}

// ranges returns what is attended to of a past of some tokens, in order; at
// least one range, which is empty if there is no past.
func (k Keep) ranges(past int) []Range {
	if k.Recent == 0 || k.Sinks+k.Recent >= past {
		return []Range{{0, past}}
	}
	if k.Sinks == 0 {
		return []Range{{past - k.Recent, past}}
	}
	return []Range{{0, k.Sinks}, {past - k.Recent, past}}
}

// Cut is the shape of tiles: how many KV heads, and at most how many tokens of those that
// are kept.
type Cut struct {
	Group int // KV heads a tile
	Span  int // tokens a tile; 0 means all
	Keep  Keep
	// Full names by layer and KV head those that attend to all tokens whatever
	// Keep says (DuoAttention's retrieval heads, Xiao et al. 2024); nil: none.
	Full [][]bool
}

func (c Cut) full(layer, head int) bool {
	return c.Full != nil && c.Full[layer][head]
}

// keeps returns what heads of the two kinds keep: both if there are such.
func (c Cut) keeps() []Keep {
	if c.Full == nil {
		return []Keep{c.Keep}
	}
	return []Keep{c.Keep, {}}
}

// Longest returns the most tokens of a tile of a past of up to some tokens. A
// window's first tokens and last ones are one tile until the past outgrows
// them, so it is both together that count.
func (c Cut) Longest(past int) int {
	most := past
	if c.Keep.Recent > 0 && c.Full == nil {
		most = min(most, c.Keep.Sinks+c.Keep.Recent)
	}
	if c.Span > 0 {
		most = min(most, c.Span)
	}
	return most
}

// Merges reports whether a head's past of some tokens takes several tiles.
func (c Cut) Merges(past int) bool {
	return slices.ContainsFunc(c.keeps(), func(k Keep) bool { return len(c.tokens(k, past)) > 1 })
}

// Past is what segments that follow each other in a pass attend to together.
type Past struct {
	Segments Range
	Tokens   int
	// Branched says that each segment has a cache of its own beside these tokens,
	// which lies on the device and goes with the segment's last tile.
	Branched bool
}

// Tiles lists the tiles of one pass in the order in which they are attended
// to: by layer, head group, past, tokens, and segment if the past is branched.
func (c Cut) Tiles(shape Shape, pasts []Past) []Tile {
	var tiles []Tile
	for layer := range shape.Layers {
		if shape.local(layer) {
			for _, past := range pasts {
				for s := past.Segments.From; s < past.Segments.To; s++ {
					tiles = append(tiles, Tile{
						Segment: s, With: past.Segments, Layer: layer, Head: Range{0, shape.KVHeads}, First: true, Last: true, Local: true,
					})
				}
			}
			continue
		}
		for _, heads := range c.groups(shape, layer) {
			keep := c.Keep
			if c.full(layer, heads.From) {
				keep = Keep{}
			}
			for _, past := range pasts {
				tiles = append(tiles, c.tiles(keep, past, Tile{Segment: past.Segments.From, With: past.Segments, Layer: layer, Head: heads})...)
			}
		}
	}
	return tiles
}

// groups divides a layer's heads into those of one tile, which are of one kind.
func (c Cut) groups(shape Shape, layer int) (groups []Range) {
	for head := 0; head < shape.KVHeads; {
		heads := Range{head, head + 1}
		for heads.To < min(head+c.Group, shape.KVHeads) && c.full(layer, heads.To) == c.full(layer, head) {
			heads.To++
		}
		groups = append(groups, heads)
		head = heads.To
	}
	return groups
}

// tiles are those of a past like the given one, of which they are parts.
func (c Cut) tiles(keep Keep, past Past, like Tile) (tiles []Tile) {
	tokens := c.tokens(keep, past.Tokens)
	if past.Branched && past.Tokens == 0 {
		tokens = nil
	}
	for i, r := range tokens {
		t := like
		t.Token, t.First, t.Last = r, i == 0, i == len(tokens)-1 && !past.Branched
		tiles = append(tiles, t)
	}
	for s := past.Segments.From; past.Branched && s < past.Segments.To; s++ {
		t := like
		t.Segment, t.First, t.Last = s, len(tokens) == 0, true
		tiles = append(tiles, t)
	}
	return tiles
}

// Bundles puts tiles that follow each other together if they can be attended to at
// once: the last ones of several segments, of the same layer and heads. Of the past,
// a bundle has at most some tokens, or one tile.
func Bundles(tiles []Tile, tokens int) (bundles [][]Tile) {
	var sum int
	for i, t := range tiles {
		sum += t.Token.Len()
		if i > 0 && t.Last && tiles[i-1].Last && t.Layer == tiles[i-1].Layer && t.Head == tiles[i-1].Head && sum <= tokens {
			last := &bundles[len(bundles)-1]
			*last = tiles[i-len(*last) : i+1 : i+1]
			continue
		}
		bundles = append(bundles, tiles[i:i+1:i+1])
		sum = t.Token.Len()
	}
	return bundles
}

// tokens cuts what is kept of a past into the tiles' ranges.
func (c Cut) tokens(k Keep, past int) []Range {
	var cut []Range
	for _, r := range k.ranges(past) {
		step := c.Span
		if step <= 0 {
			step = max(r.Len(), 1)
		}
		for from := r.From; from == r.From || from < r.To; from += step {
			cut = append(cut, Range{from, min(from+step, r.To)})
		}
	}
	return cut
}

// SlotBytes returns what a ring slot must hold for tiles of group heads × tokens.
func (s Shape) SlotBytes(group, tokens int) int64 {
	return int64(group) * int64(tokens) * s.TokenBytes()
}

// Tile lays out heads × tokens in some bytes at data: K first, then V.
func (s Shape) Tile(data unsafe.Pointer, bytes int64, heads, tokens int) (kernels.KV, error) {
	need := s.SlotBytes(heads, tokens)
	if need > bytes {
		return kernels.KV{}, fmt.Errorf("a tile of %d heads × %d tokens takes %d bytes, and its place holds %d", heads, tokens, need, bytes)
	}
	return s.view(data, unsafe.Add(data, need/2), heads, tokens), nil
}

// view describes keys and values of heads × tokens, each without gaps.
func (s Shape) view(k, v unsafe.Pointer, heads, tokens int) kernels.KV {
	return kernels.KV{K: k, V: v, DType: s.DType, Heads: heads, Tokens: tokens, HeadDim: s.HeadDim, HeadStride: tokens * s.HeadDim}
}

// Grouping chooses how many KV heads a tile has.
type Grouping struct {
	Adaptive bool
	Heads    int // fixed group, if not adaptive; 0 means all
}

// Choose returns the group: the fixed one, or the largest of which each head's
// bytes fit in the free ones (the paper's section 4.3, decided from what is
// really left). A group of one head is the least there is, whether it fits or
// not; what then asks for memory says what is missing.
func (g Grouping) Choose(heads int, each, free int64) int {
	if !g.Adaptive {
		if g.Heads <= 0 || g.Heads > heads {
			return heads
		}
		return g.Heads
	}
	group := heads
	for group > 1 && int64(group)*each > free {
		group = (group + 1) / 2
	}
	return group
}
