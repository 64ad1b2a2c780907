package model

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"headinfer/kernels"
	"headinfer/model/gguf"
	"headinfer/model/internal/hostile"
	"headinfer/model/tensor"
	"headinfer/model/tokenizer"
)

// checkConfig checks what the decoder relies on in a configuration that was
// not refused.
func checkConfig(t *testing.T, c Config) {
	t.Helper()
	if _, err := json.Marshal(c); err != nil {
		t.Fatalf("it cannot be told: %v", err)
	}
	if c.Parameters() <= 0 || c.Group() < 1 || c.Group()*c.KVHeads != c.Heads || !(c.ScoreScale() > 0) {
		t.Fatalf("%d parameters, groups of %d, scores times %g: %+v", c.Parameters(), c.Group(), c.ScoreScale(), c)
	}
	for _, rope := range c.ropes() {
		for _, tokens := range []int{1, c.Context, math.MaxInt32} {
			f, scale := rope.Frequencies(tokens)
			if len(f) != rope.Dim/2 || !(scale > 0) || math.IsInf(scale, 0) {
				t.Fatalf("%d frequencies times %g of %+v", len(f), scale, rope)
			}
			for _, v := range f {
				if math.IsNaN(v) || math.IsInf(v, 0) {
					t.Fatalf("frequencies %v of %+v", f, rope)
				}
			}
		}
	}
	for layer := range c.Layers {
		_ = c.slides(layer)
	}
}

// smallGGUF is the smallest model in GGUF: a layer of one head, and a vocabulary
// of the bytes. edit may change its metadata and tensors.
func smallGGUF(t testing.TB, scored bool, edit func(meta map[string]any, tensors map[string][]int)) []byte {
	t.Helper()
	tok, err := tokenizer.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	var types []int32
	var scores []float32
	for id := range tok.Size() {
		texts, types, scores = append(texts, tok.Token(int32(id))), append(types, 1), append(scores, -float32(id))
	}
	texts, types, scores = append(texts, "ab", "</s>"), append(types, 1, 3), append(scores, 0, 0)
	meta := map[string]any{
		"general.architecture": "llama", "llama.block_count": uint32(1), "llama.embedding_length": uint32(8),
		"llama.attention.head_count": uint32(1), "llama.feed_forward_length": uint32(8), "llama.context_length": uint32(64),
		"llama.attention.layer_norm_rms_epsilon": float32(1e-5),
		"tokenizer.ggml.model":                   "gpt2", "tokenizer.ggml.tokens": texts, "tokenizer.ggml.token_type": types,
		"tokenizer.ggml.merges": []string{"a b"}, "tokenizer.ggml.eos_token_id": uint32(len(texts) - 1),
	}
	if scored {
		meta["tokenizer.ggml.model"], meta["tokenizer.ggml.scores"] = "llama", scores
	}
	tensors := map[string][]int{"token_embd.weight": {len(texts), 8}, "output_norm.weight": {8}, "blk.0.attn_norm.weight": {8}, "blk.0.ffn_norm.weight": {8}}
	for _, part := range []string{"attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"} {
		tensors["blk.0."+part+".weight"] = []int{8, 8}
	}
	if edit != nil {
		edit(meta, tensors)
	}
	var kvs []gguf.KV
	for _, key := range slices.Sorted(maps.Keys(meta)) {
		kvs = append(kvs, gguf.KV{Key: key, Value: meta[key]})
	}
	var all []tensor.Tensor
	for _, name := range slices.Sorted(maps.Keys(tensors)) {
		size, err := tensor.Size(kernels.F16, tensors[name])
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, tensor.Tensor{Name: name, DType: kernels.F16, Shape: tensors[name], Data: make([]byte, size)})
	}
	var b bytes.Buffer
	if err := gguf.Write(&b, kvs, all); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// hostileModels change one value of such a file (nil removes it), and say what
