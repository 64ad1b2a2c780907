package tokenizer

import (
	"unicode"
	"unicode/utf8"
)

// splitter cuts text into pieces, none of which is merged with its neighbours.
type splitter interface {
	// ends appends the offset at which each piece of the non-empty s ends, ascending; the last is len(s).
	ends(s string, dst []int) ([]int, error)
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
	return classOf(r), n
}

// run is the length in bytes of the characters of class c from offset at, and where they end.
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

// whole keeps the text in one piece.
type whole struct{}

func (whole) ends(s string, dst []int) ([]int, error) { return append(dst, len(s)), nil }

// sequence applies the splitters in turn, each to every piece that the one before left.
type sequence []splitter

func (q sequence) ends(s string, dst []int) ([]int, error) {
	cuts := []int{len(s)}
	for _, sp := range q {
		var next []int
		start := 0
		for _, end := range cuts {
			from := len(next)
			var err error
			if next, err = sp.ends(s[start:end], next); err != nil {
				return nil, err
			}
			for i := from; i < len(next); i++ {
				next[i] += start
			}
			start = end
		}
		cuts = next
	}
	return append(dst, cuts...), nil
}

// digits sets numbers apart: each character of category N alone, or a run of them together.
type digits struct{ each bool }

func (d digits) ends(s string, dst []int) ([]int, error) {
	textEnd := 0 // the end of the text before the number at hand
	for at := 0; at < len(s); {
		c, n := classAt(s[at:])
		if c != number {
			at += n
			textEnd = at
			continue
		}
		if textEnd == at && at > 0 {
			dst = append(dst, at)
		}
		at += n
		if !d.each {
			at = run(s, at, number)
		}
		dst = append(dst, at)
		textEnd = -1
	}
	if textEnd == len(s) {
		dst = append(dst, len(s))
	}
	return dst, nil
}
