package tokenizer

import (
	"math"
	"math/bits"
)

// mergeResult is what a pair of tokens merges into. rank is math.MaxInt32 for a pair that doesn't merge.
type mergeResult struct{ rank, id int32 }

// mergeTable maps pairs of ids to their merges: open addressing with linear probing, at most half full. It is several
// times faster than a Go map here, and looking up pairs is most of the time of encoding a word for the first time.
type mergeTable struct {
	keys    []uint64
	results []mergeResult
	shift   uint
}

// noPair marks a free slot; ids are never negative, so no pair has this key.
const noPair = math.MaxUint64

func newMergeTable(n int) mergeTable {
	size := bits.Len(uint(2*n + 1))
	t := mergeTable{keys: make([]uint64, 1<<size), results: make([]mergeResult, 1<<size), shift: uint(64 - size)}
	for i := range t.keys {
		t.keys[i] = noPair
	}
	return t
}

func pairKey(a, b int32) uint64 { return uint64(uint32(a))<<32 | uint64(uint32(b)) }

// slot is where key is, or where it would go. The multiplier is 2^64 divided by the golden ratio (Knuth, volume 3, 6.4).
func (t *mergeTable) slot(key uint64) int {
	i := int(key * 0x9E3779B97F4A7C15 >> t.shift)
	for t.keys[i] != key && t.keys[i] != noPair {
		i = (i + 1) & (len(t.keys) - 1)
	}
	return i
}

// put adds a merge; a pair that is put twice keeps the later rank, as in the Hugging Face library.
func (t *mergeTable) put(a, b int32, r mergeResult) {
	i := t.slot(pairKey(a, b))
	t.keys[i], t.results[i] = pairKey(a, b), r
}

func (t *mergeTable) get(a, b int32) mergeResult {
	i := t.slot(pairKey(a, b))
	if t.keys[i] == noPair {
		return mergeResult{rank: math.MaxInt32, id: noID}
	}
	return t.results[i]
}

// candidate is a possible merge of the symbol at left, which was a, with the one after it, which was b.
type candidate struct{ rank, left, a, b, id int32 }

func (c candidate) before(d candidate) bool {
	return c.rank < d.rank || c.rank == d.rank && c.left < d.left
}

// mergeHeap is a binary heap with the best candidate first.
type mergeHeap []candidate

func (h *mergeHeap) push(c candidate) {
	s := append(*h, c)
	i := len(s) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if !c.before(s[parent]) {
			break
		}
		s[i] = s[parent]
		i = parent
	}
	s[i] = c
	*h = s
}

// pop takes the best candidate from a heap that isn't empty.
func (h *mergeHeap) pop() candidate {
	s := *h
	top, last := s[0], s[len(s)-1]
	s = s[:len(s)-1]
	*h = s
	i := 0
	for {
		child := 2*i + 1
		if child >= len(s) {
			break
		}
		if child+1 < len(s) && s[child+1].before(s[child]) {
			child++
		}
		if !s[child].before(last) {
			break
		}
		s[i] = s[child]
		i = child
	}
	if len(s) > 0 {
		s[i] = last
	}
	return top
}
