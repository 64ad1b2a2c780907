package tokenizer

import "math"

// scanMax is up to how many symbols a scan for the best merge beats a heap.
const scanMax = 48

// bpe merges the symbols of one word into tokens: always the adjacent pair of the lowest rank, the leftmost among equals,
// until no pair has a merge.
type bpe struct {
	alphabet
	merges mergeTable
	whole  map[string]int32 // with ignore_merges: a word that is a token is that token; else nil
}

func (m *bpe) encode(word string, out []int32, w *work) []int32 {
	if m.whole != nil {
		if id, ok := m.whole[word]; ok {
			return append(out, id)
		}
	}
	from := len(out)
	if len(word) <= scanMax {
		var few [scanMax]int32
		out = m.mergeByScan(m.start(word, few[:0], w), out)
	} else {
		w.first = m.start(word, w.first[:0], w)
		out = m.mergeByHeap(w.first, out, w)
	}
	return m.finish(out, from, w)
}

// mergeByScan looks through all pairs for each merge: quadratic, and fastest for words of ordinary length. It takes at most
// scanMax symbols, and changes them.
func (m *bpe) mergeByScan(ids, out []int32) []int32 {
	var pairArray [scanMax]mergeResult
	pairs := pairArray[:max(len(ids)-1, 0)]
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

// mergeByHeap keeps the possible merges in a heap, so that a run of n symbols without a word break takes n log n.
func (m *bpe) mergeByHeap(ids, out []int32, w *work) []int32 {
	syms := w.symbols[:0]
	for i, id := range ids {
		syms = append(syms, symbol{id: id, prev: int32(i) - 1, next: int32(i) + 1})
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
