// Package prose writes plain English of any length from sentence grammars, the files of this folder: what facts are hidden
// in. It holds no digits, and the same random numbers give the same bytes on every machine.
//
// A grammar has three sections, "== openings", "== middles" and "== closings", with one sentence template a line. In a
// template {name} is a slot and [a|b|c] a choice between words.
package prose

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
)

// ErrSpent says that an author can write no more without repeating a sentence.
var ErrSpent = errors.New("the document is too long for the prose")

// An Author writes one document: it stays in one town, moves from theme to theme, gives each paragraph a person, and
// never writes the same sentence twice.
type Author struct {
	rng     *rand.Rand
	town    string
	themes  *deck[int]
	pieces  []pieces
	people  *deck[person]
	friends *deck[string]
	// last is the theme of the paragraph before, which the next one avoids.
	last    int
	written map[string]bool
}

// pieces are one theme's sentence templates, dealt without repeats until all have been used.
type pieces struct{ openings, middles, closings *deck[string] }

var towns = []string{"Wrenford", "Saltmere", "Aldery", "Port Hallow", "Thistledown", "Old Quay", "Marrow Bay", "Kestrel"}

var titles = []string{
	"A Year in {town}", "Notes from {town}", "The {town} Almanac", "Some People of {town}", "Four Seasons in {town}",
	"What They Say in {town}",
}

// NewAuthor returns one who has not written yet, about two themes or more.
func NewAuthor(themes []Theme, rng *rand.Rand) *Author {
	a := &Author{
		rng:     rng,
		town:    towns[rng.IntN(len(towns))],
		people:  newDeck(people, rng),
		friends: newDeck(friends, rng),
		last:    -1,
		written: map[string]bool{},
	}
	order := make([]int, len(themes))
	for i, t := range themes {
		order[i] = i
		a.pieces = append(a.pieces, pieces{newDeck(t.Openings, rng), newDeck(t.Middles, rng), newDeck(t.Closings, rng)})
	}
	a.themes = newDeck(order, rng)
	return a
}

// Title is the document's first line.
func (a *Author) Title() string {
	return strings.ReplaceAll(titles[a.rng.IntN(len(titles))], "{town}", a.town)
}

// Paragraph writes the sentences of one more paragraph: an opening, three to five middles, a closing. The error is ErrSpent
// when the themes give no new sentence.
func (a *Author) Paragraph() ([]string, error) {
	at := a.themes.deal()
	for at == a.last {
		at = a.themes.deal()
	}
	a.last = at
	p := a.pieces[at]
	who := a.people.deal()
	words := map[string]string{
		"who": who.name, "town": a.town, "he": who.he, "him": who.him, "his": who.his,
		"He": strings.ToUpper(who.he[:1]) + who.he[1:], "His": strings.ToUpper(who.his[:1]) + who.his[1:],
	}
	sentences := make([]string, 0, 8)
	used := map[string]bool{}
	write := func(from *deck[string]) error {
		sentence, err := a.sentence(from, words, used)
		if err != nil {
			return err
		}
		sentences = append(sentences, sentence)
		// The whole name introduces a person; after that the first name is enough.
		words["who"], _, _ = strings.Cut(who.name, " ")
		return nil
	}
	if err := write(p.openings); err != nil {
		return nil, err
	}
	for range 3 + a.rng.IntN(3) {
		if err := write(p.middles); err != nil {
			return nil, err
		}
	}
	if err := write(p.closings); err != nil {
		return nil, err
	}
	return sentences, nil
}

// sentence fills the next template that is not among those used, which are the paragraph's so far, and gives a sentence
// not yet in the document. It adds the template to used.
func (a *Author) sentence(from *deck[string], words map[string]string, used map[string]bool) (string, error) {
	lookup := func(name string) (string, bool) {
		if word, ok := words[name]; ok {
			return word, true
		}
		if name == "friend" {
			return a.friends.deal(), true
		}
		list, ok := slots[name]
		if !ok {
			return "", false
		}
		return list[a.rng.IntN(len(list))], true
	}
	// Once a deck has been through, its plain sentences are used up and only those with slots can still be new.
	for range 4 * len(from.items) {
		template := from.deal()
		if used[template] {
			continue
		}
		sentence, err := expand(template, lookup, a.rng.IntN)
		if err != nil {
			return "", err
		}
		if !a.written[sentence] {
			a.written[sentence], used[template] = true, true
			return sentence, nil
		}
	}
	return "", fmt.Errorf("%w: the theme's %d templates give no new sentence", ErrSpent, len(from.items))
}
