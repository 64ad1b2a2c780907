package tokenizer

import (
	"slices"
	"sort"
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
	tokens []addedToken // in the order of their bytes
	first  [256]bool
	only   int // the byte with which all tokens begin, or -1
}

// newMatcher makes a matcher of tokens that are not empty; of two with one text it takes the later.
func newMatcher(tokens []addedToken) *matcher {
	m := &matcher{only: -1}
	sorted := slices.Clone(tokens)
	slices.SortStableFunc(sorted, func(a, b addedToken) int { return strings.Compare(a.text, b.text) })
	for i, tok := range sorted {
		if i+1 < len(sorted) && sorted[i+1].text == tok.text {
			continue
		}
		m.tokens = append(m.tokens, tok)
		m.first[tok.text[0]] = true
	}
	if n := len(m.tokens); n > 0 && m.tokens[0].text[0] == m.tokens[n-1].text[0] {
		m.only = int(m.tokens[0].text[0])
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
	// [from, to) are the tokens that begin with s[:i]; the shortest comes first.
	best, from, to := int32(-1), 0, len(m.tokens)
	for i := 0; from < to; i++ {
		if len(m.tokens[from].text) == i {
			best = int32(from)
			from++
		}
		if i == len(s) {
			break
		}
		among := m.tokens[from:to]
		after := sort.Search(len(among), func(j int) bool { return among[j].text[i] > s[i] })
		before := sort.Search(after, func(j int) bool { return among[j].text[i] >= s[i] })
		from, to = from+before, from+after
	}
	return best
}
