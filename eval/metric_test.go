package eval

import (
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestMetrics has answers whose scores were worked out by hand.
func TestMetrics(t *testing.T) {
	option := []string{"B", "The miller's son"}
	for _, c := range []struct {
		metric   Metric
		answer   string
		expected []string
		want     float64
	}{
		{Verbatim, "It is 7F3a-01.", []string{"7F3a-01"}, 1},
		{Verbatim, "It is 7f3a-01.", []string{"7F3a-01"}, 0},
		{Verbatim, "xx", []string{"yy", "x"}, 1},

		{Letter, "The correct answer is (C).", []string{"C"}, 1},
		{Letter, "The correct answer is (C).", []string{"D"}, 0},
		{Letter, "Well. **The correct answer is C**", []string{"C"}, 1},
		{Letter, "The correct answer is **(A)**, not (B).", []string{"A"}, 1},
		{Letter, "The correct answer is A? No: The correct answer is (B)", []string{"B"}, 1},
		{Letter, "The correct answer is (E)", []string{"E"}, 0},
		{Letter, "the correct answer is (C)", []string{"C"}, 0},
		{Letter, "(C)", []string{"C"}, 0},
		{Letter, "The correct answer is:\n(C)", []string{"C"}, 0},
		{Letter, "", []string{"C"}, 0},

		{Choice, "The correct answer is (B).", option, 1},
		{Choice, "The correct answer is (A), the miller's son", option, 0},
		{Choice, "B", option, 1},
		{Choice, " (B) The miller's son", option, 1},
		{Choice, "**B.** He did", option, 1},
		{Choice, "C. The miller's son", option, 0},
		{Choice, "the Miller's son.\nHe had a key.", option, 1},
		{Choice, "The miller's son-in-law", option, 0},
		{Choice, "The answer is B", option, 1},
		{Choice, "I am sure the ANSWER: the miller's son", option, 1},
		{Choice, "So my choice is D, though B is near.", option, 0},
		{Choice, "A man was seen; I take B", option, 1}, // A is a word there
		{Choice, "Because of the key it must be B.", option, 1},
		{Choice, "Aboard, nobody knows", option, 0},
		{Choice, "I, of course", option, 0},
		{Choice, "", option, 0},
		{Choice, "B", []string{"A", "B"}, 0}, // a letter, though it is the text of another
		{Choice, "...", []string{"A", "..."}, 0},

		{Label, "(B) Monday", []string{"(B) Monday"}, 1},
		{Label, "(C) Monday", []string{"(B) Monday"}, 0},
		{Label, "It is (B).", []string{"(B)"}, 1},
		{Label, "B", []string{"(B)"}, 1},
		{Label, "D. Monday", []string{"(B) Monday"}, 0},
		{Label, "on MONDAY", []string{"(B) Monday"}, 1},
		{Label, "B is near", []string{"(B)"}, 0},
		{Label, "It is Sport, I think", []string{"sport"}, 1},
		{Label, "politics", []string{"sport"}, 0},

		// 中 and 国 of 中国人 and 中国: precision 2/3, recall 1.
		{Characters, "中国人。", []string{"《中国》"}, 0.8},
		{Characters, "中 国", []string{"中国"}, 1},
		{Characters, "法国", []string{"英语", "中国"}, 0.5},
		{Characters, "“Ab！”", []string{"aB"}, 1},
		{Characters, "。，", []string{"中"}, 0},
		{Characters, "一一二", []string{"一二二"}, 2.0 / 3},
	} {
		if got := Score(Task{Metric: c.metric}, c.answer, c.expected); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("metric %d, %q, %q: %g, expected %g", c.metric, c.answer, c.expected, got, c.want)
		}
		if got := Score(Task{Metric: c.metric}, c.answer, nil); got != 0 {
			t.Errorf("metric %d, %q, nothing expected: %g", c.metric, c.answer, got)
		}
	}
}

// TestF1 has answers whose scores were worked out by hand.
func TestF1(t *testing.T) {
	for _, c := range []struct {
		answer   string
		expected []string
		want     float64
	}{
		{"The Orrin mill", []string{"orrin mill!"}, 1},
		{"an old mill at Orrin", []string{"Orrin"}, 0.4},                 // old mill at orrin: 1/4, 1/1
		{"the mill", []string{"in trees", "a mill by the water"}, 0.5},   // 1/1, 1/3
		{"mill mill mill", []string{"mill mill"}, 0.8},                   // 2/3, 2/2
		{"1,712", []string{"1712"}, 1},                                   // punctuation is taken out, not replaced
		{"well-known", []string{"well known"}, 0},                        // so these are other words
		{"theatre", []string{"atre"}, 0},                                 // an article is a word
		{"“the” mill", []string{"“” mill"}, 0.4},                         // “, ” and mill: 1/3, 1/2
		{"the an a", []string{"the"}, 0},                                 // nothing is left
		{"MÜHLE", []string{"mühle"}, 1},                                  // case
		{"", []string{"x"}, 0}, {"x", nil, 0}, {"x y", []string{"z"}, 0}, // nothing in common
	} {
		if got := F1(c.answer, c.expected); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%q, %q: %g, expected %g", c.answer, c.expected, got, c.want)
		}
	}
}

// TestF1OfRandomWords compares with another count: patterns, and pairs struck off two lists.
func TestF1OfRandomWords(t *testing.T) {
	seed := freshSeed(t)
	r := rand.New(rand.NewPCG(seed, 2))
	some := []string{"the", "a", "An", "mill", "Mill,", "river", "«river»", "(1712)", "THE.", "old", "anthem", "é", "\t", "a_b", "…"}
	marks := regexp.MustCompile("[!-/:-@\\[-`{-~]")
	article := regexp.MustCompile(`(^|[^\pL\pN])(a|an|the)($|[^\pL\pN])`)
	split := func(s string) []string {
		s = marks.ReplaceAllString(strings.ToLower(s), "")
		for article.MatchString(s) {
			s = article.ReplaceAllString(s, "$1 $3")
		}
		return strings.Fields(s)
	}
	for range 500 {
		draw := func() string {
			var list []string
			for range r.IntN(9) {
				list = append(list, some[r.IntN(len(some))])
			}
			return strings.Join(list, " ")
		}
		answer, expected := draw(), draw()
		said, left := split(answer), split(expected)
		n, same := len(left), 0
		for _, w := range said {
			if i := slices.Index(left, w); i >= 0 {
				left = slices.Delete(left, i, i+1)
				same++
			}
		}
		want := 0.0
		if same > 0 {
			precision, recall := float64(same)/float64(len(said)), float64(same)/float64(n)
			want = 2 * precision * recall / (precision + recall)
		}
		if got := F1(answer, []string{expected}); math.Abs(got-want) > 1e-12 {
			t.Errorf("%q, %q: %g, the other count gives %g", answer, expected, got, want)
		}
	}
}
