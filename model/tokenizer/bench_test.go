package tokenizer_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"headinfer/model/gguf"
	"headinfer/model/tokenizer"
)

// englishMBps is what one core should at least do on English text: far more than any device takes in.
const englishMBps = 2.0

func benchmarkEncode(b *testing.B, keep func(string) bool) {
	tok := loadSmolLM2(b)
	var text strings.Builder
	for _, g := range readGolden(b, filepath.Join("testdata", "smollm2.jsonl.gz")) {
		if keep(g.Text) {
			text.WriteString(g.Text)
		}
	}
	s := text.String()
	b.SetBytes(int64(len(s)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tok.Encode(s, tokenizer.EncodeOptions{Special: true}); err != nil {
			b.Fatal(err)
		}
	}
	mbps := float64(len(s)) * float64(b.N) / b.Elapsed().Seconds() / 1e6
	b.ReportMetric(mbps/englishMBps, "x-of-2MB/s")
}

func ascii(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r >= 0x80 }) < 0
}

// english keeps prose: no emoji, no code, no runs of one letter.
func english(s string) bool {
	long := slices.ContainsFunc(strings.Fields(s), func(w string) bool { return len(w) > 20 })
	return ascii(s) && !long && len(strings.Fields(s)) > 3 && !strings.ContainsAny(s, "\t{<=")
}

func BenchmarkEncodeEnglish(b *testing.B) { benchmarkEncode(b, english) }
func BenchmarkEncodeMixed(b *testing.B) {
	benchmarkEncode(b, func(s string) bool { return !ascii(s) })
}

func BenchmarkDecode(b *testing.B) {
	tok := loadSmolLM2(b)
	var ids []int32
	for _, g := range readGolden(b, filepath.Join("testdata", "smollm2.jsonl.gz")) {
		ids = append(ids, g.IDs...)
	}
	b.SetBytes(int64(len(tok.Decode(ids))))
	for b.Loop() {
		tok.Decode(ids)
	}
}

func BenchmarkFromGGUF(b *testing.B) {
	loadSmolLM2(b)
	f, err := gguf.Open(modelPath)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for b.Loop() {
		if _, err := tokenizer.FromGGUF(f); err != nil {
			b.Fatal(err)
		}
	}
}
