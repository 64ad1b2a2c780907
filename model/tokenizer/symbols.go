package tokenizer

import (
	"fmt"
	"slices"
	"unicode/utf8"
)

// alphabet says what the parts of a word are before anything is merged: its bytes or its characters.
type alphabet struct {
	bytes  bool
	byteID [256]int32     // with bytes, the token of each; otherwise of each ASCII character. noID if there is none
	runes  map[rune]int32 // the tokens of the other characters

	unknown int32 // what stands for a part without a token, or noID
	fuse    bool  // several in a row are one unknown
	rest    fallback

	// SentencePiece's symbols need not be tokens: ids from size on stand for those in behind.
	size   int32
	behind []standIn
	frozen *trie // user-defined pieces → their stand-ins, or nil
}

// standIn is a symbol that is no token: a user-defined piece, which nothing merges with, or a character that is only found
// inside tokens.
type standIn struct {
	piece int32 // the user-defined piece, or noID
	r     rune
}

// fallback spells what has no token as bytes.
type fallback struct {
	bytes [256]int32 // the token <0xNN> of each byte, or noID
	on    bool
}

func newFallback(ids map[string]int32) (f fallback) {
	f.on = true
	for b := range f.bytes {
		id, ok := ids[fmt.Sprintf("<0x%02X>", b)]
		if !ok {
			id = noID
		}
		f.bytes[b] = id
	}
	return f
}

// add appends the tokens of the bytes of s, if there is one for each.
func (f *fallback) add(s string, out []int32) ([]int32, bool) {
	if !f.on {
		return out, false
	}
	for i := range len(s) {
		if f.bytes[s[i]] == noID {
			return out, false
		}
	}
	for i := range len(s) {
		out = append(out, f.bytes[s[i]])
	}
	return out, true
}

// lacks lists the bytes that f can't spell.
func (f *fallback) lacks() (out []byte) {
	for b, id := range f.bytes {
		if !f.on || id == noID {
			out = append(out, byte(b))
		}
	}
	return out
}

// next is the id of the first symbol of the non-empty s, or noID, and its length in bytes.
func (a *alphabet) next(s string) (int32, int) {
	if a.frozen != nil {
		if id, n := a.frozen.longest(s); n > 0 {
			return id, n
		}
	}
	if a.bytes || s[0] < utf8.RuneSelf {
		return a.byteID[s[0]], 1
	}
	r, n := utf8.DecodeRuneInString(s)
	if r == utf8.RuneError && n == 1 {
		return noID, 1
	}
	if id, ok := a.runes[r]; ok {
		return id, n
	}
	return noID, n
}

// start appends the symbols of word to dst.
func (a *alphabet) start(word string, dst []int32, w *work) []int32 {
	pending := noID
	for at := 0; at < len(word); {
		id, n := a.next(word[at:])
		part := word[at : at+n]
		at += n
		if id != noID {
			if pending != noID {
				dst = append(dst, pending)
				pending = noID
			}
			dst = append(dst, id)
			continue
		}
		// The library doesn't put the unknown token that came before in front of these bytes, but behind them.
		var ok bool
		if dst, ok = a.rest.add(part, dst); ok {
			continue
		}
		w.lost = true
		if a.unknown == noID {
			continue
		}
		if pending != noID && !a.fuse {
			dst = append(dst, pending)
		}
		pending = a.unknown
	}
	if pending != noID {
		dst = append(dst, pending)
	}
	return dst
}

// finish replaces the symbols from out[from:] that are not tokens.
func (a *alphabet) finish(out []int32, from int, w *work) []int32 {
	if a.behind == nil || !slices.ContainsFunc(out[from:], func(id int32) bool { return id >= a.size }) {
		return out
	}
	merged := slices.Clone(out[from:])
	out = out[:from]
	for _, id := range merged {
		if id < a.size {
			if id == a.unknown && a.fuse && len(out) > from && out[len(out)-1] == id {
				continue
			}
			out = append(out, id)
			continue
		}
		s := a.behind[id-a.size]
		if s.piece != noID {
			out = append(out, s.piece)
			continue
		}
		var ok bool
		if out, ok = a.rest.add(string(s.r), out); ok {
			continue
		}
		w.lost = true
		if a.unknown != noID && !(a.fuse && len(out) > from && out[len(out)-1] == a.unknown) {
			out = append(out, a.unknown)
		}
	}
	return out
}
