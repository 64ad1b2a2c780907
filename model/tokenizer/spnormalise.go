package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// spMark is what SentencePiece spells a space with: U+2581.
const spMark = "▁"

// spNormaliser is the normaliser of a SentencePiece model. Its replacements are those of the longest keys, invalid bytes
// become U+FFFD one by one, and user-defined pieces stay as they are.
type spNormaliser struct {
	charsmap *charsmap // or nil
	frozen   *trie     // user-defined pieces, or nil
	prefix   bool      // a space in front (add_dummy_prefix)
	collapse bool      // one space for several, none at the ends (remove_extra_whitespaces)
	escape   bool      // spaces become spMark
	suffix   bool      // the space that prefix adds comes behind (treat_whitespace_as_suffix)
}

// next is what the beginning of the non-empty s becomes, and the length of that beginning.
func (n *spNormaliser) next(s string) (string, int) {
	if s[0] < utf8.RuneSelf && (n.charsmap == nil || !n.charsmap.first[s[0]]) && (n.frozen == nil || n.frozen.step(0, s[0]) < 0) {
		return s[:1], 1
	}
	if n.frozen != nil {
		if _, length := n.frozen.longest(s); length > 0 {
			return s[:length], length
		}
	}
	if n.charsmap != nil {
		if with, length := n.charsmap.longest(s); length > 0 {
			return string(with), length
		}
	}
	r, length := utf8.DecodeRuneInString(s)
	if r == utf8.RuneError && length == 1 {
		return "\uFFFD", 1
	}
	return s[:length], length
}

func (n *spNormaliser) normalise(s string) (string, bool, error) {
	space := " "
	if n.escape {
		space = spMark
	}
	if n.collapse {
		for s != "" {
			with, length := n.next(s)
			if with != " " {
				break
			}
			s = s[length:]
		}
	}
	if s == "" {
		return "", false, nil
	}
	out := make([]byte, 0, len(s)+len(s)/2)
	if n.prefix && !n.suffix {
		out = append(out, space...)
	}
	afterSpace := n.collapse
	whole, most := s, grown(s)
	for s != "" {
		if len(out) > most {
			return "", false, errGrown(whole)
		}
		with, length := n.next(s)
		s = s[length:]
		if afterSpace {
			with = strings.TrimLeft(with, " ")
		}
		if with == "" {
			continue
		}
		for i := range len(with) {
			if with[i] == ' ' {
				out = append(out, space...)
			} else {
				out = append(out, with[i])
			}
		}
		afterSpace = n.collapse && with[len(with)-1] == ' '
	}
	text := string(out)
	if n.collapse {
		for strings.HasSuffix(text, space) {
			text = text[:len(text)-len(space)]
		}
	}
	if n.prefix && n.suffix {
		text += space
	}
	return text, false, nil
}
