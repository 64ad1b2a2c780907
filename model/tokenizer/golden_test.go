package tokenizer_test

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"headinfer/model/gguf"
	"headinfer/model/tokenizer"
)

var modelPath = filepath.Join("..", "..", "models", "SmolLM2-135M-Instruct.Q4_1.gguf")

var smolLM2 = sync.OnceValues(func() (*tokenizer.Tokenizer, error) {
	f, err := gguf.Open(modelPath)
	if err != nil {
		return nil, err
	}
	t, err := tokenizer.FromGGUF(f)
	return t, errors.Join(err, f.Close())
})

func loadSmolLM2(t testing.TB) *tokenizer.Tokenizer {
	t.Helper()
	tok, err := smolLM2()
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("needs the model file %s: %v", modelPath, err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// golden is a text with the ids that the Hugging Face library gives it (tools/golden/tokenizer).
type golden struct {
	Text    string  `json:"text"`
	IDs     []int32 `json:"ids"`
	Special bool    `json:"special"`
}

func readGolden(t testing.TB, path string) []golden {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var all []golden
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var g golden
		if err := json.Unmarshal(lines.Bytes(), &g); err != nil {
			t.Fatalf("%s:%d: %v", path, len(all)+1, err)
		}
		all = append(all, g)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestGoldenSmolLM2 is parity with Hugging Face, id by id, and the way back.
func TestGoldenSmolLM2(t *testing.T) {
	tok := loadSmolLM2(t)
	all := readGolden(t, filepath.Join("testdata", "smollm2.jsonl.gz"))
	if len(all) < 2000 {
		t.Fatalf("%d golden texts, want at least 2000", len(all))
	}
	compareGolden(t, tok, all, true)
}

// compareGolden compares ids; with decode, it decodes them too, which some tokenizers can't do by design: those that normalise,
// add a space, or take the white space around a token.
func compareGolden(t *testing.T, tok *tokenizer.Tokenizer, all []golden, decode bool) {
	t.Helper()
	missing := string(tok.MissingBytes())
	wrong, back := 0, 0
	for i, g := range all {
		ids, err := tok.Encode(g.Text, tokenizer.EncodeOptions{Special: g.Special})
		if err != nil {
			t.Fatalf("line %d: %v", i+1, err)
		}
		if !slices.Equal(ids, g.IDs) {
			if wrong++; wrong <= 5 {
				t.Errorf("line %d: %q: ids %v, Hugging Face's %v", i+1, g.Text, ids, g.IDs)
			}
			continue
		}
		if !decode || hasAnyByte(g.Text, missing) {
			continue
		}
		back++
		if got := tok.Decode(ids); got != g.Text {
			t.Errorf("line %d: decoded %q, want %q", i+1, got, g.Text)
		}
	}
	if wrong > 0 {
		t.Errorf("%d of %d texts differ from Hugging Face's ids", wrong, len(all))
	}
	t.Logf("%d texts have Hugging Face's ids; %d of them decode to themselves, and the others were not asked to or have bytes without a token", len(all)-wrong, back)
}

// hasAnyByte is strings.ContainsAny for bytes rather than characters.
func hasAnyByte(s, bytes string) bool {
	return slices.ContainsFunc([]byte(s), func(b byte) bool { return strings.IndexByte(bytes, b) >= 0 })
}

// TestGoldenJSON holds any tokenizer.json to Hugging Face's ids for it, as tools/golden/tokenizer/golden.py writes them.
func TestGoldenJSON(t *testing.T) {
	name, goldens := os.Getenv("HEADINFER_TOKENIZER_JSON"), os.Getenv("HEADINFER_TOKENIZER_GOLDEN")
	if name == "" || goldens == "" {
		t.Skip("needs HEADINFER_TOKENIZER_JSON and HEADINFER_TOKENIZER_GOLDEN, the files that golden.py reads and writes")
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.FromJSON(name, data)
	if err != nil {
		t.Fatal(err)
	}
	compareGolden(t, tok, readGolden(t, goldens), false)
}
