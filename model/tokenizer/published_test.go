package tokenizer_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"headinfer/model/tokenizer"
)

// publishedPath has a folder for each tokenizer that `make tokenizers` fetches.
var publishedPath = filepath.Join("..", "..", "models", "tokenizers")

var publishedNames = []string{"llama2", "llama3", "llama3_1", "qwen3", "gemma3", "mistral_nemo", "mistral", "smollm2"}

// publishedLeast is how many texts each tokenizer is at least held to.
const publishedLeast = 5000

func publishedFile(name, file string) string { return filepath.Join(publishedPath, name, file) }

func loadPublished(t testing.TB, name string) *tokenizer.Tokenizer {
	t.Helper()
	for _, path := range []string{publishedFile(name, "tokenizer.json"), publishedFile(name, "ids.jsonl.gz")} {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			t.Skipf("needs %s, which `make tokenizers` fetches or makes", path)
		}
	}
	path := publishedFile(name, "tokenizer.json")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.FromJSON(path, data)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// publishedHead is the first line of ids.jsonl.gz: what special tokens come around every text, and how many texts follow.
type publishedHead struct {
	Front []int32 `json:"front"`
	Back  []int32 `json:"back"`
	Texts int     `json:"texts"`
}

// publishedText is a text with what the Hugging Face library makes of it (tools/golden/tokenizer/published.py).
type publishedText struct {
	text    string
	special bool
	ids     []int32
	decoded string
}

func readPublished(t testing.TB, name string) (publishedHead, []publishedText) {
	t.Helper()
	path := publishedFile(name, "ids.jsonl.gz")
	var head publishedHead
	var all []publishedText
	lines := bufio.NewScanner(strings.NewReader(string(unzip(t, path))))
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		if n == 1 {
			if err := json.Unmarshal(lines.Bytes(), &head); err != nil {
				t.Fatalf("%s:1: %v", path, err)
			}
			continue
		}
		var x publishedText
		var decoded *string
		line := []any{&x.text, &x.special, &x.ids, &decoded}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("%s:%d: %v", path, n, err)
		}
		if x.decoded = x.text; decoded != nil {
			x.decoded = *decoded
		}
		all = append(all, x)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if len(all) != head.Texts || len(all) < publishedLeast {
		t.Fatalf("%s has %d texts, its first line says %d, and at least %d are wanted", path, len(all), head.Texts, publishedLeast)
	}
	return head, all
}

// TestPublished holds the tokenizers of published models to the ids and decoded texts of the library that they are for.
func TestPublished(t *testing.T) {
	for _, name := range publishedNames {
		t.Run(name, func(t *testing.T) {
			tok := loadPublished(t, name)
			head, all := readPublished(t, name)
			comparePublished(t, tok, head, all)
			config := publishedFile(name, "tokenizer_config.json")
			data, err := os.ReadFile(config)
			if errors.Is(err, fs.ErrNotExist) {
				return // those that published.py puts together have none
			}
			if err != nil {
				t.Fatal(err)
			}
			tok, err = tok.WithConfig(config, data)
			if err != nil {
				t.Fatal(err)
			}
			// What the configurations say about front and back, tokenizer.json says too.
			comparePublished(t, tok, head, all[:100])
			if _, ok := tok.EOS(); !ok || len(tok.EndTokens()) == 0 {
				t.Error("no end-of-text token")
			}
		})
	}
}

// TestPublishedGGUF holds SmolLM2's GGUF file to the same.
func TestPublishedGGUF(t *testing.T) {
	loadPublished(t, "smollm2")
	head, all := readPublished(t, "smollm2")
	comparePublished(t, loadSmolLM2(t), head, all)
}

func comparePublished(t *testing.T, tok *tokenizer.Tokenizer, head publishedHead, all []publishedText) {
	t.Helper()
	wrong := 0
	for i, x := range all {
		plain, err := tok.Encode(x.text, tokenizer.EncodeOptions{Special: x.special})
		if err != nil {
			t.Fatalf("text %d: %v", i, err)
		}
		around, err := tok.Encode(x.text, tokenizer.EncodeOptions{Special: x.special, BOS: true, EOS: true})
		if err != nil {
			t.Fatalf("text %d: %v", i, err)
		}
		decoded := tok.Decode(x.ids)
		switch {
		case !slices.Equal(plain, x.ids):
			wrong = report(t, wrong, "text %d, %q, special %v: ids %v, want %v", i, x.text, x.special, plain, x.ids)
		case !slices.Equal(around, slices.Concat(head.Front, x.ids, head.Back)):
			wrong = report(t, wrong, "text %d, %q: ids %v with BOS and EOS, want %v around", i, x.text, around, head)
		case decoded != x.decoded && onlyValid(decoded) != onlyValid(x.decoded):
			wrong = report(t, wrong, "text %d, %q: ids %v decoded to %q, want %q", i, x.text, x.ids, decoded, x.decoded)
		}
	}
	t.Logf("%d texts, %d of them differ", len(all), wrong)
}

// onlyValid has one U+FFFD for each run of bytes that aren't UTF-8, or of U+FFFD: where tokens make half a character, Decode
// gives the bytes, and the library one U+FFFD or several.
func onlyValid(s string) string {
	s = strings.ToValidUTF8(s, "\ufffd")
	for strings.Contains(s, "\ufffd\ufffd") {
		s = strings.ReplaceAll(s, "\ufffd\ufffd", "\ufffd")
	}
	return s
}

// report tells the first few differences, and counts them all.
func report(t *testing.T, wrong int, format string, args ...any) int {
	t.Helper()
	if wrong < 5 {
		t.Errorf(format, args...)
	}
	return wrong + 1
}

// BenchmarkPublished encodes the English of testdata/corpus. Only an Encode of its own goroutine works, on one core.
func BenchmarkPublished(b *testing.B) {
	files, err := filepath.Glob(filepath.Join("..", "..", "testdata", "corpus", "*.txt"))
	if err != nil || len(files) == 0 {
		b.Fatalf("%d texts in testdata/corpus: %v", len(files), err)
	}
	var texts []string
	size := 0
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			b.Fatal(err)
		}
		texts = append(texts, string(data))
		size += len(data)
	}
	for _, name := range publishedNames {
		b.Run(name, func(b *testing.B) {
			tok := loadPublished(b, name)
			b.SetBytes(int64(size))
			for b.Loop() {
				for _, s := range texts {
					if _, err := tok.Encode(s, tokenizer.EncodeOptions{}); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(size)*float64(b.N)/b.Elapsed().Seconds()/1e6/englishMBps, "x-of-2MB/s")
		})
	}
}
