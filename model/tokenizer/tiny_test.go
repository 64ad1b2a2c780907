package tokenizer

import (
	"encoding/json"
	"math/rand/v2"
	"testing"
	"time"
)

func newRand(t testing.TB) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// tinyJSON is a tokenizer.json with the 256 bytes, merges of random tokens (spelled "a b" or as pairs), and four added
// tokens after them. edit may change it before it is written.
func tinyJSON(t testing.TB, r *rand.Rand, merges int, edit func(f map[string]any)) []byte {
	t.Helper()
	vocab, texts := map[string]any{}, []string{}
	add := func(s string) {
		vocab[s] = len(texts)
		texts = append(texts, s)
	}
	for _, c := range byteRune {
		add(string(c))
	}
	var list []any
	frequent := []string{"a", "b", "e", "t", "h", "Ġ", "é", "1"}
	for len(list) < merges {
		a, b := frequent[r.IntN(len(frequent))], frequent[r.IntN(len(frequent))]
		if made := texts[256:]; len(made) > 0 && r.IntN(2) == 0 {
			a = made[r.IntN(len(made))]
		}
		if made := texts[256:]; len(made) > 0 && r.IntN(3) == 0 {
			b = made[r.IntN(len(made))]
		}
		if _, known := vocab[a+b]; known || len(a+b) > 24 {
			continue
		}
		add(a + b)
		if len(list)%2 == 0 {
			list = append(list, a+" "+b)
		} else {
			list = append(list, []string{a, b})
		}
	}
	token := func(s string, special, normalized, strip bool) map[string]any {
		id := len(texts)
		texts = append(texts, s)
		return map[string]any{"id": id, "content": s, "special": special, "normalized": normalized,
			"single_word": false, "lstrip": strip, "rstrip": strip}
	}
	f := map[string]any{
		"version": "1.0",
		"model":   map[string]any{"type": "BPE", "vocab": vocab, "merges": list, "dropout": nil, "unk_token": nil, "byte_fallback": false},
		"added_tokens": []any{
			token("<|start|>", true, false, false), token("<|im_end|>", true, false, false),
			token("<|im_end|>!", false, false, false), token("<pad>", false, true, true),
		},
		"normalizer":     nil,
		"pre_tokenizer":  map[string]any{"type": "ByteLevel", "add_prefix_space": false, "use_regex": true, "trim_offsets": true},
		"post_processor": map[string]any{"type": "ByteLevel"},
		"decoder":        map[string]any{"type": "ByteLevel"},
	}
	if edit != nil {
		edit(f)
	}
	data, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func tiny(t testing.TB, r *rand.Rand, edit func(f map[string]any)) *Tokenizer {
	t.Helper()
	tok, err := FromJSON("tiny.json", tinyJSON(t, r, 60, edit))
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// randomText mixes what the splitting rules care about; with bad, invalid UTF-8 too.
func randomText(r *rand.Rand, parts int, bad bool) string {
	pieces := []string{"a", "the", "beth", "I", "é", "中", "😀", "1", "23", "4567", "Ⅷ", "½", " ", "  ", "\t", "\n", "\r\n", "\n\n", "\u00a0", "\u2028",
		"\u0085", "'", "'s", "'S", "'re", "'LL", "'ve", "'x", "'ſ", ".", "!?", "--", "_", "$", "+", "<", "<|", "̈", "\u200b", "\x00", "ǅ", "K", "'ſt"}
	out := []byte{}
	for range parts {
		switch k := r.IntN(20); {
		case k == 0 && bad:
			out = append(out, byte(r.IntN(256)))
		case k == 1:
			out = append(out, string(rune(r.IntN(0x30000)))...)
		default:
			out = append(out, pieces[r.IntN(len(pieces))]...)
		}
	}
	return string(out)
}
