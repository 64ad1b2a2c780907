package tokenizer

import "unicode/utf8"

// The regular expressions of the models that this package knows, as their files spell them. The functions below do the
// same by hand, some fifty times faster; a test holds each to its expression on random text.
const (
	regexpGPT2   = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
	regexpLlama3 = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	regexpQwen2  = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	regexpGPT4o  = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|` +
		`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|` +
		`\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	regexpTekken = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|` +
		`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|` +
		`\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

var knownRegexps = map[string]scanner{
	regexpGPT2:   nextGPT2,
	regexpLlama3: func(s string) int { return nextLlama3(s, 3) },
	regexpQwen2:  func(s string) int { return nextLlama3(s, 1) },
	regexpGPT4o:  nextGPT4o,
	regexpTekken: nextTekken,
}

// scanner gives the length in bytes, at least 1, of the first piece of a non-empty text. The known expressions need
// nothing of what was before, and leave no character unmatched.
type scanner func(s string) int

func (next scanner) split(p piece, emit func(piece)) error {
	for s, start := p.text, p.start; len(s) > 0; start = false {
		n := next(s)
		emit(piece{text: s[:n], start: start})
		s = s[n:]
	}
	return nil
}

// nextGPT2 is the first match of regexpGPT2.
func nextGPT2(s string) int {
	if n := contraction(s, false); n > 0 {
		return n
	}
	at := 0
	if s[0] == ' ' && len(s) > 1 {
		at = 1
	}
	c, n := classAt(s[at:])
	if c.isSpace() {
		return spaces(s)
	}
	return run(s, at+n, c)
}

// nextLlama3 is the first match of regexpLlama3, with at most maxDigits numbers in a piece.
func nextLlama3(s string, maxDigits int) int {
	if n := contraction(s, true); n > 0 {
		return n
	}
	c, n := classAt(s)
	if c == letter {
		return run(s, n, letter)
	}
	if c == number {
		return numbers(s, maxDigits)
	}
	after, w := other, 0
	if n < len(s) {
		after, w = classAt(s[n:])
	}
	if c != newline && w > 0 && after == letter {
		return run(s, n+w, letter)
	}
	if c == other || s[0] == ' ' && w > 0 && after == other {
		return run(s, run(s, n, other), newline)
	}
	if end := lastNewline(s); end > 0 {
		return end
	}
	return spaces(s)
}

// numbers is the length of up to most numbers at the beginning of s.
func numbers(s string, most int) int {
	at := 0
	for ; most > 0 && at < len(s); most-- {
		c, n := classAt(s[at:])
		if c != number {
			break
		}
		at += n
	}
	return at
}

// contraction is the length of 's, 't, 're, 've, 'm, 'll or 'd at the beginning of s, or 0.
func contraction(s string, fold bool) int {
	if s[0] != '\'' || len(s) < 2 {
		return 0
	}
	lower := func(i int) byte {
		if i >= len(s) {
			return 0
		}
		if b := s[i]; fold && 'A' <= b && b <= 'Z' {
			return b + 'a' - 'A'
		}
		return s[i]
	}
	switch b := lower(1); {
	case b == 's', b == 't', b == 'm', b == 'd':
		return 2
	case b == 'l' && lower(2) == 'l', (b == 'r' || b == 'v') && lower(2) == 'e':
		return 3
	}
	// U+017F, the long s, is another case of s.
	if r, n := utf8.DecodeRuneInString(s[1:]); fold && r == 'ſ' {
		return 1 + n
	}
	return 0
}

// spaces is the match of \s+(?!\S)|\s+ for an s that begins with white space: all of a run that ends the text, else all
// but its last character, which may belong to the word after it.
func spaces(s string) int {
	at, last := 0, 0
	for at < len(s) {
		c, n := classAt(s[at:])
		if !c.isSpace() {
			if last > 0 {
				return last
			}
			return at
		}
		last = at
		at += n
	}
	return at
}

// lastNewline is where the last \r or \n of the white space at the beginning of s ends, or 0: the match of \s*[\r\n]+.
func lastNewline(s string) int {
	end := 0
	for at := 0; at < len(s); {
		c, n := classAt(s[at:])
		if !c.isSpace() {
			break
		}
		at += n
		if c == newline {
			end = at
		}
	}
	return end
}
