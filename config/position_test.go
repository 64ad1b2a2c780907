package config

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// TestPositions writes random files with mistakes at places it knows, among comments, blank lines, block and folded texts,
// quoted texts over several lines, flow mappings over several lines and letters of several bytes.
func TestPositions(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	fillers := []string{
		"", "# a comment: { with marks\n", "\n", "   \n", "      # indented\n\n", "# é → ü\n",
	}
	texts := []string{
		"plain é text", "plain # comment: a", "\"quoted ü\"", "'single # é'", "|\n        block\n\n        # é no comment\n          more\n",
		">-\n        folded\n        lines\n", "|+\n        kept\n\n\n", "\"over\n        two lines\"", "'over\n\n        three'", "plain over\n        two lines",
		"|2\n        indented\n", "\"a\\\n        b\"", "\"\\u00e9\\\"\"",
	}
	for range 400 {
		var b strings.Builder
		var want []Position
		line := func() int { return strings.Count(b.String(), "\n") + 1 }
		filler := func() { b.WriteString(fillers[r.IntN(len(fillers))]) }
		filler()
		b.WriteString("documents:\n")
		for i := range 1 + r.IntN(5) {
			filler()
			if r.IntN(3) == 0 {
				fmt.Fprintf(&b, "  - tokenize: { id: é, \"zé\": 1, # note\n      prompt: x,\n")
				want = append(want, Position{line() - 2, 21}, Position{line() - 2, 24}, Position{line(), 7})
				b.WriteString("      zz: \"ü\" }\n")
				continue
			}
			fmt.Fprintf(&b, "  - tokenize:\n      id: t%d\n", i)
			filler()
			text := texts[r.IntN(len(texts))]
			b.WriteString("      prompt: " + text)
			if !strings.HasSuffix(text, "\n") {
				b.WriteByte('\n')
			}
			if !strings.HasPrefix(text, "|+") {
				filler()
			}
			want = append(want, Position{line(), 7})
			fmt.Fprintf(&b, "      zz: %d\n", i)
		}
		src := b.String()
		if r.IntN(2) == 0 {
			src = strings.ReplaceAll(src, "\n", "\r\n")
		}
		if r.IntN(4) == 0 {
			src = "\ufeff" + src
		}
		_, err := Load("p.yaml", []byte(src), testVocabulary{}, nil, nil)
		var problems Problems
		if !errors.As(err, &problems) {
			t.Fatalf("%s\nloads", src)
		}
		var got []Position
		for _, p := range problems {
			got = append(got, p.Position)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("%s\n%v\ngot %v\nexpected %v", src, err, got, want)
		}
	}
}
