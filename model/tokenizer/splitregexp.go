package tokenizer

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dlclark/regexp2"
)

// regexpTimeout bounds one match of an expression that came with a file, which may backtrack without end.
const regexpTimeout = 2 * time.Second

// The one case-insensitive group that tokenizers use, and what it means letter by letter. Engines differ in how they fold
// case outside ASCII; spelled out there is nothing to differ about.
const (
	foldedContractions  = `(?i:'s|'t|'re|'ve|'m|'ll|'d)`
	spelledContractions = `(?:'[sSſ]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])`
)

// expression finds the matches of a regular expression.
type expression struct{ re *regexp2.Regexp }

// maxPattern bounds an expression, in bytes: its parser calls itself for every bracket. The longest that models have are
// about 500 bytes.
const maxPattern = 4096

// newExpression compiles an expression of a tokenizer's file. Errors say what in it differs between engines.
func newExpression(pattern string) (expression, error) {
	if len(pattern) > maxPattern {
		return expression{}, fmt.Errorf("a regexp of %d bytes, and it may have %d; split it into several steps", len(pattern), maxPattern)
	}
	spelled := strings.ReplaceAll(pattern, foldedContractions, spelledContractions)
	if what := ambiguous(spelled); what != "" {
		return expression{}, fmt.Errorf("regexp %q: %s means different things to different engines, so splitting might differ from the model's training; "+
			"convert the tokenizer with an expression that avoids it", pattern, what)
	}
	re, err := regexp2.Compile(spelled, regexp2.None)
	if err != nil {
		return expression{}, fmt.Errorf("regexp %q: %w", pattern, err)
	}
	re.MatchTimeout = regexpTimeout
	return expression{re}, nil
}

// ambiguous names the first construct of a pattern on which regexp2 and Oniguruma, which the Hugging Face library uses,
// disagree, or gives "".
func ambiguous(pattern string) string {
	inClass := false
	for i := 0; i < len(pattern); i++ {
		rest := pattern[i:]
		switch {
		case pattern[i] == '\\':
			if i++; i < len(pattern) && strings.IndexByte(`wWbBhHRXGKAzZkgyYQE`, pattern[i]) >= 0 {
				return `\` + pattern[i:i+1]
			}
		case inClass && (strings.HasPrefix(rest, "&&") || strings.HasPrefix(rest, "[") || strings.HasPrefix(rest, "-[")):
			return "a nested character class"
		case inClass:
			inClass = pattern[i] != ']'
		case pattern[i] == '[':
			inClass = true
			if strings.HasPrefix(rest, "[^") {
				i++
			}
		case strings.HasPrefix(rest, "(?i"), strings.HasPrefix(rest, "(?-i"), strings.HasPrefix(rest, "(?m"),
			strings.HasPrefix(rest, "(?s"), strings.HasPrefix(rest, "(?x"), strings.HasPrefix(rest, "(?~"):
			return rest[:3]
		case pattern[i] == '^' || pattern[i] == '$':
			return pattern[i : i+1]
		case i > 0 && pattern[i] == '+' && strings.IndexByte("+*?", pattern[i-1]) >= 0 && (i < 2 || pattern[i-2] != '\\'):
			return "the possessive " + pattern[i-1:i+1]
		}
	}
	return ""
}

func (x expression) find(s string, dst []span) ([]span, error) {
	done := 0
	err := x.each(s, func(from, to int) {
		if from > done {
			dst = append(dst, span{end: from})
		}
		dst = append(dst, span{end: to, match: true})
		done = to
	})
	if done < len(s) {
		dst = append(dst, span{end: len(s)})
	}
	return dst, err
}

// each gives the offsets in bytes of every match that isn't empty.
func (x expression) each(s string, match func(from, to int)) error {
	// regexp2 counts in characters; offsets says where each begins. Invalid bytes become U+FFFD one by one.
	runes := make([]rune, 0, len(s))
	offsets := make([]int, 0, len(s)+1)
	for at := 0; at < len(s); {
		r, n := utf8.DecodeRuneInString(s[at:])
		runes, offsets = append(runes, known(r)), append(offsets, at)
		at += n
	}
	offsets = append(offsets, len(s))

	m, err := x.re.FindRunesMatch(runes)
	for ; m != nil && err == nil; m, err = x.re.FindNextMatch(m) {
		if m.Length > 0 {
			match(offsets[m.Index], offsets[m.Index+m.Length])
		}
	}
	if err != nil {
		return fmt.Errorf("looking for %s in %d bytes of text: %w", x.re, len(s), err)
	}
	return nil
}
