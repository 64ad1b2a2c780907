package tokenizer

import (
	"strings"
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
		{nfc, "\u212b\xffe\u0301\ufffd\u0301\xc3", "\u00c5\xffé\ufffd\u0301\xc3"},
	} {
		if got, cut, err := c.form.normalise(c.in); got != c.want || cut || err != nil {
			t.Errorf("%+q: %+q, %v, %v; want %+q", c.in, got, cut, err, c.want)
		}
	}
}

// TestNormalFormsThatTextHasOtherwise has what golang.org/x/text makes something else of; wanted is what the Hugging Face
// library makes of it.
func TestNormalFormsThatTextHasOtherwise(t *testing.T) {
	acutes, dots := strings.Repeat("\u0301", 40), strings.Repeat("\u0323", 40)
	mixed := strings.Repeat("\u0301\u0323", 40)
	for _, c := range []struct {
		form     normalForm
		in, want string
	}{
		// Characters beyond U+FFFF compose with little, whatever their low 16 bits are.
		{nfc, "\U000100a8\u0301", "\U000100a8\u0301"},
		{nfkc, "\U00010041\u0301e\u0301", "\U00010041\u0301é"},
		{nfc, "\U00020041\u0323\u0301", "\U00020041\u0323\u0301"},
		{nfc, "\u1099\U000110ba", "\u1099\U000110ba"},
		{nfc, "\U00011099\U000110ba", "\U0001109a"},
		{nfc, "\U0001d15e\U0001d400\u0301", "\U0001d157\U0001d165\U0001d400\u0301"},
		{nfkc, "\U0001d400\u0301", "Á"},
		// Letters of Korean that become others compose as those do.
		{nfkc, "\u110d\u3156\u3133", "\ucaa3"}, {nfkc, "\u1100\uffc2", "\uac00"}, {nfc, "\u110d\u3156", "\u110d\u3156"},
		// Marks may be as many as there are.
		{nfc, "a" + mixed + "b", "\u1ea1" + dots[2:] + acutes + "b"},
		{nfd, "\u1ea1\u0301" + mixed, "a" + dots + "\u0323" + acutes + "\u0301"},
		{nfkc, "ﬁ" + mixed, "f\u1ecb" + dots[2:] + acutes},
		{nfc, acutes + mixed, dots + acutes + acutes},
		{nfc, "각" + acutes + "ᆨ각", "각" + acutes + "ᆨ각"},
	} {
		if got, cut, err := c.form.normalise(c.in); got != c.want || cut || err != nil {
			t.Errorf("%d of %+q: %+q, %v, %v; want %+q", c.form, c.in, got, cut, err, c.want)
		}
	}
}
