package tokenizer

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"headinfer/model/gguf"
)

// tinyGGUF is the metadata of a GGUF file with the 256 bytes, "th", "the" and two more tokens.
func tinyGGUF(t *testing.T, edit func(map[string]any)) Meta {
	t.Helper()
	tokens := make([]string, 0, 260)
	for _, c := range byteRune {
		tokens = append(tokens, string(c))
	}
	tokens = append(tokens, "th", "the", "<|im_end|>", "<user>")
	types := slices.Repeat([]int32{typeNormal}, 260)
	types[258], types[259] = typeControl, typeUserDefined
	meta := map[string]any{
		"general.architecture": "llama", "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "smollm",
		"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": types, "tokenizer.ggml.merges": []string{"t h", "th e"},
		"tokenizer.ggml.bos_token_id": uint32(65), "tokenizer.ggml.eos_token_id": uint32(258), "tokenizer.chat_template": "{{ x }}",
	}
	if edit != nil {
		edit(meta)
	}
	var kvs []gguf.KV
	for key, value := range meta {
		kvs = append(kvs, gguf.KV{Key: key, Value: value})
	}
	var file bytes.Buffer
	if err := gguf.Write(&file, kvs, nil); err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Parse("tiny.gguf", file.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFromGGUF(t *testing.T) {
	tok, err := FromGGUF(tinyGGUF(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	ids, err := tok.Encode("the<user>12<|im_end|>", EncodeOptions{Special: true, BOS: true})
	if err != nil || !slices.Equal(ids, []int32{257, 259, '1', '2', 258}) {
		t.Errorf("ids %v, %v", ids, err)
	}
	bos, hasBOS := tok.BOS()
	eos, hasEOS := tok.EOS()
	if bos != 65 || eos != 258 || !hasBOS || !hasEOS || tok.ChatTemplate() != "{{ x }}" || !slices.Equal(tok.EndTokens(), []int32{258}) {
		t.Errorf("BOS %d, EOS %d, ends %v, template %q", bos, eos, tok.EndTokens(), tok.ChatTemplate())
	}
	tok, err = FromGGUF(tinyGGUF(t, func(m map[string]any) {
		delete(m, "tokenizer.ggml.pre")
		delete(m, "tokenizer.ggml.token_type")
		m["tokenizer.ggml.add_bos_token"] = true
	}))
	if err != nil {
		t.Fatal(err)
	}
	if ids, err := tok.Encode("1234", EncodeOptions{BOS: true}); err != nil || !slices.Equal(ids, []int32{65, '1', '2', '3', '4'}) {
		t.Errorf("default pre-tokenizer with BOS: ids %v, %v", ids, err)
	}
	for name, pre := range preTokenizers {
		tok, err := FromGGUF(tinyGGUF(t, func(m map[string]any) { m["tokenizer.ggml.pre"] = name }))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		ids, err := tok.Encode("the", EncodeOptions{BOS: true})
		if want := 1 + len(tok.lead); err != nil || len(ids) != want || (len(tok.lead) == 1) != pre.addBOS {
			t.Errorf("%s: ids %v, %v", name, ids, err)
		}
	}
}

func TestFromGGUFRefuses(t *testing.T) {
	const k = "tokenizer.ggml."
	for name, c := range map[string]struct {
		edit  func(map[string]any)
		kind  error
		names string
	}{
		"no model":     {func(m map[string]any) { delete(m, k+"model") }, gguf.ErrNoKey, "model"},
		"t5":           {func(m map[string]any) { m[k+"model"] = "t5" }, ErrUnsupported, `"t5"`},
		"no scores":    {func(m map[string]any) { m[k+"model"] = "llama" }, gguf.ErrNoKey, "scores"},
		"few scores":   {func(m map[string]any) { m[k+"model"] = "llama"; m[k+"scores"] = []float32{1} }, ErrInvalid, "1 scores for 260"},
		"pre":          {func(m map[string]any) { m[k+"pre"] = "falcon" }, ErrUnsupported, "default, gpt-2, gpt-4o, llama-bpe"},
		"no tokens":    {func(m map[string]any) { delete(m, k+"tokens") }, gguf.ErrNoKey, "tokens"},
		"no merges":    {func(m map[string]any) { delete(m, k+"merges") }, gguf.ErrNoKey, "merges"},
		"merge":        {func(m map[string]any) { m[k+"merges"] = []string{"t h", "the"} }, ErrInvalid, "merges[1]"},
		"merge tokens": {func(m map[string]any) { m[k+"merges"] = []string{"t q"} }, ErrInvalid, `"tq"`},
		"types":        {func(m map[string]any) { m[k+"token_type"] = []int32{1} }, ErrInvalid, "1 types for 260 tokens"},
		"byte tokens":  {func(m map[string]any) { m[k+"token_type"].([]int32)[7] = 6 }, ErrUnsupported, "token_type[7]"},
		"twice":        {func(m map[string]any) { m[k+"tokens"].([]string)[9] = "the" }, ErrInvalid, "ids 9 and 257"},
		"empty":        {func(m map[string]any) { m[k+"tokens"].([]string)[258] = "" }, ErrInvalid, "tokens[258]"},
		"bos":          {func(m map[string]any) { m[k+"bos_token_id"] = uint32(260) }, ErrInvalid, "bos_token_id"},
		"bos type":     {func(m map[string]any) { m[k+"bos_token_id"] = "x" }, gguf.ErrType, "bos_token_id"},
		"no bos":       {func(m map[string]any) { delete(m, k+"bos_token_id"); m[k+"add_bos_token"] = true }, ErrInvalid, "add_bos_token"},
		"no eos":       {func(m map[string]any) { delete(m, k+"eos_token_id"); m[k+"add_eos_token"] = true }, ErrInvalid, "add_eos_token"},
	} {
		_, err := FromGGUF(tinyGGUF(t, c.edit))
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.names) || !strings.Contains(err.Error(), "tiny.gguf") {
			t.Errorf("%s: error %v, want %v naming %s and tiny.gguf", name, err, c.kind, c.names)
		}
	}
}
