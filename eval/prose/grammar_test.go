package prose

import (
	"strings"
	"testing"
)

func TestThemeErrors(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"no section", "A sentence.\n", "p.txt:1: a sentence before any section"},
		{"unknown section", "== openings\nA.\n== ends\n", `p.txt:3: section "ends"`},
		{"unknown slot", "== openings\n\n{whom} came.\n", "p.txt:3: \"{whom} came.\": unknown slot {whom}; known are He, His, age"},
		{"open choice", "== openings\nA [b|c.\n", `no "]" closes "[b|c."`},
		{"open slot", "== openings\nA {who.\n", `no "}" closes "{who."`},
		{"empty section", "== openings\nA.\n== middles\nB.\n", `section "closings" is empty`},
	} {
		if _, err := ParseTheme("p.txt", []byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, expected it to say %q", c.name, err, c.want)
		}
	}
	if _, err := ParseTheme("p.txt", []byte("== openings\r\nA.\r\n== middles\r\n{n} [b|c].\r\n== closings\r\nD.\r\n")); err != nil {
		t.Errorf("a file with Windows line ends: %v", err)
	}
}
