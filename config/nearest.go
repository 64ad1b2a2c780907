package config

import "strings"

// maxWord bounds the words that Nearest compares, in bytes: nobody mistypes a longer one, and the cost is quadratic.
const maxWord = 64

// shortWord is the length, in letters, up to which one edit makes another word.
const shortWord = 4

// Nearest returns the candidate that word was probably meant to be, or "" when none is close. Close is at most one edit
// (insert, delete, replace, or swap of neighbours) for every three letters, and never more than three edits; case, and
// the difference between - and _, are free. A word of four letters
// or fewer must begin alike: gpu is no slip for cpu. Of equally close candidates the first wins.
func Nearest(word string, candidates []string) string {
	if word == "" || len(word) > maxWord {
		return ""
	}
	folded := []rune(fold(word))
	best, bestEdits := "", min(3, max(1, len(folded)/3))+1
	for _, candidate := range candidates {
		other := []rune(fold(candidate))
		if len(candidate) > maxWord || len(other) == 0 || len(folded) <= shortWord && folded[0] != other[0] {
			continue
		}
		if edits := editDistance(folded, other); edits < bestEdits {
			best, bestEdits = candidate, edits
		}
	}
	return best
}

func fold(s string) string { return strings.ReplaceAll(strings.ToLower(s), "_", "-") }

// editDistance is the optimal string alignment distance: Levenshtein's, with a swap of neighbours as one edit.
func editDistance(a, b []rune) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replace := last[j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			row[j] = min(replace, last[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
