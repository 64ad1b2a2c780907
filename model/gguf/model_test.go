package gguf

import (
	"bytes"
	"fmt"
	"os"
	"testing"
	"time"

	"headinfer/kernels"
)

// realModel is a checkpoint as it is distributed; it is not part of the
// repository.
const realModel = "../../models/SmolLM2-135M-Instruct.Q4_1.gguf"

func TestRealModel(t *testing.T) {
	if _, err := os.Stat(realModel); err != nil {
		t.Skipf("needs the model: %v", err)
	}
	start := time.Now()
	f, err := Open(realModel)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}()
	t.Logf("opened in %v", time.Since(start))
	if f.Architecture() != "llama" || len(f.Keys()) != 33 {
		t.Errorf("architecture %q, %d keys", f.Architecture(), len(f.Keys()))
	}
	for key, want := range map[string]uint64{
		"llama.block_count": 30, "llama.embedding_length": 576, "llama.attention.head_count": 9,
		"llama.attention.head_count_kv": 3, "llama.feed_forward_length": 1536, "llama.context_length": 8192,
	} {
		if got, err := f.Uint(key); err != nil || got != want {
			t.Errorf("%s = %d, %v, want %d", key, got, err, want)
		}
	}
	tokens, err := f.Strings("tokenizer.ggml.tokens")
	if err != nil || len(tokens) != 49152 || tokens[0] != "<|endoftext|>" {
		t.Errorf("%d tokens, %v", len(tokens), err)
	}
	if merges, err := f.Strings("tokenizer.ggml.merges"); err != nil || len(merges) != 48900 || merges[2] != "i n" {
		t.Errorf("%d merges, %v", len(merges), err)
	}
	if kinds, err := f.Ints("tokenizer.ggml.token_type"); err != nil || len(kinds) != 49152 || kinds[0] != 3 {
		t.Errorf("%d token types, %v", len(kinds), err)
	}
	checkRealTensors(t, f)
}

func checkRealTensors(t *testing.T, f *File) {
	dtypes := map[kernels.DType]int{}
	for _, w := range f.Tensors() {
		dtypes[w.DType]++
	}
	if got := fmt.Sprint(dtypes); got != "map[f32:61 q8_0:1 q4_1:210]" {
		t.Errorf("tensors by encoding: %s", got)
	}
	for _, want := range []string{
		"token_embd.weight q8_0 [49152, 576]", "blk.0.ffn_down.weight q4_1 [576, 1536]",
		"blk.29.attn_k.weight q4_1 [192, 576]", "output_norm.weight f32 [576]",
	} {
		var name string
		if _, err := fmt.Sscan(want, &name); err != nil {
			t.Fatal(err)
		}
		if w, ok := f.Tensor(name); !ok || w.String() != want {
			t.Errorf("found %v, want %s", w, want)
		}
	}
	// The last tensor ends where the file does.
	last, _ := f.Tensor("output_norm.weight")
	data, err := os.ReadFile(realModel)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(last.Data, data[98360128:98360128+2304]) || len(data) != 98360128+2304 {
		t.Error("the last tensor's data is not the end of the file")
	}
}
