package tokenizer_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"headinfer/model/tokenizer"
)

var familiesPath = filepath.Join("testdata", "families")

func unzip(t testing.TB, path string) []byte {
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
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

type familyText struct {
	text    string
	special bool
}

func familyTexts(t testing.TB) []familyText {
	t.Helper()
	var all []familyText
	lines := bufio.NewScanner(bytes.NewReader(unzip(t, filepath.Join(familiesPath, "texts.jsonl.gz"))))
	for lines.Scan() {
		var x familyText
		line := []any{&x.text, &x.special}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		all = append(all, x)
	}
	if len(all) < 2000 {
		t.Fatalf("%d texts, want at least 2000", len(all))
	}
	return all
}

// families lists the small tokenizers of testdata by name, with their files.
func families(t testing.TB) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, kind := range []string{".json.gz", ".model.gz"} {
		found, err := filepath.Glob(filepath.Join(familiesPath, "*"+kind))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			all[strings.TrimSuffix(filepath.Base(path), kind)] = path
		}
	}
	if len(all) < 19 {
		t.Fatalf("%d families in %s, want 19", len(all), familiesPath)
	}
	return all
}

func loadFamily(t testing.TB, path string) *tokenizer.Tokenizer {
	t.Helper()
	read := tokenizer.FromJSON
	if strings.HasSuffix(path, ".model.gz") {
		read = tokenizer.FromSentencePiece
	}
	tok, err := read(path, unzip(t, path))
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// TestFamilies holds tokenizers of every kind to the ids and decoded texts of the libraries they are for
// (tools/golden/tokenizer/families.py). HEADINFER_FAMILIES_DUMP names its DUMPDIR, to see what was expected.
func TestFamilies(t *testing.T) {
	texts := familyTexts(t)
	for name, path := range families(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tok := loadFamily(t, path)
			want, err := os.ReadFile(filepath.Join(familiesPath, name+".crc"))
			if err != nil {
				t.Fatal(err)
			}
			if len(want) != 4*len(texts) {
				t.Fatalf("%d bytes of checksums for %d texts", len(want), len(texts))
			}
			sentencePiece := strings.HasSuffix(path, ".model.gz")
			wrong := 0
			for i, x := range texts {
				opt := tokenizer.EncodeOptions{Special: x.special, BOS: true, EOS: true}
				if sentencePiece {
					opt = tokenizer.EncodeOptions{}
				}
				ids, err := tok.Encode(x.text, opt)
				if err != nil {
					t.Fatal(err)
				}
				decoded := tok.Decode(ids)
				if crc32.ChecksumIEEE(familyData(tok, ids, decoded)) == binary.LittleEndian.Uint32(want[4*i:]) {
					continue
				}
				if wrong++; wrong <= 5 {
					t.Errorf("text %d, %q: ids %v, decoded %q%s", i, x.text, ids, decoded, dumped(t, name, i))
				}
			}
			if wrong > 0 {
				t.Errorf("%d of %d texts differ", wrong, len(texts))
			}
		})
	}
}

// familyData is what families.py takes the checksum of.
func familyData(tok *tokenizer.Tokenizer, ids []int32, decoded string) []byte {
	var data []byte
	unknown, has := tok.ID("<unk>")
	for _, id := range ids {
		data = binary.LittleEndian.AppendUint32(data, uint32(id))
		if has && id == unknown {
			decoded = "\ufffd"
		}
	}
	if utf8.ValidString(decoded) && !strings.Contains(decoded, "\ufffd") {
		data = append(data, decoded...)
	}
	return data
}

// dumped is what the library made of a text, if its dump is there.
func dumped(t *testing.T, name string, line int) string {
	dir := os.Getenv("HEADINFER_FAMILIES_DUMP")
	if dir == "" {
		return ""
	}
	data, err := os.ReadFile(filepath.Join(dir, name+".jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	return "; want " + strings.Split(string(data), "\n")[line]
}

// TestFamiliesOnLongTexts encodes texts of 5 MB that have no words, which any quadratic step would turn into hours.
func TestFamiliesOnLongTexts(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds a tokenizer")
	}
	const size = 5 << 20
	all := families(t)
	for _, name := range []string{"llama3", "llama2", "t5", "sp-gemma", "sp-unigram"} {
		tok := loadFamily(t, all[name])
		for _, part := range []string{"thekey", " ", "語"} {
			text := strings.Repeat(part, size/len(part))
			start := time.Now()
			ids, err := tok.Encode(text, tokenizer.EncodeOptions{Special: true})
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s: 5 MB of %q: %d tokens in %v", name, part, len(ids), time.Since(start).Round(time.Millisecond))
		}
	}
}

func BenchmarkFamilies(b *testing.B) {
	var english strings.Builder
	for _, x := range familyTexts(b) {
		if ascii(x.text) && strings.Count(x.text, " ") > 5 && !strings.ContainsAny(x.text, "<[{\t") {
			english.WriteString(x.text)
			english.WriteByte(' ')
		}
	}
	s := strings.Repeat(english.String(), 1+(1<<20)/english.Len())
	for name, path := range families(b) {
		b.Run(name, func(b *testing.B) {
			tok := loadFamily(b, path)
			b.SetBytes(int64(len(s)))
			for b.Loop() {
				if _, err := tok.Encode(s, tokenizer.EncodeOptions{}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(s))*float64(b.N)/b.Elapsed().Seconds()/1e6/englishMBps, "x-of-2MB/s")
		})
	}
}
