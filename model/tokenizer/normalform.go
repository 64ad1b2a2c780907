package tokenizer

import (
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// normalForm is a normal form of Unicode 9.0 (UAX 15): characters that are newer stay as they are, and nothing moves across
// or composes with them. Invalid bytes stay too.
//
// x/text finds what is normal already, and the rest is composed here: x/text puts U+034F into runs of more than 30 marks, and looks
// compositions up by the low 16 bits, so that U+100A8 with an acute accent would become U+0385, as U+00A8 does.
type normalForm norm.Form

const (
	nfc  = normalForm(norm.NFC)
	nfd  = normalForm(norm.NFD)
	nfkc = normalForm(norm.NFKC)
	nfkd = normalForm(norm.NFKD)
)

func (f normalForm) normalise(s string) (string, bool, error) {
	if norm.Form(f).QuickSpanString(s) == len(s) {
		return s, false, nil
	}
	out := make([]byte, 0, len(s)+utf8.UTFMax)
	from := 0
	for at, r := range s {
		if newSince9(r) {
			// Each part by itself, so that nothing composes with what is between.
			out = f.part(s[from:at], out)
			from = at + utf8.RuneLen(r)
			out = append(out, s[at:from]...)
		}
	}
	return string(f.part(s[from:], out)), false, nil
}

// part appends the normal form of s, which has no new characters.
func (f normalForm) part(s string, out []byte) []byte {
	if f == nfkc && strings.ContainsFunc(s, isCompatibleJamo) {
		return nfc.part(string(nfkd.part(s, nil)), out)
	}
	form := norm.Form(f)
	for {
		n := form.QuickSpanString(s)
		out = append(out, s[:n]...)
		if s = s[n:]; s == "" {
			return out
		}
		n = f.segment(s)
		out = f.rewrite(s[:n], out)
		s = s[n:]
	}
}

// isCompatibleJamo says whether r is a letter of Korean that may become one which composes with what is before. x/text doesn't
// expect that of it.
func isCompatibleJamo(r rune) bool { return r >= 0x3131 && r <= 0x318E || r >= 0xFFA0 && r <= 0xFFDC }

// segment is the length of the first character of s and those which may compose with it or change places.
func (f normalForm) segment(s string) int {
	_, at := utf8.DecodeRuneInString(s)
	for at < len(s) {
		r, n := utf8.DecodeRuneInString(s[at:])
		if r == utf8.RuneError || norm.Form(f).PropertiesString(s[at:]).BoundaryBefore() {
			break
		}
		at += n
	}
	return at
}

// classed is a character with its canonical combining class, which is 0 for all that aren't marks.
type classed struct {
	r     rune
	class uint8
}

// rewrite appends the normal form of a segment.
func (f normalForm) rewrite(segment string, out []byte) []byte {
	if r, n := utf8.DecodeRuneInString(segment); r == utf8.RuneError {
		out = append(out, segment[:n]...)
		segment = segment[n:]
	}
	decomposed := norm.NFD
	if f == nfkc || f == nfkd {
		decomposed = norm.NFKD
	}
	var all []classed
	for _, r := range segment {
		for _, d := range decomposed.String(string(r)) {
			all = append(all, classed{d, norm.NFD.PropertiesString(string(d)).CCC()})
		}
	}
	for from := 0; from < len(all); from++ {
		to := from
		for to < len(all) && all[to].class != 0 {
			to++
		}
		slices.SortStableFunc(all[from:to], func(a, b classed) int { return int(a.class) - int(b.class) })
		from = to
	}
	if f == nfc || f == nfkc {
		all = compose(all)
	}
	for _, c := range all {
		out = utf8.AppendRune(out, c.r)
	}
	return out
}

// compose puts marks and the characters before them together, in place. all is decomposed and its marks are in order.
func compose(all []classed) []classed {
	out, starter := all[:0], -1
	for _, c := range all {
		if starter >= 0 && (len(out) == starter+1 || out[len(out)-1].class < c.class) {
			if r, ok := composite(out[starter].r, c.r); ok {
				out[starter].r = r
				continue
			}
		}
		if c.class == 0 {
			starter = len(out)
		}
		out = append(out, c)
	}
	return out
}

// composite is the one character that a and b make. What x/text takes for one is right if it decomposes to the two.
func composite(a, b rune) (rune, bool) {
	if norm.NFC.PropertiesString(string(b)).BoundaryBefore() {
		return 0, false
	}
	pair := string(a) + string(b)
	both := norm.NFC.String(pair)
	r, n := utf8.DecodeRuneInString(both)
	return r, n == len(both) && norm.NFD.String(both) == norm.NFD.String(pair)
}