// the error says.
var hostileModels = []struct {
	key   string
	value any
	want  string
}{
	{"general.architecture", strings.Repeat("a", 1<<20), "aaa…"},
	{"general.architecture", "llama\xff", "is not supported"},
	{"llama.block_count", uint32(0), "layers is 0"},
	{"llama.block_count", uint32(4096), "is missing"},
	{"llama.block_count", uint64(1e9), "llama.block_count is 1000000000, larger than any model's"},
	{"llama.block_count", uint64(math.MaxUint64), "larger than any model's"},
	{"llama.block_count", int32(-1), "an integer that is not negative"},
	{"llama.block_count", "1", "is STRING"},
	{"llama.attention.head_count", uint32(0), "heads is 0"},
	{"llama.attention.head_count", []int32{1, 1}, "ARRAY of 2 INT32"},
	{"llama.attention.head_count_kv", uint32(3), "1 query heads do not divide among 3 KV heads"},
	{"llama.attention.key_length", uint64(1 << 40), "larger than any model's"},
	{"llama.attention.key_length", uint32(1 << 24), "head_dim 16777216 is not a multiple of 8 up to 1024"},
	{"llama.attention.sliding_window", int32(-1), "llama.attention.sliding_window is not supported"},
	{"llama.attention.layer_norm_rms_epsilon", float32(math.NaN()), "normalisation epsilon NaN"},
	{"llama.attention.layer_norm_rms_epsilon", float32(0), "normalisation epsilon 0"},
	{"llama.attention.layer_norm_rms_epsilon", math.Inf(1), "normalisation epsilon +Inf"},
	{"llama.rope.freq_base", float32(math.NaN()), "the rotary base is NaN"},
	{"llama.rope.freq_base", math.Inf(1), "the rotary base is +Inf"},
	{"llama.rope.freq_base", float32(0), "the rotary base is 0"},
	{"llama.rope.dimension_count", uint32(9), "the rotary part of a head is 9"},
	{"llama.rope.scaling.factor", math.Inf(1), "rope scaling's factor is +Inf"},
	{"llama.rope.scaling.type", strings.Repeat("a", 1<<20), "aaa…"},
	{"llama.expert_count", uint32(8), "llama.expert_count is not supported"},
	{"tokenizer.ggml.model", nil, `"tokenizer.ggml.model" is not among the file's`},
	{"tokenizer.ggml.tokens", []string{}, "0 tokens"},
	{"tokenizer.ggml.tokens", []string{"a", "a"}, "invalid tokenizer"},
	{"tokenizer.ggml.tokens", []int32{1}, "ARRAY of 1 INT32"},
	{"tokenizer.ggml.merges", []string{}, "no merges"},
	{"tokenizer.ggml.merges", []string{strings.Repeat(" ", 1<<20)}, "a merge is two tokens"},
	{"tokenizer.ggml.merges", []string{"a q\xff"}, "is not a token of the vocabulary"},
	{"tokenizer.ggml.merges", slices.Repeat([]string{""}, 1<<18), "merges[0]"},
	{"tokenizer.ggml.token_type", slices.Repeat([]int32{1}, 1<<18), "262144 types for"},
	{"tokenizer.ggml.eos_token_id", uint64(1 << 32), "4294967296, and the vocabulary has"},
	{"tokenizer.ggml.pre", strings.Repeat("a", 1<<20), "aaa…"},
	{"token_embd.weight", []int{8}, `"token_embd.weight" is missing or not a matrix`},
	{"token_embd.weight", []int{64, 8}, "tokens and the model 64"},
	{"output_norm.weight", []int{16}, "output_norm.weight"},
	{"blk.0.attn_q.weight", []int{8, 8, 1}, "blk.0.attn_q.weight"},
	{"blk.0.attn_q.bias", []int{8}, "this bias is not supported"},
	{"rope_freqs.weight", []int{1 << 20}, "1048576 numbers; expected 4"},
}

