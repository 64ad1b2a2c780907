package config

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// textWidth is how many columns a terminal page uses.
const textWidth = 96

// Text writes one stage's page for a terminal: no escape codes, at most 96 columns unless a single word is longer.
func Text(s StageDoc) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s)  %s\n\n", s.Name, s.Level, s.arrow())
	b.WriteString(wrap(s.Doc, "  "))
	if s.Lossy != "" {
		b.WriteString("\n" + wrap("Lossy: "+s.Lossy, "  "))
	}
	fields := Fields(s.Options)
	if len(fields) > 0 {
		b.WriteString("\nOptions\n")
	}
	for _, f := range fields {
		values := f.values()
		if f.Unit != "" {
			values += " (" + f.Unit + ")"
		}
		fmt.Fprintf(&b, "  %s: %s\n", f.Name, f.Default)
		b.WriteString(wrap(f.Doc, "      "))
		b.WriteString(wrap("values: "+values, "      "))
	}
	b.WriteString("\nExample\n")
	fmt.Fprintf(&b, "  %s:\n", s.Level)
	for line := range strings.Lines(exampleYAML(s.Name, fields)) {
		b.WriteString("    " + line)
	}
	return b.String()
}

// wrap breaks a text into indented lines, each ended.
func wrap(text, indent string) string {
	var b strings.Builder
	column := 0
	for _, word := range strings.Fields(text) {
		width := utf8.RuneCountInString(word)
		switch {
		case column == 0:
			b.WriteString(indent)
			column = len(indent)
		case column+1+width > textWidth:
			b.WriteString("\n" + indent)
			column = len(indent)
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += width
	}
	b.WriteByte('\n')
	return b.String()
}
