package tokenizer

import "strings"

// Byte-level BPE spells each byte as one printable character, so that a vocabulary is readable text: bytes which print in
// Latin-1 stand for themselves, the other 68 for U+0100 onwards in ascending order (GPT-2, Radford et al. 2019, section 2.2).
var (
	byteRune [256]rune
	runeByte = map[rune]byte{}
)

func init() {
	next := rune(0x100)
	for b := range byteRune {
		r := rune(b)
		if printable := r >= '!' && r <= '~' || r >= 0xA1 && r <= 0xAC || r >= 0xAE; !printable {
			r = next
			next++
		}
		byteRune[b] = r
		runeByte[r] = byte(b)
	}
}

// rawBytes gives the bytes that a vocabulary's spelling stands for. A token with a character outside the alphabet stands
// for its own text, as in the Hugging Face library's decoder.
func rawBytes(token string) string {
	var out strings.Builder
	out.Grow(len(token))
	for _, r := range token {
		b, ok := runeByte[r]
		if !ok {
			return token
		}
		out.WriteByte(b)
	}
	return out.String()
}
