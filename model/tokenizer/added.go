package tokenizer

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// addedToken is a token that is found in the text before it is split into words.
type addedToken struct {
	text    string
	id      int32
	special bool
	// lstrip and rstrip take the white space before and after into the token.
	lstrip, rstrip bool
	// alone finds it only where no letter, digit or the like is next to it (single_word).
	alone bool
}

// matcher cuts added tokens out of a text: the leftmost first, and at one place the longest.
type matcher struct {
	tokens []addedToken
	nodes  []trieNode
	first  [256]bool
	only   int // the byte with which all tokens begin, or -1
}

// trieNode is a state after some bytes of a token; node 0 is the start.
type trieNode struct {
	token int32 // index of the token that ends here, or -1
	next  map[byte]int32
}

func newMatcher(tokens []addedToken) *matcher {
	m := &matcher{tokens: tokens, nodes: []trieNode{{token: -1}}, only: -1}
	for i, tok := range tokens {
		at := int32(0)
		for j := range len(tok.text) {
			next, ok := m.nodes[at].next[tok.text[j]]
			if !ok {
				next = int32(len(m.nodes))
				m.nodes = append(m.nodes, trieNode{token: -1})
				if m.nodes[at].next == nil {
					m.nodes[at].next = map[byte]int32{}
				}
				m.nodes[at].next[tok.text[j]] = next
			}
			at = next
		}
		m.nodes[at].token = int32(i)
		m.first[tok.text[0]] = true
	}
	if len(m.nodes[0].next) == 1 {
		m.only = int(tokens[0].text[0])
	}
	return m
}

// cut calls text for what lies between tokens, with its offset in s, and token for each token. Without special, special tokens count as text,
// but still hide shorter tokens inside them: that is what the Hugging Face library does.
func (m *matcher) cut(s string, special bool, token func(int32), text func(part string, at int)) {
	if len(m.tokens) == 0 {
		text(s, 0)
		return
	}
	done := 0
	for at := m.candidate(s, 0); at < len(s); at = m.candidate(s, at) {
		i := m.longest(s[at:])
		if i < 0 {
			at++
			continue
		}
		tok := &m.tokens[i]
		start, end := at, at+len(tok.text)
		at = end
		if tok.special && !special || tok.alone && !isAlone(s, start, end) {
			continue
		}
		if tok.lstrip {
			start = len(strings.TrimRightFunc(s[:start], unicode.IsSpace))
		}
		// The token before may have taken the white space between the two.
		start = max(start, done)
		if tok.rstrip {
			end = len(s) - len(strings.TrimLeftFunc(s[end:], unicode.IsSpace))
		}
		if done < start {
			text(s[done:start], done)
		}
		token(tok.id)
		done = max(done, end)
	}
	if done < len(s) {
		text(s[done:], done)
	}
}

// isAlone says whether neither what ends at start nor what begins at end is a word's character.
func isAlone(s string, start, end int) bool {
	before, n := utf8.DecodeLastRuneInString(s[:start])
	after, m := utf8.DecodeRuneInString(s[end:])
	return (n == 0 || !isWord(before)) && (m == 0 || !isWord(after))
}

// candidate is the first place at or after from where a token may begin, or len(s).
func (m *matcher) candidate(s string, from int) int {
	if m.only >= 0 {
		if i := strings.IndexByte(s[from:], byte(m.only)); i >= 0 {
			return from + i
		}
		return len(s)
	}
	for from < len(s) && !m.first[s[from]] {
		from++
	}
	return from
}

// longest is the index of the longest token at the beginning of s, or -1.
func (m *matcher) longest(s string) int32 {
	best, at := int32(-1), int32(0)
	for i := 0; i < len(s); i++ {
		next, ok := m.nodes[at].next[s[i]]
		if !ok {
			break
		}
		at = next
		if t := m.nodes[at].token; t >= 0 {
			best = t
		}
	}
	return best
}
