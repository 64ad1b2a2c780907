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

// isolate cuts at every match of a regular expression; what lies between matches is a piece too.
type isolate struct{ re *regexp2.Regexp }

// newRegexpSplitter gives the hand-written scanner of a known expression, or compiles it.
func newRegexpSplitter(pattern string) (splitter, error) {
	if s, ok := knownRegexps[pattern]; ok {
		return s, nil
	}
	return compileRegexp(pattern)
}

func compileRegexp(pattern string) (splitter, error) {
	spelled := strings.ReplaceAll(pattern, foldedContractions, spelledContractions)
	if what := ambiguous(spelled); what != "" {
		return nil, fmt.Errorf("regexp %q: %s means different things to different engines, so splitting might differ from the model's training; "+
			"convert the tokenizer with an expression that avoids it", pattern, what)
	}
	re, err := regexp2.Compile(spelled, regexp2.None)
	if err != nil {
		return nil, fmt.Errorf("regexp %q: %w", pattern, err)
	}
	re.MatchTimeout = regexpTimeout
	return isolate{re}, nil
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

func (x isolate) ends(s string, dst []int) ([]int, error) {
	// regexp2 counts in characters; offsets says where each begins. Invalid bytes become U+FFFD one by one.
	runes := make([]rune, 0, len(s))
	offsets := make([]int, 0, len(s)+1)
	for at := 0; at < len(s); {
		r, n := utf8.DecodeRuneInString(s[at:])
		runes, offsets = append(runes, r), append(offsets, at)
		at += n
	}
	offsets = append(offsets, len(s))

	done := 0
	m, err := x.re.FindRunesMatch(runes)
	for ; m != nil && err == nil; m, err = x.re.FindNextMatch(m) {
		if m.Length == 0 {
			continue
		}
		if from := offsets[m.Index]; from > done {
			dst = append(dst, from)
		}
		done = offsets[m.Index+m.Length]
		dst = append(dst, done)
	}
	if err != nil {
		return nil, fmt.Errorf("splitting %d bytes of text: %w", len(s), err)
	}
	if done < len(s) {
		dst = append(dst, len(s))
	}
	return dst, nil
}
