package tokenizer

import (
	"hash/maphash"
	"strings"
	"sync/atomic"
)

const (
	cacheSlots    = 1 << 14 // words remembered; a slot holds the last word that hashed to it
	cacheMaxBytes = 48      // longer words are rare and not worth remembering
)

// model turns a word into tokens.
type model interface {
	// encode appends the ids of the non-empty word to out. It sets w.lost where the word has a part without a token.
	encode(word string, out []int32, w *work) []int32
}

// work is what the words of one Encode share.
type work struct {
	first   []int32
	symbols []symbol
	heap    mergeHeap
	lattice any // a *lattice of the unigram model's kind of number
	lost    bool
}

// wordCache remembers the ids of words. Many goroutines may use it.
type wordCache struct {
	seed  maphash.Seed
	slots []atomic.Pointer[cachedWord]
}

type cachedWord struct {
	word string
	ids  []int32
	lost bool
}

func newWordCache() wordCache {
	return wordCache{seed: maphash.MakeSeed(), slots: make([]atomic.Pointer[cachedWord], cacheSlots)}
}

// encode is m.encode, or what that gave for the same word before.
func (c *wordCache) encode(m model, word string, out []int32, w *work) []int32 {
	if len(word) > cacheMaxBytes {
		return m.encode(word, out, w)
	}
	slot := &c.slots[maphash.String(c.seed, word)%cacheSlots]
	if c := slot.Load(); c != nil && c.word == word {
		w.lost = w.lost || c.lost
		return append(out, c.ids...)
	}
	from, before := len(out), w.lost
	w.lost = false
	out = m.encode(word, out, w)
	ids := make([]int32, len(out)-from)
	copy(ids, out[from:])
	// The word is cloned so that the cache doesn't keep the whole text alive.
	slot.Store(&cachedWord{strings.Clone(word), ids, w.lost})
	w.lost = w.lost || before
	return out
}
