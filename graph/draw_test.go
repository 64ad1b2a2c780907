package graph

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"headinfer/config"
)

const drawn = `
documents:
  - files: { paths: [a.txt, 'b "c".txt', "<d>#1"] }
  - tokenize: { id: end }
  - prefill
  - decode: { max_tokens: 4Ki, stop: "\\n*", sampling: { temperature: 0.5 } }
  - jsonl
  - tap: { from: decode }
heads:
  - prefetch
  - attention: { group: adaptive }
  - count: { from: prefetch }
  - quantize: { from: attention }
`

// TestDrawings compares drawings with testdata; -update rewrites it.
func TestDrawings(t *testing.T) {
	r := vocabulary(t)
	documents := mustCheck(t, r, drawn, config.Documents, Ends{})
	heads := mustCheck(t, r, drawn, config.Heads, headEnds)
	draw := func(documents, heads *Graph, format Format) string {
		text, err := Draw(documents, heads, format)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	if documents.Mermaid() != draw(documents, nil, Mermaid) || heads.DOT() != draw(nil, heads, DOT) {
		t.Error("one level alone is drawn in another way by Draw")
	}
	for name, got := range map[string]string{
		"both.mmd":  draw(documents, heads, Mermaid),
		"both.dot":  draw(documents, heads, DOT),
		"heads.mmd": heads.Mermaid(),
	} {
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got != strings.ReplaceAll(string(want), "\r\n", "\n") {
			t.Errorf("%s: got\n%swant\n%s", name, got, want)
		}
	}
	if _, err := Draw(documents, heads, "svg"); err == nil {
		t.Error("an unknown format was accepted")
	}
}

func TestLongOptionsAreClipped(t *testing.T) {
	options := &filesOptions{Paths: []string{strings.Repeat("ä", 500)}}
	lines := changedOptions(options, new(filesOptions))
	if len(lines) != 1 || len([]rune(lines[0])) != maxLine || !strings.HasSuffix(lines[0], "…") {
		t.Errorf("got %q", lines)
	}
	if lines := changedOptions(new(filesOptions), new(decodeOptions)); lines != nil {
		t.Errorf("options of another stage: %q", lines)
	}
}
