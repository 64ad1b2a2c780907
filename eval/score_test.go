package eval

import (
	"math"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
)

// otherScore counts as Score does, by other means: a pattern that ignores
// case, and fractions added up.
func otherScore(anyOne bool, answer string, expected []string) float64 {
	sum, most := 0.0, 0.0
	for _, want := range expected {
		hit := 0.0
		if regexp.MustCompile("(?is)" + regexp.QuoteMeta(want)).MatchString(answer) {
			hit = 1
		}
		sum += hit / float64(len(expected))
		most = math.Max(most, hit)
	}
	if anyOne {
		return most
	}
	return sum
}

func TestScoreFixed(t *testing.T) {
	for _, c := range []struct {
		task, answer string
		expected     []string
		want         float64
	}{
		{"niah_single", "The access code of the north gate is 48213.", []string{"48213"}, 1},
		{"niah_single", "The access code of the north gate is 48231.", []string{"48213"}, 0},
		{"niah_single", "", []string{"48213"}, 0},
		{"niah_multikey", "4 8213", []string{"48213"}, 0},
		{"niah_multivalue", "They are 11111, 22222 and 33333.", []string{"11111", "22222", "33333", "44444"}, 0.75},
		{"niah_multiquery", "22222\n11111", []string{"11111", "22222"}, 1},
		{"vt", "12345 is stored in kqx. KQX is copied to Zbt.", []string{"KQX", "ZBT", "WWW", "RRR", "TTT"}, 0.4},
		{"cwe", "1. Gate 2. tower", []string{"gate", "tower", "bridge", "barn", "mill", "vault", "depot", "ferry", "kiln", "forge"}, 0.2},
		{"fwe", "abcdef, ghijkl, zzzzzz", []string{"abcdef", "ghijkl", "mnopqr"}, 2.0 / 3},
		{"qa", "It was ON THE GROUND.", []string{"in trees", "the ground"}, 1},
		{"qa", "Nobody knows.", []string{"in trees", "the ground"}, 0},
		{"qa", "Nobody knows.", nil, 0},
		{"vt", "Nothing.", nil, 0},
	} {
		task, ok := Find(c.task)
		if !ok {
			t.Fatal(c.task)
		}
		if got := Score(task, c.answer, c.expected); math.Abs(got-c.want) > 1e-12 || math.Abs(got-otherScore(task.Metric == AnyOne, c.answer, c.expected)) > 1e-12 {
			t.Errorf("%s, %q, %q: %g, expected %g", c.task, c.answer, c.expected, got, c.want)
		}
	}
}

// TestScoreOfSamples answers samples of every task rightly, wrongly and in part, and compares with the other scorer.
func TestScoreOfSamples(t *testing.T) {
	seed := freshSeed(t)
	r := rand.New(rand.NewPCG(seed, 1))
	g := generator(t, wordsOf)
	for _, task := range madeTasks() {
		s := sample(t, g, task, 2000, 0.5, seed)
		if got := Score(task, "So: "+strings.ToUpper(strings.Join(s.Expected, "; ")), s.Expected); got != 1 {
			t.Errorf("%s: a right answer scores %g", task.Name, got)
		}
		if got := Score(task, "I cannot say.", s.Expected); got != 0 {
			t.Errorf("%s: a wrong answer scores %g", task.Name, got)
		}
		for range 20 {
			var said []string
			for _, want := range s.Expected {
				if r.IntN(2) == 0 {
					said = append(said, want)
				}
			}
			answer := strings.Join(said, " and ")
			anyOne := task.Metric == AnyOne
			want := otherScore(anyOne, answer, s.Expected)
			if got := Score(task, answer, s.Expected); math.Abs(got-want) > 1e-12 || !anyOne && math.Abs(got-float64(len(said))/float64(len(s.Expected))) > 1e-12 {
				t.Errorf("%s: %q of %q scores %g, the other scorer says %g", task.Name, answer, s.Expected, got, want)
			}
		}
	}
}
