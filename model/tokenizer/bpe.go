package tokenizer

import (
	"hash/maphash"
	"math"
	"strings"
	"sync/atomic"
)

const (
	cacheSlots    = 1 << 14 // words remembered; a slot holds the last word that hashed to it
	cacheMaxBytes = 48      // longer words are rare and not worth remembering
	scanMax       = 48      // up to this many symbols a scan for the best merge beats a heap
)

// bpe merges the bytes of one word into tokens: always the adjacent pair of the lowest rank, the leftmost among equals,
// until no pair has a merge.
type bpe struct {
	byteID [256]int32 // the token of each byte; where the vocabulary has none, the unknown token or noID
	lacks  [256]bool  // the vocabulary has no token for the byte
	merges mergeTable
	whole  map[string]int32 // with ignore_merges: a word that is a token is that token; else nil

	seed  maphash.Seed
	cache []atomic.Pointer[cachedWord]
}

type cachedWord struct {
	word string
	ids  []int32
}

// mergeWork is scratch that words of one Encode share.
type mergeWork struct {
	symbols []symbol
	heap    mergeHeap
}

func newBPE() *bpe {
	return &bpe{seed: maphash.MakeSeed(), cache: make([]atomic.Pointer[cachedWord], cacheSlots)}
}

// word appends the ids of a non-empty word to out. Bytes without a token are left out before merging.
func (m *bpe) word(word string, out []int32, w *mergeWork) []int32 {
	if len(word) == 1 && m.whole == nil {
		if id := m.byteID[word[0]]; id != noID {
			out = append(out, id)
		}
		return out
	}
	if len(word) > cacheMaxBytes {
		return m.merge(word, out, w)
	}
	slot := &m.cache[maphash.String(m.seed, word)%cacheSlots]
	if c := slot.Load(); c != nil && c.word == word {
		return append(out, c.ids...)
	}
	from := len(out)
	out = m.merge(word, out, w)
	ids := make([]int32, len(out)-from)
	copy(ids, out[from:])
	// The word is cloned so that the cache doesn't keep the whole text alive.
	slot.Store(&cachedWord{strings.Clone(word), ids})
	return out
}

func (m *bpe) merge(word string, out []int32, w *mergeWork) []int32 {
	if m.whole != nil {
		if id, ok := m.whole[word]; ok {
			return append(out, id)
		}
	}
	if len(word) <= scanMax {
		return m.mergeByScan(word, out)
	}
	return m.mergeByHeap(word, out, w)
}

// mergeByScan looks through all pairs for each merge: quadratic, and fastest for words of ordinary length.
func (m *bpe) mergeByScan(word string, out []int32) []int32 {
	var idArray [scanMax]int32
	var pairArray [scanMax]mergeResult
	n := 0
	for i := range len(word) {
		if id := m.byteID[word[i]]; id != noID {
			idArray[n] = id
			n++
		}
	}
	ids, pairs := idArray[:n], pairArray[:max(n-1, 0)]
	for i := range pairs {
		pairs[i] = m.merges.get(ids[i], ids[i+1])
	}
	for {
		best, rank := -1, int32(math.MaxInt32)
		for i, p := range pairs {
			if p.rank < rank {
				best, rank = i, p.rank
			}
		}
		if best < 0 {
			return append(out, ids...)
		}
		ids[best] = pairs[best].id
		ids = append(ids[:best+1], ids[best+2:]...)
		pairs = append(pairs[:best], pairs[best+1:]...)
		if best < len(pairs) {
			pairs[best] = m.merges.get(ids[best], ids[best+1])
		}
		if best > 0 {
			pairs[best-1] = m.merges.get(ids[best-1], ids[best])
		}
	}
}

// symbol is a link of the list of symbols that mergeByHeap shortens.
type symbol struct {
	id         int32 // noID once merged into its left neighbour
	prev, next int32 // -1 at the ends
}

// mergeByHeap keeps the possible merges in a heap, so that a run of n bytes without a word break takes n log n.
func (m *bpe) mergeByHeap(word string, out []int32, w *mergeWork) []int32 {
	syms := w.symbols[:0]
	for i := range len(word) {
		if id := m.byteID[word[i]]; id != noID {
			k := int32(len(syms))
			syms = append(syms, symbol{id: id, prev: k - 1, next: k + 1})
		}
	}
	w.symbols = syms
	if len(syms) == 0 {
		return out
	}
	syms[len(syms)-1].next = -1

	w.heap = w.heap[:0]
	offer := func(left int32) {
		if left < 0 || syms[left].next < 0 {
			return
		}
		a, b := syms[left].id, syms[syms[left].next].id
		if r := m.merges.get(a, b); r.rank != math.MaxInt32 {
			w.heap.push(candidate{rank: r.rank, left: left, a: a, b: b, id: r.id})
		}
	}
	for i := range syms {
		offer(int32(i))
	}
	for len(w.heap) > 0 {
		c := w.heap.pop()
		l := &syms[c.left]
		if l.id != c.a || l.next < 0 || syms[l.next].id != c.b {
			continue // one of the two has been merged since
		}
		r := &syms[l.next]
		l.id, l.next = c.id, r.next
		r.id = noID
		if l.next >= 0 {
			syms[l.next].prev = c.left
		}
		offer(l.prev)
		offer(c.left)
	}
	for i := int32(0); i >= 0; i = syms[i].next {
		out = append(out, syms[i].id)
	}
	return out
}
