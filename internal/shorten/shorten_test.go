package shorten

import (
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestTo shortens random texts, of which some are no UTF-8, at random lengths.
func TestTo(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	alphabet := []string{"a", "é", "漢", "🙂", "\xff", "\x80"}
	for range 1000 {
		var all strings.Builder
		for range r.IntN(300) {
			all.WriteString(alphabet[r.IntN(len(alphabet))])
		}
		in, most := all.String(), r.IntN(200)
		out := To(most, in)
		switch kept, cut := strings.CutSuffix(out, "…"); {
		case utf8.RuneCountInString(in) <= most:
			if out != in {
				t.Fatalf("%q, which has at most %d runes, became %q", in, most, out)
			}
		case !cut || utf8.RuneCountInString(kept) != most || !strings.HasPrefix(in, kept):
			t.Fatalf("%q became %q, and not its first %d runes", in, out, most)
		}
	}
	if long := strings.Repeat("é", 1<<20); Text(long) != long[:2*quoted]+"…" {
		t.Errorf("%q of a megabyte", Text(long))
	}
}
