package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"headinfer/eval/prose"
)

// perToken is how many characters of the prose are a token of the built-in model, about.
const perToken = 4.1

// writeDocuments writes the documents, each with a fact and a question about it.
func (t *trial) writeDocuments() error {
	themes, err := prose.Themes()
	if err != nil {
		return err
	}
	file, err := os.Create(filepath.Join(t.dir, "documents.jsonl"))
	if err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(t.seed, 1))
	w := bufio.NewWriter(file)
	encoder := json.NewEncoder(w)
	for i := range t.documents {
		tokens := 50 + r.IntN(351)
		if i%1000 >= 997 {
			tokens = 8192
		}
		if i%200 == 100 {
			tokens = 0
			t.empty++
		}
		text, err := text(themes, r, int(float64(tokens)*perToken))
		if err != nil {
			return errors.Join(err, file.Close())
		}
		key := fmt.Sprintf("%05d", r.IntN(100000))
		at := strings.Index(text, " ") + 1
		if tokens > 0 {
			text = text[:at] + "The access code of the north gate is " + key + ". " + text[at:]
		}
		if err := encoder.Encode(map[string]string{
			"id": fmt.Sprintf("doc-%06d", i), "text": text, "question": "What is the access code of the north gate?",
		}); err != nil {
			return errors.Join(err, file.Close())
		}
	}
	return errors.Join(w.Flush(), file.Close())
}

// text is prose of about so many characters.
func text(themes []prose.Theme, r *rand.Rand, characters int) (string, error) {
	var b strings.Builder
	author := prose.NewAuthor(themes, r)
	for b.Len() < characters {
		sentences, err := author.Paragraph()
		if errors.Is(err, prose.ErrSpent) { // its author has said all
			author = prose.NewAuthor(themes, r)
			continue
		}
		if err != nil {
			return "", err
		}
		for _, s := range sentences {
			if b.Len() >= characters {
				break
			}
			b.WriteString(s + " ")
		}
		b.WriteString("\n")
	}
	return b.String(), nil
}
