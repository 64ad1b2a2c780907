package tokenizer

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// normaliser rewrites text before it is split into words.
type normaliser interface {
	// normalise says as well whether the beginning of the text was taken away: what is left is then not at the start, for
	// steps that ask.
	normalise(s string) (out string, cut bool, err error)
}

// A text may become maxGrowth times as long, and growthBytes more: a compatibility character has up to 18 letters. A file
// whose steps replace letters by texts, one after the other, could fill any memory.
const (
	maxGrowth   = 64
	growthBytes = 4096
)

// grown is the longest that s may become.
func grown(s string) int { return maxGrowth*len(s) + growthBytes }

// errGrown is for a text that becomes longer.
func errGrown(s string) error {
	return fmt.Errorf("a normaliser makes more than %d bytes of %d; %w", grown(s), len(s), ErrUnsupported)
}

// normalisers apply one after the other.
type normalisers []normaliser

func (n normalisers) normalise(s string) (out string, cut bool, err error) {
	whole := s
	for _, step := range n {
		if s == "" {
			break
		}
		var c bool
		if s, c, err = step.normalise(s); err != nil {
			return "", cut, err
		}
		if len(s) > grown(whole) {
			return "", cut, errGrown(whole)
		}
		cut = cut || c
	}
	return s, cut, nil
}

// mapping is a normaliser that can't fail.
type mapping func(string) string

func (m mapping) normalise(s string) (string, bool, error) { return m(s), false, nil }

// lowercase maps each character alone, so that a final sigma is like any other. İ is the one that becomes two.
func lowercase(s string) string {
	return mapRunes(s, func(r rune, out []byte) []byte {
		if r == 'İ' {
			return append(out, "i̇"...)
		}
		return utf8.AppendRune(out, lowerOf(r))
	})
}

// lowerOf is the small letter of Unicode 17.0, of which Go's tables (15.0) lack some.
func lowerOf(r rune) rune {
	switch {
	case r < 0x1C89:
	case r == 0x1C89, r == 0xA7CC, r == 0xA7CE, r == 0xA7D2, r == 0xA7D4, r == 0xA7DA:
		return r + 1
	case r == 0xA7CB:
		return 'ɤ'
	case r == 0xA7DC:
		return 'ƛ'
	case r >= 0x10D50 && r <= 0x10D65:
		return r + 0x20
	case r >= 0x16EA0 && r <= 0x16EB8:
		return r + 0x1B
	}
	return unicode.ToLower(r)
}

// accents leaves out marks, which a decomposition before it has made of accents.
type accents struct{}

func (accents) normalise(s string) (string, bool, error) {
	first, _ := utf8.DecodeRuneInString(s)
	out := mapRunes(s, func(r rune, out []byte) []byte {
		if isAccent(r) {
			return out
		}
		return utf8.AppendRune(out, r)
	})
	return out, isAccent(first), nil
}

// mapRunes lets change append what becomes of each character; invalid bytes stay.
func mapRunes(s string, change func(r rune, out []byte) []byte) string {
	out := make([]byte, 0, len(s))
	for at := 0; at < len(s); {
		r, n := utf8.DecodeRuneInString(s[at:])
		if r == utf8.RuneError && n == 1 {
			out = append(out, s[at])
		} else {
			out = change(r, out)
		}
		at += n
	}
	return string(out)
}

// stripper takes white space off the ends.
type stripper struct{ left, right bool }

func (p stripper) normalise(s string) (string, bool, error) {
	before := len(s)
	if p.left {
		s = strings.TrimLeftFunc(s, unicode.IsSpace)
	}
	cut := len(s) < before
	if p.right {
		s = strings.TrimRightFunc(s, unicode.IsSpace)
	}
	return s, cut, nil
}

// prepender puts text in front of what isn't empty.
type prepender string

func (p prepender) normalise(s string) (string, bool, error) { return string(p) + s, false, nil }

// replacer replaces a text.
type replacer struct{ old, with string }

func (p replacer) normalise(s string) (string, bool, error) {
	if len(p.with) > maxGrowth*len(p.old) && strings.Count(s, p.old) > grown(s)/len(p.with) {
		return "", false, errGrown(s)
	}
	return strings.ReplaceAll(s, p.old, p.with), strings.HasPrefix(s, p.old) && cutsStart(p.old, p.with), nil
}

// cutsStart says whether a text whose beginning old is replaced counts as cut. The library lets what it puts in stand for the
// last character of what was there.
func cutsStart(old, with string) bool { return with == "" || utf8.RuneCountInString(old) > 1 }

// spaceRuns replaces every run of two or more spaces: the expression " {2,}".
type spaceRuns struct{ with string }

func (p spaceRuns) normalise(s string) (string, bool, error) {
	if !strings.Contains(s, "  ") {
		return s, false, nil
	}
	cut, most := strings.HasPrefix(s, "  "), grown(s)
	whole := s
	var out strings.Builder
	for {
		if out.Len() > most {
			return "", cut, errGrown(whole)
		}
		i := strings.Index(s, "  ")
		if i < 0 {
			out.WriteString(s)
			return out.String(), cut, nil
		}
		out.WriteString(s[:i])
		out.WriteString(p.with)
		s = strings.TrimLeft(s[i:], " ")
	}
}

// expressionReplacer replaces every match of an expression.
type expressionReplacer struct {
	expression
	with string
}

func (p expressionReplacer) normalise(s string) (string, bool, error) {
	var out strings.Builder
	done, cut := 0, false
	most := grown(s)
	err := p.each(s, func(from, to int) {
		if out.Len() > most {
			return // the rest does not matter
		}
		cut = cut || from == 0 && cutsStart(s[:to], p.with)
		out.WriteString(s[done:from])
		out.WriteString(p.with)
		done = to
	})
	if out.Len() > most {
		return "", cut, errGrown(s)
	}
	out.WriteString(s[done:])
	return out.String(), cut, err
}
