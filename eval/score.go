package eval

import (
	"slices"
	"strings"
	"unicode"
)

// Metric says how an answer is compared with what is expected. Every one gives 0 for wrong to 1 for right.
type Metric int

const (
	// Share is how many of the expected strings the answer holds, in any case of letters, as RULER counts it.
	Share Metric = iota
	// AnyOne is 1 if the answer holds one of the expected strings, in any case of letters.
	AnyOne
	// Verbatim is 1 if the answer holds one of the expected strings letter for letter.
	Verbatim
	// Letter is 1 if the answer says that the expected letter is the correct answer, in the words that LongBench v2 asks
	// for and looks for: "The correct answer is (B)", with or without parentheses. Asterisks do not count.
	Letter
	// Choice is 1 if the answer chooses an option of A to D by its letter, in Letter's words or others, or is its text.
	// Expected are the letter and the text.
	Choice
	// Label is 1 if the answer gives the expected label; of one that begins with a letter in parentheses, "(B) Monday",
	// the letter in parentheses that comes first decides, and without one the rest of the label.
	Label
	// Characters is the F1 of the characters, for languages written without spaces. Punctuation does not count.
	Characters
)

// Score returns how much of a task's answer is right, 0 to 1. It is 0 when nothing is expected.
func Score(task Task, answer string, expected []string) float64 {
	if len(expected) == 0 {
		return 0
	}
	switch task.Metric {
	case AnyOne:
		return one(found(answer, expected) > 0)
	case Verbatim:
		return one(slices.ContainsFunc(expected, func(want string) bool { return strings.Contains(answer, want) }))
	case Letter:
		letter, ok := stated(answer)
		return one(ok && letter == expected[0])
	case Choice:
		return one(chooses(answer, expected))
	case Label:
		return one(slices.ContainsFunc(expected, func(want string) bool { return labelled(answer, want) }))
	case Characters:
		return bestF1(answer, expected, characters)
	}
	return float64(found(answer, expected)) / float64(len(expected))
}

func one(right bool) float64 {
	if right {
		return 1
	}
	return 0
}

// found counts the expected strings that an answer holds, in any case of letters.
func found(answer string, expected []string) int {
	n := 0
	for _, want := range expected {
		if holds(answer, want) {
			n++
		}
	}
	return n
}

func holds(answer, want string) bool {
	return strings.Contains(strings.ToLower(answer), strings.ToLower(want))
}

// F1 returns how well the words of an answer are those of an expected one, the best of them: the harmonic mean of the
// share of the answer's words that are expected and of the expected words that the answer has, as SQuAD counts it. Case,
// punctuation and the articles do not count. It is 0 when nothing is expected.
func F1(answer string, expected []string) float64 { return bestF1(answer, expected, words) }

func bestF1(answer string, expected []string, split func(string) []string) float64 {
	best, said := 0.0, split(answer)
	for _, want := range expected {
		best = max(best, f1(said, split(want)))
	}
	return best
}

func f1(said, want []string) float64 {
	left := map[string]int{}
	for _, w := range want {
		left[w]++
	}
	same := 0
	for _, w := range said {
		if left[w] > 0 {
			left[w]--
			same++
		}
	}
	if same == 0 {
		return 0
	}
	// 2pr/(p+r) with p = same/said and r = same/want.
	return 2 * float64(same) / float64(len(said)+len(want))
}

// words are those that SQuAD compares: in lower case, without ASCII punctuation, articles left out. Punctuation goes
// first, so that "a-b" is one word and "the" in other quotation marks still an article.
func words(s string) []string {
	bare := strings.Map(func(r rune) rune {
		if isASCIIMark(r) {
			return -1
		}
		return r
	}, strings.ToLower(s))
	var out strings.Builder
	for len(bare) > 0 {
		end := strings.IndexFunc(bare, func(r rune) bool { return !isWord(r) })
		if end < 0 {
			end = len(bare)
		}
		if run := bare[:end]; run != "a" && run != "an" && run != "the" {
			out.WriteString(run)
		} else {
			out.WriteByte(' ')
		}
		bare = bare[end:]
		next := strings.IndexFunc(bare, isWord)
		if next < 0 {
			next = len(bare)
		}
		out.WriteString(bare[:next])
		bare = bare[next:]
	}
	return strings.Fields(out.String())
}

// characters are those that are compared where words have no spaces between them.
func characters(s string) []string {
	var all []string
	for _, r := range strings.ToLower(s) {
		if !unicode.IsSpace(r) && !isASCIIMark(r) && !isWideMark(r) {
			all = append(all, string(r))
		}
	}
	return all
}

func isWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }

// isASCIIMark says whether a character is one of ASCII's 32 that are no letter, digit, space or control.
func isASCIIMark(r rune) bool { return r > ' ' && r < 0x7f && !isWord(r) }

// isWideMark says whether a character is punctuation as Chinese texts have it.
func isWideMark(r rune) bool {
	switch {
	case r >= 0x3000 && r <= 0x303f, r >= 0xff00 && r <= 0xffef: // CJK symbols and punctuation; full width forms
		return unicode.IsPunct(r) || unicode.IsSymbol(r)
	case r >= 0x2010 && r <= 0x2027, r == 0xfe4f: // dashes, quotation marks, ellipsis; wavy low line
		return true
	}
	return false
}
