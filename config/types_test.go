package config

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func TestParseBytes(t *testing.T) {
	for text, want := range map[string]Bytes{
		"0": 0, "1024": 1024, "2GiB": 2 << 30, "512 MB": 512e6, "1.5GiB": 3 << 29, "1_000": 1000, "7b": 7, "0.5 kib": 512,
		"8EiB": -1, "9223372036854775807": math.MaxInt64, "9223372036854775808": -1, "-0": -1, "": -1, "GiB": -1, ".5GiB": -1,
		"1.GiB": -1, "1..5": -1, "1 2": -1, "0.1B": -1, "nan": -1, "1e3": -1, "8388608TiB": -1, "１": -1,
		strings.Repeat("9", 1000): -1, "_1": -1, "1__0": 10, "2 gib": 2 << 30, "1Ti": 1 << 40,
	} {
		got, err := ParseBytes(text)
		if (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("ParseBytes(%q) = %d, %v; expected %d", text, got, err, want)
		}
	}
}

func TestParseCount(t *testing.T) {
	for text, want := range map[string]Count{
		"4096": 4096, "32Ki": 32768, "8k": 8000, "8K": 8000, "2M": 2e6, "1.5k": 1500, "1Mi": 1 << 20, "1.5": -1, "1 GiB": -1, "2MB": -1, "-1": -1,
	} {
		got, err := ParseCount(text)
		if (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("ParseCount(%q) = %d, %v; expected %d", text, got, err, want)
		}
	}
}

// TestStringsReadBack checks that what String writes is what was there, at every magnitude.
func TestStringsReadBack(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 5000 {
		n := r.Int64() >> r.IntN(63) &^ (1<<r.IntN(45) - 1)
		if got, err := ParseBytes(Bytes(n).String()); err != nil || got != Bytes(n) {
			t.Fatalf("%d bytes are written %q and read %d, %v", n, Bytes(n), got, err)
		}
		if got, err := ParseCount(Count(n).String()); err != nil || got != Count(n) {
			t.Fatalf("the count %d is written %q and read %d, %v", n, Count(n), got, err)
		}
	}
	for choice, want := range map[Choice]string{{Word: "all"}: "all", {N: 32768}: "32Ki", {}: "0"} {
		if choice.String() != want {
			t.Errorf("%#v is written %q; expected %q", choice, choice, want)
		}
	}
	if !(Choice{Word: "all"}).Is("all") || (Choice{N: 1}).Is("") {
		t.Error("Is confuses words and counts")
	}
}

func TestNearest(t *testing.T) {
	words := []string{"decode", "max_tokens", "all", "adaptive", "from", "cpu", "héads", ""}
	for word, want := range map[string]string{
		"decod": "decode", "Decode": "decode", "max-tokens": "max_tokens", "max_tokns": "max_tokens", "maxtoken": "max_tokens",
		"al": "all", "addaptiv": "adaptive", "form": "from", "gpu": "", "heads": "héads", "": "", "zzzzzz": "", "everything": "",
		strings.Repeat("decode", 1000): "",
	} {
		if got := Nearest(word, words); got != want {
			t.Errorf("Nearest(%q) = %q; expected %q", word, got, want)
		}
	}
}

// TestEditDistance compares it with the definition, written as a recursion.
func TestEditDistance(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	word := func() []rune {
		runes := make([]rune, r.IntN(7))
		for i := range runes {
			runes[i] = 'a' + rune(r.IntN(3))
		}
		return runes
	}
	for range 500 {
		a, b := word(), word()
		if got, want := editDistance(a, b), plainEditDistance(a, b); got != want {
			t.Fatalf("%q to %q: %d edits; expected %d", string(a), string(b), got, want)
		}
	}
}

func plainEditDistance(a, b []rune) int {
	if len(a) == 0 || len(b) == 0 {
		return len(a) + len(b)
	}
	x, y := len(a)-1, len(b)-1
	replace := plainEditDistance(a[:x], b[:y])
	if a[x] != b[y] {
		replace++
	}
	best := min(replace, plainEditDistance(a[:x], b)+1, plainEditDistance(a, b[:y])+1)
	if x > 0 && y > 0 && a[x] == b[y-1] && a[x-1] == b[y] {
		best = min(best, plainEditDistance(a[:x-1], b[:y-1])+1)
	}
	return best
}
