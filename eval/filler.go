package eval

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"

	"headinfer/eval/prose"
)

// piece is a sentence with the white space before it.
type piece struct {
	text   string
	tokens int
}

// filler is prose that grows as it is asked for; its beginning never changes.
type filler struct {
	*drafter
	themes []prose.Theme
	author *prose.Author
	pieces []piece
}

func (d *drafter) filler() (*filler, error) {
	themes, err := prose.Themes()
	if err != nil {
		return nil, err
	}
	f := &filler{drafter: d, themes: themes}
	f.start()
	f.add(f.author.Title())
	return f, nil
}

// start gives the pen to a new author, who may say what an earlier one said.
func (f *filler) start() { f.author = prose.NewAuthor(f.themes, f.rng) }

func (f *filler) add(text string) { f.pieces = append(f.pieces, piece{text, f.Count(text)}) }

// piece returns a sentence of the prose by its number.
func (f *filler) piece(i int) (piece, error) {
	for i >= len(f.pieces) {
		sentences, err := f.author.Paragraph()
		if errors.Is(err, prose.ErrSpent) {
			f.start()
			continue
		}
		if err != nil {
			return piece{}, err
		}
		for n, s := range sentences {
			f.add(breakBefore(n) + s)
		}
	}
	return f.pieces[i], nil
}

// breakBefore is what stands before the n-th sentence of a paragraph.
func breakBefore(n int) string {
	if n == 0 {
		return "\n\n"
	}
	return " "
}

const (
	// spares are how many sentences the last ones are chosen from.
	spares = 28
	// lastPieces are how many may be chosen.
	lastPieces = 3
)

// fill returns prose of as near to room tokens as whole sentences come: its beginning, and last sentences chosen to fit.
func (f *filler) fill(room int) ([]piece, error) {
	var out []piece
	sum := 0
	for i := 0; ; i++ {
		p, err := f.piece(i)
		if err != nil {
			return nil, err
		}
		sum += p.tokens
		// What is left should be what a few sentences of the mean length make.
		if room-p.tokens < 2*sum/(i+1) {
			return f.finish(out, i, room)
		}
		out = append(out, p)
		room -= p.tokens
	}
}

// finish adds the sentences, among those from the number from on, that come nearest to room.
func (f *filler) finish(out []piece, from, room int) ([]piece, error) {
	var spare []piece
	for i := max(from, 1); len(spare) < spares; i++ { // the title is none
		p, err := f.piece(i)
		if err != nil {
			return nil, err
		}
		// They come last, so none begins a paragraph.
		text := " " + strings.TrimSpace(p.text)
		spare = append(spare, piece{text, f.Count(text)})
	}
	best, off := []piece(nil), abs(room)
	var choose func(from, room int, chosen []piece)
	choose = func(from, room int, chosen []piece) {
		if abs(room) < off {
			best, off = slices.Clone(chosen), abs(room)
		}
		for i := from; i < len(spare) && len(chosen) < lastPieces; i++ {
			choose(i+1, room-spare[i].tokens, append(chosen, spare[i]))
		}
	}
	choose(0, room, nil)
	return append(out, best...), nil
}

// fact is a sentence to plant, and where: 0 is the beginning of the text, 1 its end.
type fact struct {
	sentence string
	depth    float64
}

// planted returns a draft's body: prose with facts in it.
func (d *drafter) planted(facts []fact) (func(room int) (string, error), error) {
	f, err := d.filler()
	if err != nil {
		return nil, err
	}
	facts = slices.Clone(facts)
	sort.SliceStable(facts, func(i, j int) bool { return facts[i].depth < facts[j].depth })
	taken := 0
	for _, x := range facts {
		taken += d.Count(" " + x.sentence)
	}
	return func(room int) (string, error) {
		if room < taken {
			return "", fmt.Errorf("%w: the facts take %d, and %d are left for them", ErrShort, taken, room)
		}
		pieces, err := f.fill(room - taken)
		if err != nil {
			return "", err
		}
		return plant(pieces, facts), nil
	}, nil
}

// plant joins the pieces with the facts, which are in the order of their depths, between them.
func plant(pieces []piece, facts []fact) string {
	whole := 0
	for _, p := range pieces {
		whole += p.tokens
	}
	var out strings.Builder
	done := 0
	for i, p := range pieces {
		// A fact is no part of the title, which is the first piece.
		for i > 0 && len(facts) > 0 && facts[0].depth < 1 && done >= int(math.Round(facts[0].depth*float64(whole))) {
			if i == 1 {
				out.WriteString("\n\n")
			} else {
				out.WriteByte(' ')
			}
			out.WriteString(facts[0].sentence)
			facts = facts[1:]
		}
		out.WriteString(p.text)
		done += p.tokens
	}
	for _, x := range facts {
		if out.Len() > 0 {
			out.WriteByte(' ')
		}
		out.WriteString(x.sentence)
	}
	return out.String()
}
