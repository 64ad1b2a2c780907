package tokenizer

import (
	"strconv"
	"strings"
)

// decoder says what tokens stand for.
type decoder struct {
	byteLevel bool                          // tokens are spelled in the alphabet of bytes, and the rest doesn't apply
	steps     []func(string) string         // what becomes of each token, in order
	fallback  bool                          // a token <0xNN> is a byte
	head      func(text, raw string) string // what the first token stands for, or nil if that is nothing special

	headTillText bool // tokens count as the first until one stands for something
}

// maxDecoded is how many times as long as a token what it stands for may be. A file whose steps each make a text longer
// could fill any memory with them.
const maxDecoded = 8

// raw is what a token stands for, or false where that is too long.
func (d *decoder) raw(token string) (string, bool) {
	if d.byteLevel {
		return rawBytes(token), true
	}
	most := maxDecoded * len(token)
	for _, step := range d.steps {
		if token = step(token); len(token) > most {
			return "", false
		}
	}
	if b, ok := byteToken(token); ok && d.fallback {
		return string([]byte{b}), true
	}
	return token, true
}

// byteToken is the byte that <0xNN> stands for.
func byteToken(token string) (byte, bool) {
	if len(token) != 6 || !strings.HasPrefix(token, "<0x") || token[5] != '>' {
		return 0, false
	}
	b, err := strconv.ParseUint(token[3:5], 16, 8)
	return byte(b), err == nil
}

func replaceStep(old, with string) func(string) string {
	return func(s string) string { return strings.ReplaceAll(s, old, with) }
}

// dropSpace is the head of decoders that take one space off the text.
func dropSpace(_, raw string) string { return strings.TrimPrefix(raw, " ") }

// dropMark is the head of SentencePiece's decoder: it takes one mark off the first token.
func dropMark(text, raw string) string {
	if rest, ok := strings.CutPrefix(text, spMark); ok {
		return strings.ReplaceAll(rest, spMark, " ")
	}
	return raw
}

// dropMarks is the head of the decoder Metaspace: it takes every mark out of the first token.
func dropMarks(mark string) func(text, raw string) string {
	return func(text, raw string) string {
		if strings.Contains(text, mark) {
			return strings.ReplaceAll(text, mark, "")
		}
		return raw
	}
}
