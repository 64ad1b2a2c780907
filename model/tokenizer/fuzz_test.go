package tokenizer

import (
	"math/rand/v2"
	"testing"

	"headinfer/model/internal/hostile"
)

// FuzzFromJSON looks for files that panic, or that load and then break an invariant.
func FuzzFromJSON(f *testing.F) {
	f.Add(tinyJSON(f, rand.New(rand.NewPCG(1, 2)), 3, nil), "the beth <|im_end|>")
	f.Add([]byte(`{"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]},"added_tokens":[{"id":3,"content":"<s>","lstrip":true}],
		"normalizer":{"type":"NFC"},"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Digits"},
		{"type":"Split","pattern":{"Regex":"\\s+|a"},"behavior":"Isolated"},{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}]},
		"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"a"}},{"Sequence":{"id":"A"}}],"special_tokens":{"a":{"ids":[0]}}},
		"decoder":{"type":"ByteLevel"}}`), "ab  <s>ab")
	for _, name := range []string{"llama2.json", "splits.json", "albert.json"} {
		f.Add(family(f, name), " the key\n<|start|> ﬁ\u0301\xff")
	}
	addHostile(hostileJSON(), func(data []byte) { f.Add(data, "ab") })
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		var tok *Tokenizer
		var ids []int32
		err := hostile.Bounded(t, int64(len(data)+len(text)), func() (err error) {
			if tok, err = FromJSON("fuzz.json", data); err == nil {
				ids, err = tok.Encode(text, EncodeOptions{Special: true, BOS: true})
			}
			return err
		})
		if err != nil {
			return // of the file, or of an expression that gave up
		}
		for _, id := range ids {
			if !tok.valid(id) {
				t.Fatalf("id %d of %d", id, tok.Size())
			}
		}
		tok.Decode(ids)
		if _, err := tok.WithConfig("fuzz.json", data); err != nil {
			return
		}
	})
}

// FuzzRoundTrip holds every pre-tokenizer to Decode(Encode(s)) == s, and a Stream to Decode.
func FuzzRoundTrip(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	var toks []*Tokenizer
	for _, pattern := range []string{"", regexpLlama3, regexpQwen2, `\p{L}+`} {
		toks = append(toks, tiny(f, r, func(file map[string]any) {
			// <pad> takes white space away, by design.
			file["added_tokens"] = file["added_tokens"].([]any)[:3]
			if pattern != "" {
				file["pre_tokenizer"] = map[string]any{"type": "Sequence", "pretokenizers": []any{
					map[string]any{"type": "Split", "pattern": map[string]any{"Regex": pattern}, "behavior": "Isolated"},
					map[string]any{"type": "ByteLevel", "add_prefix_space": false, "use_regex": false},
				}}
			}
		}))
	}
	for range 20 {
		f.Add(randomText(r, 20, true))
	}
	f.Fuzz(func(t *testing.T, s string) {
		for i, tok := range toks {
			ids, err := tok.Encode(s, EncodeOptions{Special: true, Strict: true})
			if err != nil {
				t.Fatal(err)
			}
			if got := tok.Decode(ids); got != s {
				t.Fatalf("tokenizer %d: %q came back as %q", i, s, got)
			}
			stream := tok.NewStream()
			out := ""
			for _, id := range ids {
				out += stream.Push(id)
			}
			if out += stream.Flush(); out != s {
				t.Fatalf("tokenizer %d: %q streamed as %q", i, s, out)
			}
		}
	})
}
