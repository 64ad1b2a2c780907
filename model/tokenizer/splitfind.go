package tokenizer

import (
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// span is a part of a text, from the end of the span before it.
type span struct {
	end   int
	match bool // what was looked for, and not what lies between
}

// finder looks for delimiters.
type finder interface {
	// find appends the spans that the non-empty s falls into: matches and what lies between, none empty.
	find(s string, dst []span) ([]span, error)
}

// behavior is what becomes of the matches.
type behavior uint8

const (
	isolated   behavior = iota // each match is a piece
	removed                    // matches are left out
	contiguous                 // adjoining matches are one piece
	withPrevious
	withNext
)

var behaviors = map[string]behavior{
	"Isolated": isolated, "Removed": removed, "Contiguous": contiguous,
	"MergedWithPrevious": withPrevious, "MergedWithNext": withNext,
}

// spanPool keeps what cutters find, which is as many slices as there are cutters behind one another.
var spanPool = sync.Pool{New: func() any { return new([]span) }}

// cutter splits at the matches of a finder. It changes nothing, so its pieces are parts of the text.
type cutter struct {
	finder   finder
	behavior behavior
	invert   bool // what lies between counts as the match
}

func (c cutter) split(p piece, emit func(piece)) error {
	scratch := spanPool.Get().(*[]span)
	defer spanPool.Put(scratch)
	spans, err := c.finder.find(p.text, (*scratch)[:0])
	if err != nil {
		return err
	}
	*scratch = spans
	for i := range spans {
		spans[i].match = spans[i].match != c.invert
	}
	start := 0
	for i := 0; i < len(spans); i++ {
		if c.behavior == removed && spans[i].match {
			start = spans[i].end
			continue
		}
		for i+1 < len(spans) && c.joins(spans, i) {
			i++
		}
		emit(piece{text: p.text[start:spans[i].end], start: p.start && start == 0})
		start = spans[i].end
	}
	return nil
}

// joins says whether the span after i belongs to the same piece.
func (c cutter) joins(spans []span, i int) bool {
	this, next := spans[i].match, spans[i+1].match
	switch c.behavior {
	case contiguous:
		return this == next
	case withPrevious: // only the first of several matches
		return !this && next
	case withNext: // only the last of several matches
		return this && !next
	case isolated, removed:
	}
	return false
}

// literal finds a text.
type literal string

func (l literal) find(s string, dst []span) ([]span, error) {
	for at := 0; at < len(s); {
		i := strings.Index(s[at:], string(l))
		if i < 0 {
			return append(dst, span{end: len(s)}), nil
		}
		if i > 0 {
			dst = append(dst, span{end: at + i})
		}
		at += i + len(l)
		dst = append(dst, span{end: at, match: true})
	}
	return dst, nil
}

// characters finds single characters of a kind.
type characters func(r rune) bool

func (is characters) find(s string, dst []span) ([]span, error) {
	between := 0 // where what lies between matches began
	for at, r := range s {
		if !is(r) {
			continue
		}
		n := utf8.RuneLen(r)
		if r == utf8.RuneError {
			_, n = utf8.DecodeRuneInString(s[at:])
		}
		if at > between {
			dst = append(dst, span{end: at})
		}
		between = at + n
		dst = append(dst, span{end: between, match: true})
	}
	if between < len(s) {
		dst = append(dst, span{end: len(s)})
	}
	return dst, nil
}

// isWord is \w of Unicode's regular expressions (UTS 18, annex C): alphabetic, marks, decimal digits, connectors.
func isWord(r rune) bool {
	if r < utf8.RuneSelf {
		return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r)
	}
	return unicode.In(known(r), unicode.L, unicode.M, unicode.Nl, unicode.Other_Alphabetic, unicode.Nd, unicode.Pc, unicode.Join_Control)
}

// wordRuns finds what the pre-tokenizer Whitespace keeps: runs of word characters, and runs of others without white space.
type wordRuns struct{}

func (wordRuns) find(s string, dst []span) ([]span, error) {
	kind := func(r rune) int {
		switch {
		case unicode.IsSpace(r):
			return 0
		case isWord(r):
			return 1
		}
		return 2
	}
	last := -1
	for at, r := range s {
		if k := kind(r); k != last {
			if at > 0 {
				dst = append(dst, span{end: at, match: last > 0})
			}
			last = k
		}
	}
	return append(dst, span{end: len(s), match: last > 0}), nil
}
