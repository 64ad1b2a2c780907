package tokenizer

import "unicode/utf8"

// unknownPenalty is how much less probable than the rarest token a character without one is (SentencePiece).
const unknownPenalty = 10

// latticeBytes is after how many bytes the best path is settled, as soon as no token reaches across.
const latticeBytes = 1 << 12

// unigram chooses the tokens whose scores (log probabilities) add up to the most: Viterbi's algorithm over the text (Kudo 2018,
// section 3.2). F is the type in which the library that the file is for keeps the sums: those that differ in the last bit
// choose other tokens.
type unigram[F float32 | float64] struct {
	trie         *trie
	scores       []F // id → what it adds
	unknownScore F
	unknown      int32
	fuse         bool // several unknown characters in a row are one
	rest         fallback
}

// lattice is the work of one word: best[i] is the best way to offset from+i.
type lattice[F float32 | float64] struct {
	best  []latticeNode[F]
	from  int
	reach int // the farthest end of a token so far
	path  []latticeStep
	lost  int // where a run of unknown characters that isn't in the output yet begins, or -1
}

type latticeNode[F float32 | float64] struct {
	score  F
	length int32 // of the last token, in bytes; 0 where nothing ends
	token  int32
}

type latticeStep struct {
	end   int
	token int32
}

func (m *unigram[F]) encode(word string, out []int32, w *work) []int32 {
	l, ok := w.lattice.(*lattice[F])
	if !ok {
		l = &lattice[F]{}
		w.lattice = l
	}
	*l = lattice[F]{best: append(l.best[:0], latticeNode[F]{}), path: l.path, lost: -1}
	for at := 0; at < len(word); {
		if at == l.reach && at-l.from >= latticeBytes {
			out = m.settle(word, l, out, w)
		}
		at += m.extend(word, at, l)
	}
	out = m.settle(word, l, out, w)
	if l.lost >= 0 {
		out = m.addUnknown(word[l.lost:], out, w)
	}
	return out
}

// extend enters the tokens that begin at offset at, and gives the length of the character there.
func (m *unigram[F]) extend(word string, at int, l *lattice[F]) int {
	_, char := utf8.DecodeRuneInString(word[at:])
	till := l.best[at-l.from].score
	whole := false
	node := int32(0)
	for i := at; i < len(word); i++ {
		if node = m.trie.step(node, word[i]); node < 0 {
			break
		}
		if id := m.trie.tokens[node]; id != noID {
			l.enter(at, i+1, id, till+m.scores[id])
			whole = whole || i+1 == at+char
		}
	}
	if !whole {
		l.enter(at, at+char, m.unknown, till+m.unknownScore)
	}
	return char
}

// enter notes a way to end by a token that begins at from, if it is better than the one known.
func (l *lattice[F]) enter(from, end int, token int32, score F) {
	for len(l.best) <= end-l.from {
		l.best = append(l.best, latticeNode[F]{})
	}
	l.reach = max(l.reach, end)
	if n := &l.best[end-l.from]; n.length == 0 || score > n.score {
		*n = latticeNode[F]{score, int32(end - from), token}
	}
}

// settle puts out the best path to where the lattice reaches, and begins a new one there. The score goes on, because
// the sums are rounded.
func (m *unigram[F]) settle(word string, l *lattice[F], out []int32, w *work) []int32 {
	l.path = l.path[:0]
	for at := l.reach; at > l.from; {
		n := l.best[at-l.from]
		l.path = append(l.path, latticeStep{at, n.token})
		at -= int(n.length)
	}
	start := l.from
	for i := len(l.path) - 1; i >= 0; i-- {
		step := l.path[i]
		switch {
		case step.token == m.unknown && m.fuse:
			if l.lost < 0 {
				l.lost = start
			}
		case step.token == m.unknown:
			out = m.addUnknown(word[start:step.end], out, w)
		default:
			if l.lost >= 0 {
				out = m.addUnknown(word[l.lost:start], out, w)
				l.lost = -1
			}
			out = append(out, step.token)
		}
		start = step.end
	}
	l.best[0] = latticeNode[F]{score: l.best[l.reach-l.from].score}
	l.best, l.from = l.best[:1], l.reach
	return out
}

// addUnknown puts out a run of characters without tokens.
func (m *unigram[F]) addUnknown(text string, out []int32, w *work) []int32 {
	if id, n := m.trie.longest(text); n == len(text) {
		return append(out, id)
	}
	out, ok := m.rest.add(text, out)
	if !ok {
		w.lost = true
		if m.unknown != noID {
			out = append(out, m.unknown)
		}
	}
	return out
}
