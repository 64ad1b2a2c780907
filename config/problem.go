package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Position is a place in a file. Both count from 1; columns count Unicode code points. The zero Position is no place.
type Position struct{ Line, Column int }

// String returns "line:column".
func (p Position) String() string { return fmt.Sprintf("%d:%d", p.Line, p.Column) }

// Problem is one thing wrong with a pipeline, written so that a person can act on it.
type Problem struct {
	// File is the file's path as it was given, or the whole override, as in "--set device.memory=1".
	File string
	// Position is where in File; zero for an override.
	Position
	// What was found.
	What string
	// Want is what was expected or what to change; empty when What says it all.
	Want string
	// Nearest is the valid word closest to the one found; empty when none is close.
	Nearest string
}

// Error returns `file:line:column: what; expected want; did you mean "nearest"?`, without the parts that are empty.
func (p Problem) Error() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			b.WriteString(":" + p.Position.String())
		}
		b.WriteString(": ")
	}
	b.WriteString(p.What)
	if p.Want != "" {
		b.WriteString("; expected " + p.Want)
	}
	if p.Nearest != "" {
		fmt.Fprintf(&b, "; did you mean %q?", p.Nearest)
	}
	return b.String()
}

// Problems is everything wrong with a pipeline, in the file's order, overrides last. It is never returned empty.
type Problems []Problem

// maxShown bounds an error's length: a file of another kind can be wrong in thousands of places.
const maxShown = 50

// Error returns one line for each problem, up to 50, and then how many more there are.
func (ps Problems) Error() string {
	lines := make([]string, 0, min(len(ps), maxShown)+1)
	for i, p := range ps {
		if i == maxShown {
			lines = append(lines, fmt.Sprintf("and %d more problems", len(ps)-maxShown))
			break
		}
		lines = append(lines, p.Error())
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.As find a single Problem.
func (ps Problems) Unwrap() []error {
	errs := make([]error, len(ps))
	for i, p := range ps {
		errs[i] = p
	}
	return errs
}

// Sort puts the problems in the file's order; those without a position come last, in the order they were found.
func (ps Problems) Sort() {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		if (a.Line == 0) != (b.Line == 0) {
			return cmp.Compare(b.Line, a.Line)
		}
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

// place is where a value was written: a position in the file, or an override (then the Position is zero).
type place struct {
	file string
	Position
}

// problem makes a Problem about this place.
func (p place) problem(what, want, nearest string) Problem {
	return Problem{File: p.file, Position: p.Position, What: what, Want: want, Nearest: nearest}
}