func TestHostileModels(t *testing.T) {
	for _, scored := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "sound.gguf")
		size := hostile.Write(t, path, smallGGUF(t, scored, nil))
		if err := hostile.Bounded(t, size, opened(path)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range hostileModels {
		t.Run(fmt.Sprintf("%s %.30v", c.key, c.value), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "hostile.gguf")
			data := smallGGUF(t, false, func(meta map[string]any, tensors map[string][]int) {
				switch shape, ok := c.value.([]int); {
				case ok:
					tensors[c.key] = shape
				case c.value == nil:
					delete(meta, c.key)
				default:
					meta[c.key] = c.value
				}
			})
			hostile.Refused(t, hostile.Write(t, path, data), opened(path), path, c.want)
		})
	}
	t.Run("a piece of a megabyte", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "hostile.gguf")
		data := smallGGUF(t, true, func(meta map[string]any, tensors map[string][]int) {
			texts := slices.Clone(meta["tokenizer.ggml.tokens"].([]string))
			texts[0] = strings.Repeat("a", 1<<20)
			meta["tokenizer.ggml.tokens"] = texts
		})
		hostile.Refused(t, hostile.Write(t, path, data), opened(path), path, "token 0 has 1048576 bytes")
	})
}

// TestSmallModelCutAnywhere cuts the file at each of its bytes before the data,
// and at some in them.
func TestSmallModelCutAnywhere(t *testing.T) {
	data := smallGGUF(t, false, nil)
	for end := 0; end < len(data); end++ {
		if end > len(data)-5000 {
			end += 63
		}
		c, err := parsed(data[:min(end, len(data)-32):min(end, len(data)-32)])
		if err == nil {
			closing(t, c)
			t.Fatalf("cut at %d of %d, it is opened", end, len(data))
		}
		if !strings.HasPrefix(err.Error(), "fuzz.gguf: at byte ") {
			t.Fatalf("cut at %d: %v", end, err)
		}
	}
}

// parsed is Open for a GGUF file in memory.
func parsed(data []byte) (*Checkpoint, error) {
	f, err := gguf.Parse("fuzz.gguf", data)
	if err != nil {
		return nil, err
	}
	c, err := fromGGUF(f)
	if err != nil {
		return nil, err
	}
	return c, c.check()
}

// FuzzGGUF checks that every GGUF file is refused, or is a model whose weights
// and tokens can be used.
func FuzzGGUF(f *testing.F) {
	f.Add(smallGGUF(f, false, nil), "ab é")
	f.Add(smallGGUF(f, true, nil), "ab é")
	for architecture, a := range architectures {
		if a.gguf != nil {
			f.Add(smallGGUF(f, false, func(meta map[string]any, _ map[string][]int) {
				meta["general.architecture"] = architecture
				for _, key := range slices.Collect(maps.Keys(meta)) {
					if rest, ok := strings.CutPrefix(key, "llama."); ok {
						meta[architecture+"."+rest] = meta[key]
					}
				}
			}), "")
		}
	}
	for _, c := range hostileModels {
		if value, ok := c.value.([]int); ok || c.value == nil || len(fmt.Sprint(value)) > 1000 {
			continue
		}
		data := smallGGUF(f, false, func(meta map[string]any, _ map[string][]int) { meta[c.key] = c.value })
		if len(data) < 1<<15 {
			f.Add(data, "a")
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		var c *Checkpoint
		var ids []int32
		err := hostile.Bounded(t, int64(len(data)+len(text)), func() (err error) {
			if c, err = parsed(data); err == nil {
				ids, err = c.Tokenizer.Encode(text, tokenizer.EncodeOptions{Special: true, BOS: true})
			}
			return err
		})
		if err != nil {
			if !strings.Contains(err.Error(), "fuzz.gguf: ") && !strings.HasPrefix(err.Error(), "tokenizer: ") {
				t.Fatalf("an error without the file: %v", err)
			}
			return
		}
		checkConfig(t, c.Config)
		for _, id := range ids {
			if c.Tokenizer.Token(id) == "" {
				t.Fatalf("%q has the token %d of %d", text, id, c.Tokenizer.Size())
			}
		}
		for _, spec := range c.Config.tensors() {
			found, ok := c.source.(*stored).lookup(spec.name)
			if size, err := tensor.Size(found.DType, found.Shape); !ok || err != nil || size != len(found.Data) {
				t.Fatalf("%s: %v of %d bytes: %v", spec.name, found, len(found.Data), err)
			}
		}
	})
}
