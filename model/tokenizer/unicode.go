package tokenizer

import (
	"slices"
	"unicode"

	"golang.org/x/text/unicode/rangetable"
)

// The libraries know characters by other editions of Unicode than Go does: Oniguruma and Rust's expressions by 16.0, Hugging
// Face's normal forms by 9.0, its punctuation by 8.0. The difference is some five thousand rare characters, and without it
// texts in the scripts that they belong to would have other ids.

// Characters that have the same category as those which are newer than Go's tables (15.0).
const (
	likeLu = 'Ā'
	likeLl = 'ā'
	likeLm = 'ʰ'
	likeLo = 'א'
	likeM  = '\u0300'
	likeN  = '٠'
	likeP  = '‖'
)

// newer lists the letters, marks, numbers and punctuation of Unicode 15.1 and 16.0 in order, with a character of the same
// category and, where a script is large, of the same script.
var newer = []struct{ first, last, like rune }{
	{0x897, 0x897, likeM}, {0x1B4E, 0x1B4F, likeP}, {0x1B7F, 0x1B7F, likeP}, {0x1C89, 0x1C89, likeLu},
	{0x1C8A, 0x1C8A, likeLl}, {0xA7CB, 0xA7CC, likeLu}, {0xA7CD, 0xA7CD, likeLl}, {0xA7DA, 0xA7DA, likeLu},
	{0xA7DB, 0xA7DB, likeLl}, {0xA7DC, 0xA7DC, likeLu}, {0x105C0, 0x105F3, likeLo}, {0x10D40, 0x10D49, likeN},
	{0x10D4A, 0x10D4D, likeLo}, {0x10D4E, 0x10D4E, likeLm}, {0x10D4F, 0x10D4F, likeLo}, {0x10D50, 0x10D65, likeLu},
	{0x10D69, 0x10D6D, likeM}, {0x10D6E, 0x10D6E, likeP}, {0x10D6F, 0x10D6F, likeLm}, {0x10D70, 0x10D85, likeLl},
	{0x10EC2, 0x10EC4, likeLo}, {0x10EFC, 0x10EFC, likeM}, {0x11380, 0x11389, likeLo}, {0x1138B, 0x1138B, likeLo},
	{0x1138E, 0x1138E, likeLo}, {0x11390, 0x113B5, likeLo}, {0x113B7, 0x113B7, likeLo}, {0x113B8, 0x113C0, likeM},
	{0x113C2, 0x113C2, likeM}, {0x113C5, 0x113C5, likeM}, {0x113C7, 0x113CA, likeM}, {0x113CC, 0x113D0, likeM},
	{0x113D1, 0x113D1, likeLo}, {0x113D2, 0x113D2, likeM}, {0x113D3, 0x113D3, likeLo}, {0x113D4, 0x113D5, likeP},
	{0x113D7, 0x113D8, likeP}, {0x113E1, 0x113E2, likeM}, {0x116D0, 0x116E3, likeN}, {0x11BC0, 0x11BE0, likeLo},
	{0x11BE1, 0x11BE1, likeP}, {0x11BF0, 0x11BF9, likeN}, {0x11F5A, 0x11F5A, likeM}, {0x13460, 0x143FA, 0x13000},
	{0x16100, 0x1611D, likeLo}, {0x1611E, 0x1612F, likeM}, {0x16130, 0x16139, likeN}, {0x16D40, 0x16D42, likeLm},
	{0x16D43, 0x16D6A, likeLo}, {0x16D6B, 0x16D6C, likeLm}, {0x16D6D, 0x16D6F, likeP}, {0x16D70, 0x16D79, likeN},
	{0x18CFF, 0x18CFF, likeLo}, {0x1CCF0, 0x1CCF9, likeN}, {0x1E5D0, 0x1E5ED, likeLo}, {0x1E5EE, 0x1E5EF, likeM},
	{0x1E5F0, 0x1E5F0, likeLo}, {0x1E5F1, 0x1E5FA, likeN}, {0x1E5FF, 0x1E5FF, likeP}, {0x2EBF0, 0x2EE5D, 0x2EBE0},
}

// firstNewer is below which there is nothing to look up.
const firstNewer = 0x897

// known is r, or a character of the same category where Go's tables don't know r yet.
func known(r rune) rune {
	if r < firstNewer {
		return r
	}
	i, _ := slices.BinarySearchFunc(newer, r, func(n struct{ first, last, like rune }, r rune) int {
		if n.last < r {
			return -1
		}
		return 1
	})
	if i < len(newer) && newer[i].first <= r {
		return newer[i].like
	}
	return r
}

var (
	assigned8 = rangetable.Assigned("8.0.0")
	assigned9 = rangetable.Assigned("9.0.0")
)

// firstSince9 is below which Unicode 9.0 has all that there is today.
const firstSince9 = 0x560

func newSince9(r rune) bool { return r >= firstSince9 && !unicode.Is(assigned9, r) }

// isAccent says whether r is a mark in Unicode 9.0. Two marks of that edition are letters today, and one was punctuation.
func isAccent(r rune) bool {
	return unicode.IsMark(r) && !newSince9(r) && r != 0x111C9 || r == 0x1CF2 || r == 0x1CF3
}

// isPunctuation is what the pre-tokenizer Punctuation cuts at: ASCII's punctuation and symbols, and category P in Unicode
// 8.0, two members of which are something else today.
func isPunctuation(r rune) bool {
	if r < unicode.MaxASCII {
		return r > ' ' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}
	return unicode.IsPunct(r) && unicode.Is(assigned8, r) || r == 0x166D || r == 0x111C9
}
