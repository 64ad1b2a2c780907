package tokenizer

import (
	"testing"
	"unicode"
)

func TestNewerCharacters(t *testing.T) {
	last := rune(firstNewer - 1)
	for i, n := range newer {
		if n.first <= last || n.last < n.first {
			t.Fatalf("range %d is %U to %U, after %U", i, n.first, n.last, last)
		}
		last = n.last
		for _, r := range []rune{n.first, n.last} {
			if known(r) != n.like {
				t.Errorf("%U is like %U, want %U", r, known(r), n.like)
			}
		}
		if known(n.like) != n.like || !unicode.In(n.like, unicode.L, unicode.M, unicode.N, unicode.P) {
			t.Errorf("%U stands for others, and is none of their categories", n.like)
		}
	}
	for _, r := range []rune{'a', 'é', firstNewer - 1, firstNewer + 1, '中', 0x2EE5E, unicode.MaxRune} {
		if known(r) != r {
			t.Errorf("%U became %U", r, known(r))
		}
	}
}

// TestNormalFormsOfOldUnicode has characters that were given decompositions after Unicode 9.0.
func TestNormalFormsOfOldUnicode(t *testing.T) {
	for _, c := range []struct {
		form     normalForm
		in, want string
	}{
		{nfc, "e\u0301", "é"}, {nfd, "é", "e\u0301"}, {nfkc, "ﬁ㋿", "fi㋿"}, {nfkd, "㋿½", "㋿1⁄2"}, {nfc, "", ""},
		{nfd, "a\u0301\u0316", "a\u0316\u0301"},             // marks change places
		{nfd, "a\u0301\u0898\u0316", "a\u0301\u0898\u0316"}, // but not across one that is newer
		{nfc, "\xff\u0898e\u0301\xc3", "\xff\u0898é\xc3"},
	} {
		if got, cut, err := c.form.normalise(c.in); got != c.want || cut || err != nil {
			t.Errorf("%+q: %+q, %v, %v; want %+q", c.in, got, cut, err, c.want)
		}
	}
}
