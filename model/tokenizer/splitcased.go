package tokenizer

import (
	"unicode"
	"unicode/utf8"
)

// letterCase is what the expressions that cut words at a change of case ask of a character.
type letterCase uint8

const (
	notCased letterCase = iota
	upper               // Lu, Lt
	lower               // Ll
	uncased             // Lm, Lo, M: stands for either
)

func caseAt(s string) (letterCase, int) {
	if b := s[0]; b < utf8.RuneSelf {
		switch {
		case 'a' <= b && b <= 'z':
			return lower, 1
		case 'A' <= b && b <= 'Z':
			return upper, 1
		}
		return notCased, 1
	}
	r, n := utf8.DecodeRuneInString(s)
	r = known(r)
	switch {
	case unicode.Is(unicode.Ll, r):
		return lower, n
	case unicode.In(r, unicode.Lu, unicode.Lt):
		return upper, n
	case unicode.IsLetter(r) || unicode.IsMark(r):
		return uncased, n
	}
	return notCased, n
}

// casedWord matches capitals* small+ at offset at, where letters without case count as both, and gives the offset of its
// end; or, with 0 for that, the end of capitals+, which is 0 if there are none.
func casedWord(s string, at int) (small, capitals int) {
	lastUncased := 0
	i := at
	for i < len(s) {
		c, n := caseAt(s[i:])
		if c == lower {
			for i < len(s) && (c == lower || c == uncased) {
				i += n
				if i < len(s) {
					c, n = caseAt(s[i:])
				}
			}
			return i, 0
		}
		if c == notCased {
			break
		}
		i += n
		if c == uncased {
			lastUncased = i
		}
	}
	// No small letter follows, so a letter without case has to be one: the last.
	if lastUncased > 0 || i == at {
		return lastUncased, 0
	}
	return 0, i
}

// nextGPT4o is the first match of regexpGPT4o.
func nextGPT4o(s string) int {
	if n := wordByCase(s); n > 0 {
		if n < len(s) {
			n += contraction(s[n:], true)
		}
		return n
	}
	return nextWithoutWord(s, 3)
}

// nextTekken is the first match of regexpTekken.
func nextTekken(s string) int {
	if n := wordByCase(s); n > 0 {
		return n
	}
	return nextWithoutWord(s, 1)
}

// wordByCase is the length of a word, with a character before it that is no letter, number or line break; or 0.
func wordByCase(s string) int {
	c, n := classAt(s)
	if c == number || c == newline {
		return 0
	}
	at := 0
	if c != letter {
		at = n
	}
	small, capitals := casedWord(s, at)
	if small > 0 {
		return small
	}
	if c == other {
		// A mark may stand for a small letter itself.
		if small, _ = casedWord(s, 0); small > 0 {
			return small
		}
	}
	return capitals
}

// nextWithoutWord is the first match of what the two expressions have behind their words.
func nextWithoutWord(s string, maxDigits int) int {
	c, n := classAt(s)
	if c == number {
		return numbers(s, maxDigits)
	}
	at := 0
	if s[0] == ' ' && n < len(s) {
		at = 1
	}
	if end := run(s, at, other); end > at {
		for end < len(s) && (s[end] == '\r' || s[end] == '\n' || s[end] == '/') {
			end++
		}
		return end
	}
	if end := lastNewline(s); end > 0 {
		return end
	}
	return spaces(s)
}
