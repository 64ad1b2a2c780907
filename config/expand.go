package config

import (
	"fmt"
	"strings"
)

// maxExpandDepth bounds ${A:-${B:-…}}: each level reads the rest of the text again.
const maxExpandDepth = 8

// expand replaces ${NAME} and ${NAME:-default} in text, and $$ with $. A default may hold variables, and braces if they are
// balanced; it is taken when the variable is unset or empty, as in a shell. A $ before anything else stays.
// expanded reports whether a variable was replaced. On failure what and want are for a Problem.
func expand(text string, env func(string) (string, bool), depth int) (result string, expanded bool, what, want string) {
	var b strings.Builder
	for {
		dollar := strings.IndexByte(text, '$')
		if dollar < 0 || dollar == len(text)-1 {
			b.WriteString(text)
			return b.String(), expanded, "", ""
		}
		b.WriteString(text[:dollar])
		text = text[dollar+1:]
		switch text[0] {
		case '$':
			b.WriteByte('$')
			text = text[1:]
			continue
		case '{':
		default:
			b.WriteByte('$')
			continue
		}
		length := closingBrace(text)
		if length < 0 {
			return "", false, fmt.Sprintf("the variable in %q has no closing }", clip("$"+text)),
				"${NAME} or ${NAME:-default}; a literal $ is written $$"
		}
		name, fallback, hasFallback := strings.Cut(text[1:length], ":-")
		text = text[length+1:]
		if !isVariable(name) {
			return "", false, fmt.Sprintf("%q is not the name of a variable", clip(name)),
				"${NAME} or ${NAME:-default}, of letters, digits and _; a literal $ is written $$"
		}
		value, set := env(name)
		switch {
		case hasFallback && value == "":
			if depth == maxExpandDepth {
				return "", false, fmt.Sprintf("variables are nested more than %d deep", maxExpandDepth), "a simpler default"
			}
			if value, _, what, want = expand(fallback, env, depth+1); what != "" {
				return "", false, what, want
			}
		case !set:
			return "", false, fmt.Sprintf("the environment variable %s is not set", name),
				fmt.Sprintf("it to be set, or a default as in ${%s:-value}", name)
		}
		expanded = true
		b.WriteString(value)
	}
}

// closingBrace returns the index of the } that closes the { at text[0], or -1.
func closingBrace(text string) int {
	open := 0
	for i := range len(text) {
		switch text[i] {
		case '{':
			open++
		case '}':
			if open--; open == 0 {
				return i
			}
		}
	}
	return -1
}

func isVariable(name string) bool {
	for i := range len(name) {
		c := name[i] | 0x20 // lower case, for letters
		if letter := 'a' <= c && c <= 'z' || name[i] == '_'; !letter && (i == 0 || !isDigit(name[i])) {
			return false
		}
	}
	return name != ""
}

// clip shortens a text for an error.
func clip(text string) string {
	const most = 48
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}
