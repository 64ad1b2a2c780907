package main

import (
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"headinfer/eval/prose"
)

// committed is the corpus that the repository holds, written with seed 1.
const committed = "../../testdata/corpus"

func freshSeed(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return seed
}

func generateCorpus(t *testing.T, seed uint64) []document {
	t.Helper()
	documents, err := corpus(seed)
	if err != nil {
		t.Fatal(err)
	}
	return documents
}

func TestCommittedCorpusIsSeedOne(t *testing.T) {
	files := 0
	for _, d := range generateCorpus(t, 1) {
		for suffix, want := range d.files() {
			got, err := os.ReadFile(filepath.Join(committed, d.name+suffix))
			if err != nil {
				t.Fatal(err)
			}
			if strings.ReplaceAll(string(got), "\r\n", "\n") != want {
				t.Errorf("%s%s is not what seed 1 gives; run go run ./tools/corpus -out testdata/corpus -seed 1", d.name, suffix)
			}
			files++
		}
	}
	entries, err := os.ReadDir(committed)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != files {
		t.Errorf("%s holds %d files, expected the %d of the corpus", committed, len(entries), files)
	}
}

func TestSameSeedSameTexts(t *testing.T) {
	seed := freshSeed(t)
	first, again, other := generateCorpus(t, seed), generateCorpus(t, seed), generateCorpus(t, seed+1)
	for i := range first {
		if first[i] != again[i] {
			t.Errorf("%s differs between two runs of seed %d", first[i].name, seed)
		}
		if first[i].text == other[i].text {
			t.Errorf("%s is the same for seeds %d and %d", first[i].name, seed, seed+1)
		}
	}
}

func TestEachDocumentHoldsItsFactOnce(t *testing.T) {
	fiveDigits := regexp.MustCompile(`^[1-9][0-9]{4}$`)
	seed := freshSeed(t)
	for _, s := range []uint64{1, seed} {
		for i, d := range generateCorpus(t, s) {
			if !fiveDigits.MatchString(d.key) {
				t.Errorf("%s: key %q, expected five digits", d.name, d.key)
			}
			if n := strings.Count(d.text, d.key); n != 1 {
				t.Errorf("%s: the key occurs %d times, expected once", d.name, n)
			}
			if digits := regexp.MustCompile(`[0-9]+`).FindAllString(d.text, -1); len(digits) != 1 {
				t.Errorf("%s: numbers %q in digits, expected only the key", d.name, digits)
			}
			if n := strings.Count(strings.ToLower(d.text), specs[i].place); n != 1 {
				t.Errorf("%s: %q occurs %d times, expected once", d.name, specs[i].place, n)
			}
			if strings.Contains(d.question, d.key) || !strings.Contains(d.question, specs[i].place) {
				t.Errorf("%s: question %q", d.name, d.question)
			}
		}
	}
}

func TestLengthsAndDepths(t *testing.T) {
	for i, d := range generateCorpus(t, freshSeed(t)) {
		want := float64(specs[i].tokens)
		if got := float64(len(d.text)) / charactersAToken; got < want || got > want+200 {
			t.Errorf("%s: about %.0f tokens, expected %.0f to %.0f", d.name, got, want, want+200)
		}
		// A paragraph is up to 150 tokens, and the fact stands in the middle of one.
		at := float64(strings.Index(d.text, d.key)) / charactersAToken
		if math.Abs(at-specs[i].depth*want) > 150 {
			t.Errorf("%s: the fact stands at about token %.0f, expected near %.0f", d.name, at, specs[i].depth*want)
		}
	}
}

func TestNoSentenceTwice(t *testing.T) {
	end := regexp.MustCompile(`[.?!]"?(\s+|$)`)
	for _, d := range generateCorpus(t, freshSeed(t)) {
		seen := map[string]bool{}
		for _, sentence := range end.Split(d.text, -1) {
			if words := strings.Fields(sentence); len(words) > 4 {
				if seen[sentence] {
					t.Errorf("%s says twice: %q", d.name, sentence)
				}
				seen[sentence] = true
			}
		}
		if strings.ContainsAny(d.text, "{}[]|") {
			t.Errorf("%s holds an unfilled template", d.name)
		}
	}
}

func TestTooLongForTheProse(t *testing.T) {
	one := prose.Theme{Name: "one", Openings: []string{"A."}, Middles: []string{"B."}, Closings: []string{"C."}}
	two := prose.Theme{Name: "two", Openings: []string{"D."}, Middles: []string{"E."}, Closings: []string{"F."}}
	_, err := generate(spec{"long", 1000, 0.5, "the hut"}, []prose.Theme{one, two}, 1, 0)
	if err == nil || !strings.Contains(err.Error(), "document long") || !errors.Is(err, prose.ErrSpent) {
		t.Errorf("error %v, expected one that names the document and says that the prose ran out", err)
	}
}
