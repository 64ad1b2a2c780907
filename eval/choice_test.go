package eval

import "testing"

// TestChoiceOfA tells the letter from the article.
func TestChoiceOfA(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]string{
		"A man did it, I think.":                "",
		"Surely a man. A novel.":                "",
		"A by-product, no doubt":                "",
		"The answer is A man":                   "",
		"A man was seen, so (C)":                "C",
		"A thief came. A  guard saw: I say A!":  "A",
		"A is right":                            "A",
		"My answer is A because he had the key": "A",
		"I take A":                              "A",
		"Of A and B the former":                 "A",
		"A B or so":                             "A",
		"I take A: a man":                       "A",
		"It must be B then":                     "B",
	} {
		for _, letter := range []string{"A", "B", "C", "D"} {
			if got := chooses(answer, []string{letter, "none of the texts"}); got != (letter == want) {
				t.Errorf("%q chooses %s: %v; expected %q", answer, letter, got, want)
			}
		}
	}
}
