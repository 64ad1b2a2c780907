package eval

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Both forms that LongBench v2 accepts; the one in parentheses counts for more, wherever it stands.
var (
	inParentheses = regexp.MustCompile(`The correct answer is \(([A-D])\)`)
	bare          = regexp.MustCompile(`The correct answer is ([A-D])`)
)

// stated returns the letter that an answer calls the correct one.
func stated(answer string) (letter string, ok bool) {
	answer = strings.ReplaceAll(answer, "*", "")
	for _, form := range []*regexp.Regexp{inParentheses, bare} {
		if m := form.FindStringSubmatch(answer); m != nil {
			return m[1], true
		}
	}
	return "", false
}

// announced are the words before an option, in any case of letters.
var announced = regexp.MustCompile(`(?i)\b(?:answer|option|choice)(?: is)?[\s:]+`)

// alone is a letter that no other letter or digit touches.
var alone = regexp.MustCompile(`(?:^|[^\pL\pN])([A-D])(?:$|[^\pL\pN])`)

// chooses says whether an answer chooses an option, given its letter and its text. What says most plainly what is
// chosen decides: Letter's words; a letter or the text at the beginning; one of them after "answer is" and the like;
// the first letter that stands alone.
func chooses(answer string, option []string) bool {
	answer = strings.TrimSpace(strings.ReplaceAll(answer, "*", ""))
	letter, ok := stated(answer)
	if !ok {
		letter, ok = leading(answer)
	}
	if ok && letter <= "D" {
		return letter == option[0]
	}
	isText := func(s string) bool {
		line, _, _ := strings.Cut(s, "\n")
		trim := func(s string) string { return strings.TrimFunc(s, func(r rune) bool { return !isWord(r) }) }
		line, text := trim(line), trim(option[len(option)-1])
		return text != "" && strings.EqualFold(line, text)
	}
	if isText(answer) {
		return true
	}
	if at := announced.FindStringIndex(answer); at != nil {
		rest := answer[at[1]:]
		if letter, ok := leading(rest); ok && letter <= "D" {
			return letter == option[0]
		}
		if isText(rest) {
			return true
		}
	}
	return firstAlone(answer) == option[0]
}

var (
	// beforeWord is what follows the article in "A man".
	beforeWord = regexp.MustCompile(`^ +\p{Ll}`)
	// afterLetter is what follows a letter, and never the article: "A because".
	afterLetter = regexp.MustCompile(`^ +(?:is|was|has|does|says|because|since|as|and|or|but|not|for|with|from|by|in|of|on|to|if|it|the|that|which)(?:$|[^\pL\pN-])`)
)

// firstAlone returns the first letter that stands alone, "" without one. An "A"
// that is a word of a sentence is none.
func firstAlone(answer string) string {
	for {
		m := alone.FindStringSubmatchIndex(answer)
		if m == nil {
			return ""
		}
		letter := answer[m[2]:m[3]]
		answer = answer[m[3]:]
		if letter != "A" || !beforeWord.MatchString(answer) || afterLetter.MatchString(answer) {
			return letter
		}
	}
}

// leading returns the capital letter that an answer begins with as one names an option: "B", "B.", "(B) because".
// A word that is one letter long, as in "A man", is none.
func leading(answer string) (letter string, ok bool) {
	rest := strings.TrimLeft(answer, " \t\n\"'`")
	if l, _, ok := parenthesised(rest); ok {
		return l, true
	}
	if rest == "" || rest[0] < 'A' || rest[0] > 'Z' {
		return "", false
	}
	next, _ := utf8.DecodeRuneInString(rest[1:])
	if len(rest) > 1 && !strings.ContainsRune(").:,;\r\n\"'`", next) {
		return "", false
	}
	return rest[:1], true
}

// parenthesised takes a text apart that begins with a capital letter in parentheses.
func parenthesised(s string) (letter, rest string, ok bool) {
	if len(s) < 3 || s[0] != '(' || s[1] < 'A' || s[1] > 'Z' || s[2] != ')' {
		return "", s, false
	}
	return s[1:2], strings.TrimLeftFunc(s[3:], unicode.IsSpace), true
}

// anyParenthesised is a capital letter in parentheses.
var anyParenthesised = regexp.MustCompile(`\(([A-Z])\)`)

// labelled says whether an answer gives a label.
func labelled(answer, label string) bool {
	letter, rest, ok := parenthesised(strings.TrimSpace(label))
	if !ok {
		return holds(answer, label)
	}
	if m := anyParenthesised.FindStringSubmatch(answer); m != nil {
		return m[1] == letter
	}
	if l, ok := leading(answer); ok {
		return l == letter
	}
	return rest != "" && holds(answer, rest)
}
