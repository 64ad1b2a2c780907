package tokenizer

import (
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestRoundTripOfAnyBytes(t *testing.T) {
	r := newRand(t)
	for range 20 {
		tok := tiny(t, r, nil)
		for range 200 {
			s := randomText(r, r.IntN(60), true)
			for _, special := range []bool{false, true} {
				ids, err := tok.Encode(s, EncodeOptions{Special: special, BOS: true, Strict: true})
				if err != nil {
					t.Fatal(err)
				}
				if got := tok.Decode(ids); got != s {
					t.Fatalf("%q came back as %q", s, got)
				}
			}
		}
	}
}

func TestAddedTokens(t *testing.T) {
	tok := tiny(t, newRand(t), nil)
	for _, c := range []struct {
		text    string
		special bool
		want    []string // the added tokens found
	}{
		{"<|start|>a<|im_end|>", true, []string{"<|start|>", "<|im_end|>"}},
		{"<|start|>a<|im_end|>", false, nil},
		{"<<|im_end|>!<|im_end|", true, []string{"<|im_end|>!"}}, // the longest
		{"<|im_end|>!", false, []string{"<|im_end|>!"}},          // not special: always
		{"a \n<pad>  <pad>b", false, []string{"<pad>", "<pad>"}},
		{"<|start", true, nil},
	} {
		ids, err := tok.Encode(c.text, EncodeOptions{Special: c.special})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, id := range ids {
			if text := tok.Token(id); len(text) > 4 && text[0] == '<' {
				got = append(got, text)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%q, special %v: found %q, want %q", c.text, c.special, got, c.want)
		}
	}
	// <pad> takes the white space on both sides with it.
	if ids, err := tok.Encode("a \n<pad>  <pad> b", EncodeOptions{}); err != nil || tok.Decode(ids) != "a<pad><pad>b" {
		t.Errorf("stripped text %q, %v", tok.Decode(ids), err)
	}
}

func TestAccessors(t *testing.T) {
	tok := tiny(t, newRand(t), nil)
	for id := range int32(tok.Size()) {
		if got, ok := tok.ID(tok.Token(id)); !ok || got != id {
			t.Fatalf("token %d %q has id %d, %v", id, tok.Token(id), got, ok)
		}
	}
	end, _ := tok.ID("<|im_end|>")
	pad, _ := tok.ID("<pad>")
	if !tok.IsSpecial(end) || tok.IsSpecial(pad) || tok.IsSpecial(-1) || tok.IsSpecial(int32(tok.Size())) {
		t.Error("IsSpecial: want true for <|im_end|>, false for <pad> and outside the vocabulary")
	}
	if got := tok.EndTokens(); !slices.Equal(got, []int32{end}) {
		t.Errorf("end tokens %v, want %d", got, end)
	}
	if _, ok := tok.BOS(); ok {
		t.Error("a tokenizer without a template has a BOS")
	}
	if _, ok := tok.EOS(); ok {
		t.Error("a tokenizer without a config has an EOS")
	}
	if tok.Token(-1) != "" || tok.Decode([]int32{-1, 1 << 30}) != "\ufffd\ufffd" {
		t.Error("ids outside the vocabulary: want an empty Token, and U+FFFD from Decode")
	}
}

func TestStreamKeepsCharactersWhole(t *testing.T) {
	r := newRand(t)
	tok := tiny(t, r, nil)
	for range 300 {
		s := randomText(r, 1+r.IntN(20), false)
		stream := tok.NewStream()
		var all strings.Builder
		for i := range len(s) { // the hardest way: one token a byte
			out := stream.Push(tok.model.(*bpe).byteID[s[i]])
			if !utf8.ValidString(out) {
				t.Fatalf("%q: push %d gave %q", s, i, out)
			}
			all.WriteString(out)
		}
		if rest := stream.Flush(); rest != "" || all.String() != s {
			t.Fatalf("%q came out as %q, and %q was held", s, all.String(), rest)
		}
	}
}

func TestStreamOfBrokenBytes(t *testing.T) {
	r := newRand(t)
	tok := tiny(t, r, nil)
	for range 500 {
		s := randomText(r, 1+r.IntN(10), true)
		s = s[:r.IntN(len(s)+1)]
		ids, err := tok.Encode(s, EncodeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		stream := tok.NewStream()
		var all strings.Builder
		for _, id := range ids {
			all.WriteString(stream.Push(id))
			if len(stream.held) >= utf8.UTFMax {
				t.Fatalf("%q: %d bytes held", s, len(stream.held))
			}
		}
		all.WriteString(stream.Flush())
		if all.String() != s || stream.Flush() != "" {
			t.Fatalf("%q came out as %q", s, all.String())
		}
	}
	stream := tok.NewStream()
	if got := stream.Push(tok.model.(*bpe).byteID[0xE4]) + stream.Push(tok.model.(*bpe).byteID['a']); got != "\xe4a" {
		t.Errorf("a character that never ends: %q, want its bytes at once", got)
	}
}

func TestPrefixSpaceAndNFC(t *testing.T) {
	r := newRand(t)
	tok := tiny(t, r, func(f map[string]any) {
		f["pre_tokenizer"].(map[string]any)["add_prefix_space"] = true
		f["normalizer"] = map[string]any{"type": "Sequence", "normalizers": []any{map[string]any{"type": "NFC"}}}
	})
	ids, err := tok.Encode("e\u0301<|start|> a", EncodeOptions{Special: true})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := tok.Decode(ids), " \u00e9<|start|> a"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestLongWordsAreLinear encodes a word of 4 MB, which any quadratic step would turn into hours.
func TestLongWordsAreLinear(t *testing.T) {
	tok := tiny(t, newRand(t), nil)
	for _, s := range []string{strings.Repeat("a", 4<<20), strings.Repeat(" ", 4<<20), strings.Repeat("<", 4<<20), strings.Repeat("\n ", 2<<20)} {
		start := time.Now()
		ids, err := tok.Encode(s, EncodeOptions{Special: true})
		if err != nil {
			t.Fatal(err)
		}
		if got := tok.Decode(ids); got != s {
			t.Fatalf("a run of %q doesn't come back", s[:2])
		}
		t.Logf("4 MB of %q in %v", s[:2], time.Since(start).Round(time.Millisecond))
	}
}
