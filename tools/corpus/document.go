package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"headinfer/eval/prose"
)

// charactersAToken is what SmolLM2's tokenizer makes of this prose, on average.
const charactersAToken = 4.1

// spec is what is fixed about a document before its words are chosen.
type spec struct {
	name   string
	tokens int
	// depth is where the fact stands: 0 in the first paragraph, 1 in the last.
	depth float64
	// place is what the fact and the question are about.
	place string
}

// specs are the corpus. The number before a name is its length in thousands of tokens.
var specs = []spec{
	{"01k-boat-shed", 960, 0.1, "the boat shed"},
	{"01k-clock-tower", 960, 0.3, "the clock tower"},
	{"01k-north-gate", 960, 0.5, "the north gate"},
	{"01k-glass-house", 960, 0.7, "the glass house"},
	{"01k-wine-cellar", 960, 0.9, "the wine cellar"},
	{"02k-sea-chest", 1900, 0.2, "the sea chest"},
	{"02k-bell-room", 1900, 0.5, "the bell room"},
	{"02k-salt-store", 1900, 0.8, "the salt store"},
	{"03k-stone-bridge", 3450, 0.35, "the stone bridge"},
	{"03k-iron-safe", 3450, 0.75, "the iron safe"},
	{"05k-map-room", 4950, 0.6, "the map room"},
	{"07k-old-granary", 6750, 0.45, "the old granary"},
}

// document is one text, the question asked about it, and the key that a right answer holds.
type document struct {
	name, text, question, key string
}

// generate makes the document of s, which is the index-th of the corpus of that seed.
func generate(s spec, themes []prose.Theme, seed uint64, index int) (document, error) {
	rng := rand.New(rand.NewPCG(seed, uint64(index)))
	key := fmt.Sprint(10000 + rng.IntN(90000))
	fact := fmt.Sprintf("The secret code of %s is %s.", s.place, key)
	length := int(float64(s.tokens) * charactersAToken)
	a := prose.NewAuthor(themes, rng)
	var text strings.Builder
	text.WriteString(a.Title())
	for planted := false; text.Len() < length || !planted; {
		sentences, err := a.Paragraph()
		if err != nil {
			return document{}, fmt.Errorf("document %s: %w", s.name, err)
		}
		if !planted && float64(text.Len()) >= s.depth*float64(length)-300 {
			sentences = slices.Insert(sentences, len(sentences)/2, fact)
			planted = true
		}
		text.WriteString("\n\n" + strings.Join(sentences, " "))
	}
	text.WriteString("\n")
	return document{
		name:     s.name,
		text:     text.String(),
		question: fmt.Sprintf("What is the secret code of %s?", s.place),
		key:      key,
	}, nil
}

// corpus generates every document of the seed's corpus.
func corpus(seed uint64) ([]document, error) {
	themes, err := prose.Themes()
	if err != nil {
		return nil, err
	}
	documents := make([]document, len(specs))
	for i, s := range specs {
		if documents[i], err = generate(s, themes, seed, i); err != nil {
			return nil, err
		}
	}
	return documents, nil
}

// writeCorpus generates the seed's corpus and writes it into the folder dir.
func writeCorpus(dir string, seed uint64) error {
	documents, err := corpus(seed)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making the corpus folder: %w", err)
	}
	for _, d := range documents {
		for suffix, content := range d.files() {
			if err := os.WriteFile(filepath.Join(dir, d.name+suffix), []byte(content), 0o644); err != nil {
				return fmt.Errorf("writing the corpus: %w", err)
			}
		}
	}
	return nil
}

// files is what a document is on disk, by suffix.
func (d document) files() map[string]string {
	return map[string]string{".txt": d.text, ".question": d.question + "\n", ".answer": d.key + "\n"}
}
