package tokenizer

import "unicode/utf8"

// pairCutter cuts between two characters that no token has side by side: no merge can reach across, so that nothing changes
// but the size of the words. Texts that the file's own pre-tokenizer leaves whole become words that can be remembered, and
// a list of merges to search through that is short.
type pairCutter struct {
	ascii [utf8.RuneSelf][utf8.RuneSelf]bool
	pairs map[[2]rune]bool
	known func(r rune) bool // r is a token
}

// pairCutter gives false where words matter in other ways than by their merges.
func (p *parts) pairCutter(a *alphabet) (splitter, bool) {
	if p.kind == bytePairs || p.ignore {
		return nil, false
	}
	for _, m := range p.merges {
		// Unknown parts and bytes are symbols that look like none of the text.
		_, isByte := byteToken(m[0])
		_, nextIsByte := byteToken(m[1])
		if isByte || nextIsByte || p.unknown != noID && (m[0] == p.texts[p.unknown] || m[1] == p.texts[p.unknown]) {
			return nil, false
		}
	}
	c := &pairCutter{pairs: map[[2]rune]bool{}, known: func(r rune) bool {
		if r < utf8.RuneSelf {
			return a.byteID[r] != noID && a.byteID[r] < a.size
		}
		id, ok := a.runes[r]
		return ok && id < a.size
	}}
	for _, text := range p.texts {
		last := utf8.RuneError
		for i, r := range text {
			switch {
			case i == 0:
			case last < utf8.RuneSelf && r < utf8.RuneSelf:
				c.ascii[last][r] = true
			default:
				c.pairs[[2]rune{last, r}] = true
			}
			last = r
		}
	}
	return c, true
}

// joins says whether a and b may be of one token, or of one unknown token.
func (c *pairCutter) joins(a, b rune) bool {
	if a < utf8.RuneSelf && b < utf8.RuneSelf {
		if c.ascii[a][b] {
			return true
		}
	} else if a == utf8.RuneError || b == utf8.RuneError || c.pairs[[2]rune{a, b}] {
		return true
	}
	return !c.known(a) && !c.known(b)
}

func (c *pairCutter) split(p piece, emit func(piece)) error {
	start := 0
	last := utf8.RuneError
	for at, r := range p.text {
		if at > 0 && !c.joins(last, r) {
			emit(piece{text: p.text[start:at], start: p.start && start == 0})
			start = at
		}
		last = r
	}
	emit(piece{text: p.text[start:], start: p.start && start == 0})
	return nil
}
