package tokenizer

import (
	"cmp"
	"slices"
	"strconv"
	"unicode/utf8"
)

// fill sets the symbols that are tokens.
func (a *alphabet) fill(ids map[string]int32) {
	for b := range a.byteID {
		a.byteID[b] = noID
	}
	if a.bytes {
		for b, r := range byteRune {
			if id, ok := ids[string(r)]; ok {
				a.byteID[b] = id
			}
		}
		return
	}
	a.runes = map[rune]int32{}
	for text, id := range ids {
		r, n := utf8.DecodeRuneInString(text)
		if n != len(text) || r == utf8.RuneError && n == 1 {
			continue
		}
		if r < utf8.RuneSelf {
			a.byteID[r] = id
		} else {
			a.runes[r] = id
		}
	}
}

func (p *parts) fillMerges(m *bpe, ids map[string]int32) error {
	if len(p.merges) == 0 && !p.unmerged {
		return p.merging.invalid("no merges, and byte-pair encoding is nothing without them; convert or download the file again")
	}
	m.merges = newMergeTable(len(p.merges))
	for rank, pair := range p.merges {
		var found [3]int32
		for i, text := range []string{pair[0], pair[1], pair[0] + pair[1]} {
			id, ok := ids[text]
			if !ok {
				return p.merging.at("[%d]", rank).invalid("%s + %s: %s is not a token of the vocabulary; the merges are those of another vocabulary",
					strconv.Quote(pair[0]), strconv.Quote(pair[1]), strconv.Quote(text))
			}
			found[i] = id
		}
		m.merges.put(found[0], found[1], mergeResult{rank: int32(rank), id: found[2]})
	}
	return nil
}

// fillScored makes the merges of a vocabulary without a list of them: any two symbols whose texts together are a piece. Pieces
// of the same score have the same rank, so that the leftmost is merged first.
func (p *parts) fillScored(m *bpe) {
	order := make([]int32, 0, len(p.texts))
	symbols := make(map[string]int32, len(p.texts))
	for id, text := range p.texts {
		if text != "" && (p.mergeable == nil || p.mergeable[id]) {
			order = append(order, int32(id))
			symbols[text] = int32(id)
		}
	}
	// A character that is not mergeable is no symbol, whatever it is called.
	for r, id := range m.runes {
		if _, ok := symbols[string(r)]; !ok && p.texts[id] == string(r) {
			delete(m.runes, r)
		}
	}
	for b := range m.byteID {
		if _, ok := symbols[string(rune(b))]; !ok {
			m.byteID[b] = noID
		}
	}
	slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(p.scores[b], p.scores[a]) })
	p.standIns(m, order, symbols)

	type merge struct {
		left, right int32
		mergeResult
	}
	var all []merge
	for i, rank := 0, int32(0); i < len(order); i++ {
		if i > 0 && p.scores[order[i]] != p.scores[order[i-1]] {
			rank = int32(i)
		}
		text := p.texts[order[i]]
		for cut := range text {
			left, ok := symbols[text[:cut]]
			if !ok {
				continue
			}
			if right, ok := symbols[text[cut:]]; ok {
				all = append(all, merge{left, right, mergeResult{rank, order[i]}})
			}
		}
	}
	m.merges = newMergeTable(len(all))
	for _, a := range all {
		m.merges.put(a.left, a.right, a.mergeResult)
	}
	p.freeze(m)
}

// standIns adds symbols for the characters that are found inside pieces only.
func (p *parts) standIns(m *bpe, order []int32, symbols map[string]int32) {
	for _, id := range order {
		for _, r := range p.texts[id] {
			if _, known := symbols[string(r)]; known || r == utf8.RuneError {
				continue
			}
			stand := m.size + int32(len(m.behind))
			m.behind = append(m.behind, standIn{piece: noID, r: r})
			symbols[string(r)] = stand
			if r < utf8.RuneSelf {
				m.byteID[r] = stand
			} else {
				m.runes[r] = stand
			}
		}
	}
}

// freeze gives user-defined pieces symbols that have no merges.
func (p *parts) freeze(m *bpe) {
	if len(p.frozen) == 0 {
		return
	}
	m.frozen = newTrie()
	for _, id := range p.frozen {
		m.frozen.add(p.texts[id], m.size+int32(len(m.behind)))
		m.behind = append(m.behind, standIn{piece: id})
	}
}

// smallestNormal32 is what SentencePiece begins its search for the largest score with. All scores are less, so it stays.
const smallestNormal32 = 0x1p-126

// buildUnigram makes a unigram model.
func buildUnigram[F float32 | float64](p *parts, rest fallback) *unigram[F] {
	m := &unigram[F]{trie: newTrie(), scores: make([]F, len(p.texts)), unknown: p.unknown, fuse: p.fuse, rest: rest}
	frozen := make(map[int32]bool, len(p.frozen))
	for _, id := range p.frozen {
		frozen[id] = true
	}
	first := true
	var low F
	var high F = smallestNormal32
	for id, text := range p.texts {
		if text == "" || p.mergeable != nil && !p.mergeable[id] {
			continue
		}
		s := F(p.scores[id])
		m.scores[id] = s
		m.trie.add(text, int32(id))
		if frozen[int32(id)] {
			continue
		}
		if first {
			low, first = s, false
		}
		low, high = min(low, s), max(high, s)
	}
	m.unknownScore = low - unknownPenalty
	for _, id := range p.frozen {
		// SentencePiece's bonus for a piece that the user has defined, by its length.
		m.scores[id] = F(float64(F(len(p.texts[id]))*high) - 0.1)
	}
	return m
}
