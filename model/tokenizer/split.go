package tokenizer

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// piece is a part of a text on its way from the added tokens to the model.
type piece struct {
	text  string
	start bool // the text begins with it: some tokenizers put a space in front of no other
}

// splitter is a pre-tokenizer: it cuts a piece into pieces, none of which is merged with its neighbours.
type splitter interface {
	// split gives the parts of the non-empty p to emit in order. None is empty.
	split(p piece, emit func(piece)) error
}

// class is what the splitting rules ask of a character. Invalid UTF-8 counts as U+FFFD, one for each byte: other.
type class uint8

const (
	other   class = iota
	letter        // general category L
	number        // general category N
	space         // White_Space, but for the two below
	newline       // \r and \n
)

func (c class) isSpace() bool { return c >= space }

var asciiClass = func() (t [utf8.RuneSelf]class) {
	for i := range t {
		t[i] = classOf(rune(i))
	}
	return t
}()

func classOf(r rune) class {
	switch {
	case r == '\r' || r == '\n':
		return newline
	case unicode.IsLetter(r):
		return letter
	case unicode.IsNumber(r):
		return number
	case unicode.IsSpace(r):
		return space
	}
	return other
}

// classAt is the class of the first character of the non-empty s, and its length in bytes.
func classAt(s string) (class, int) {
	if s[0] < utf8.RuneSelf {
		return asciiClass[s[0]], 1
	}
	r, n := utf8.DecodeRuneInString(s)
	return classOf(known(r)), n
}

func isNumber(r rune) bool { return unicode.IsNumber(known(r)) }

// run is where the characters of class c from offset at end.
func run(s string, at int, c class) int {
	for at < len(s) {
		got, n := classAt(s[at:])
		if got != c {
			break
		}
		at += n
	}
	return at
}

// prefixSpace puts a space before each piece that doesn't begin with one.
type prefixSpace struct{}

func (prefixSpace) split(p piece, emit func(piece)) error {
	if p.text[0] != ' ' {
		p.text = " " + p.text
	}
	emit(p)
	return nil
}

// metaspace spells each space as mark, puts one in front, and cuts before each.
type metaspace struct {
	mark  string
	front front
	whole bool // don't cut
}

// front says which pieces get a mark in front, where they have none.
type front uint8

const (
	frontNone front = iota
	frontStart
	frontAll
)

func (m metaspace) split(p piece, emit func(piece)) error {
	s := strings.ReplaceAll(p.text, " ", m.mark)
	if (m.front == frontAll || m.front == frontStart && p.start) && !strings.HasPrefix(s, m.mark) {
		s = m.mark + s
	}
	for !m.whole {
		// The last of several marks begins the word, and the others are words of their own: a cut is before every mark.
		at := strings.Index(s[1:], m.mark)
		if at < 0 {
			break
		}
		emit(piece{text: s[:at+1], start: p.start})
		s, p.start = s[at+1:], false
	}
	emit(piece{text: s, start: p.start})
	return nil
}
