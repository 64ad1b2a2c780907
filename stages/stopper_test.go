package stages

import (
	"strings"
	"testing"
)

func TestStopperHoldsBackWhatMayBeAStop(t *testing.T) {
	for _, c := range []struct {
		name   string
		stops  []string
		pieces []string
		want   string
		halted bool
	}{
		{"no stops", nil, []string{"a", "b"}, "ab", false},
		{"in one piece", []string{"END"}, []string{"one END two"}, "one ", true},
		{"across pieces", []string{"END"}, []string{"one E", "N", "D two"}, "one ", true},
		{"a false beginning", []string{"END"}, []string{"one E", "N", "T two"}, "one ENT two", false},
		{"the first of two", []string{"zz", "b"}, []string{"a", "b", "zz"}, "a", true},
		{"overlapping beginnings", []string{"aab"}, []string{"a", "a", "a", "b"}, "a", true},
		{"a beginning at the end", []string{"END"}, []string{"one EN"}, "one EN", false},
		{"an empty stop is none", []string{""}, []string{"x"}, "x", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var shown strings.Builder
			s := newStopper(c.stops, func(text string) { shown.WriteString(text) })
			halted := false
			for _, piece := range c.pieces {
				halted = s.push(piece)
				if strings.Contains(shown.String(), "END") {
					t.Fatalf("showed %q", shown.String())
				}
			}
			if got := s.finish(); got != c.want || halted != c.halted {
				t.Errorf("got %q, halted %v; want %q, %v", got, halted, c.want, c.halted)
			}
			if shown.String() != c.want {
				t.Errorf("showed %q, returned %q", shown.String(), c.want)
			}
		})
	}
}
