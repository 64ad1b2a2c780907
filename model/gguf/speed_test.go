package gguf

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// vocabulary is the size of a language model's of today.
func vocabulary(t testing.TB) []byte {
	r := rand.New(rand.NewPCG(3, 4))
	words := make([]string, 128<<10)
	for i := range words {
		words[i] = fmt.Sprintf("%.*d", 1+r.IntN(12), i)
	}
	return write(t, []KV{{"tokenizer.ggml.tokens", words}}, nil)
}

// BenchmarkVocabulary prints its time as a ratio to a plain copy of the bytes.
func BenchmarkVocabulary(b *testing.B) {
	data := vocabulary(b)
	b.SetBytes(int64(len(data)))
	start := time.Now()
	const copies = 20
	for range copies {
		if len(bytes.Clone(data)) != len(data) {
			b.Fatal("no copy")
		}
	}
	copying := time.Since(start) / copies
	for b.Loop() {
		if _, err := Parse("x", data); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(copying), "x-copy")
}
