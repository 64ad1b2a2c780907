package tokenizer

import (
	"slices"
	"strings"
	"testing"
)

func pieces(t *testing.T, sp splitter, s string) []string {
	t.Helper()
	ends, err := sp.ends(s, nil)
	if err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	var out []string
	start := 0
	for _, end := range ends {
		if end <= start {
			t.Fatalf("%q: pieces end at %v, which doesn't ascend", s, ends)
		}
		out = append(out, s[start:end])
		start = end
	}
	if start != len(s) {
		t.Fatalf("%q: pieces end at %v, not at its end %d", s, ends, len(s))
	}
	return out
}

// TestScannersAgainstRegexps holds each hand-written scanner to its expression.
func TestScannersAgainstRegexps(t *testing.T) {
	r := newRand(t)
	for pattern, scan := range knownRegexps {
		re, err := compileRegexp(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for range 4000 {
			s := randomText(r, 1+r.IntN(25), true)
			if want, got := pieces(t, re, s), pieces(t, scan, s); !slices.Equal(got, want) {
				t.Fatalf("%s\non %q: by hand %q, the expression %q", pattern, s, got, want)
			}
		}
	}
}

func TestDigitsAgainstRegexps(t *testing.T) {
	r := newRand(t)
	for pattern, sp := range map[string]splitter{`\p{N}`: digits{each: true}, `\p{N}+`: digits{}} {
		re, err := compileRegexp(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for range 3000 {
			s := randomText(r, 1+r.IntN(12), true)
			if want, got := pieces(t, re, s), pieces(t, sp, s); !slices.Equal(got, want) {
				t.Fatalf("%s on %q: by hand %q, the expression %q", pattern, s, got, want)
			}
		}
	}
}

func TestSplitExamples(t *testing.T) {
	smol := sequence{digits{each: true}, scanner(nextGPT2)}
	fallback, err := defaultSplit()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		sp   splitter
		text string
		want string // pieces joined by |
	}{
		{smol, "It's  1987, \n\nok ", "It|'s|  |1|9|8|7|,| \n|\n|ok| "},
		{smol, "   x", "  | x"},
		{knownRegexps[regexpLlama3], "It'S 12345\n\n  ok...\n", "It|'S| |123|45|\n\n| | ok|...\n"},
		{knownRegexps[regexpQwen2], "a\t\tb 99", "a|\t|\tb| |9|9"},
		{fallback, "a+b 12345", "a|+|b| |123|45"},
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
		if _, err := compileRegexp(pattern); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: error %v, want one naming %s", pattern, err, what)
		}
	}
	for _, pattern := range []string{`[$^]+`, `[^\r\n\p{L}]+`, `\++`, `(?:a|b)+?`, `[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_{|}~][A-Za-z]+`, regexpGPT2, regexpLlama3} {
		if _, err := compileRegexp(pattern); err != nil {
			t.Errorf("%s: %v", pattern, err)
		}
	}
}
