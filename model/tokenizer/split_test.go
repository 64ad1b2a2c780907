package tokenizer

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func pieces(t *testing.T, sp splitter, s string) []string {
	t.Helper()
	var out []string
	err := sp.split(piece{text: s, start: true}, func(p piece) {
		if p.text == "" || p.start != (len(out) == 0) {
			t.Fatalf("%q: piece %d is %q, at the start %v", s, len(out), p.text, p.start)
		}
		out = append(out, p.text)
	})
	if err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	if strings.Join(out, "") != s {
		t.Fatalf("%q fell into %q", s, out)
	}
	return out
}

// inTurn applies splitters one after the other.
type inTurn []splitter

func (q inTurn) split(p piece, emit func(piece)) error {
	if len(q) == 0 {
		emit(p)
		return nil
	}
	var inner error
	err := q[0].split(p, func(p piece) {
		if err := q[1:].split(p, emit); err != nil {
			inner = err
		}
	})
	return errors.Join(err, inner)
}

// TestScannersAgainstRegexps holds each hand-written scanner to its expression.
func TestScannersAgainstRegexps(t *testing.T) {
	r := newRand(t)
	for pattern, scan := range knownRegexps {
		re, err := newExpression(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for range 4000 {
			s := randomText(r, 1+r.IntN(25), true)
			if want, got := pieces(t, cutter{finder: re}, s), pieces(t, scan, s); !slices.Equal(got, want) {
				t.Fatalf("%s\non %q: by hand %q, the expression %q", pattern, s, got, want)
			}
		}
	}
}

func TestDigitsAgainstRegexps(t *testing.T) {
	r := newRand(t)
	for pattern, sp := range map[string]splitter{`\p{N}`: cutter{finder: characters(isNumber)},
		`\p{N}+`: cutter{finder: characters(isNumber), behavior: contiguous}} {
		re, err := newExpression(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for range 3000 {
			s := randomText(r, 1+r.IntN(12), true)
			if want, got := pieces(t, cutter{finder: re}, s), pieces(t, sp, s); !slices.Equal(got, want) {
				t.Fatalf("%s on %q: by hand %q, the expression %q", pattern, s, got, want)
			}
		}
	}
}

func TestSplitExamples(t *testing.T) {
	smol, err := preTokenizers["smollm"].splitters()
	if err != nil {
		t.Fatal(err)
	}
	fallback, err := defaultSplit()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		sp   splitter
		text string
		want string // pieces joined by |
	}{
		{inTurn(smol), "It's  1987, \n\nok ", "It|'s|  |1|9|8|7|,| \n|\n|ok| "},
		{inTurn(smol), "   x", "  | x"},
		{knownRegexps[regexpLlama3], "It'S 12345\n\n  ok...\n", "It|'S| |123|45|\n\n| | ok|...\n"},
		{knownRegexps[regexpQwen2], "a\t\tb 99", "a|\t|\tb| |9|9"},
		{inTurn(fallback), "a+b 12345", "a|+|b| |123|45"},
	} {
		if got := strings.Join(pieces(t, c.sp, c.text), "|"); got != c.want {
			t.Errorf("%q: %q, want %q", c.text, got, c.want)
		}
	}
}

func TestAmbiguousRegexpsAreRefused(t *testing.T) {
	for pattern, what := range map[string]string{
		`\w+`: `\w`, `a|^b`: "^", `a$`: "$", `(?i)abc`: "(?i", `[a&&b]`: "nested", `[a-z-[aeiou]]`: "nested", `a++b`: "possessive", `\s+(?!\S`: "regexp", `x\b`: `\b`,
	} {
		if _, err := newExpression(pattern); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: error %v, want one naming %s", pattern, err, what)
		}
	}
	for _, pattern := range []string{`[$^]+`, `[^\r\n\p{L}]+`, `\++`, `(?:a|b)+?`, `[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_{|}~][A-Za-z]+`, regexpGPT2, regexpLlama3} {
		if _, err := newExpression(pattern); err != nil {
			t.Errorf("%s: %v", pattern, err)
		}
	}
}
