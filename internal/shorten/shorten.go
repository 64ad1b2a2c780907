// Package shorten keeps the megabytes of a damaged or hostile file out of errors.
package shorten

// quoted is how much of a value an error quotes, in runes.
const quoted = 120

// Text returns as much of a value as an error quotes.
func Text(s string) string { return To(quoted, s) }

// To returns a text of more than most runes as its first ones and "…". Bytes that are no
// UTF-8 count as a rune each.
func To(most int, s string) string {
	runes := 0
	for at := range s {
		if runes == most {
			return s[:at] + "…"
		}
		runes++
	}
	return s
}
