package tokenizer

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
)

// plainMerge is byte-pair encoding as it is defined: look for the pair with the lowest rank, merge the leftmost, repeat.
func plainMerge(m *bpe, word string) []int32 {
	var ids []int32
	for i := range len(word) {
		if id := m.byteID[word[i]]; id != noID {
			ids = append(ids, id)
		}
	}
	for {
		best, with := -1, mergeResult{rank: 1 << 30}
		for i := 0; i+1 < len(ids); i++ {
			if r := m.merges.get(ids[i], ids[i+1]); r.rank < with.rank {
				best, with = i, r
			}
		}
		if best < 0 {
			return ids
		}
		ids = slices.Replace(ids, best, best+2, with.id)
	}
}

func TestMergesAgainstPlain(t *testing.T) {
	r := newRand(t)
	letters := []string{"a", "b", "e", "t", "h", " ", "é", "1", "z", "\xff"}
	for round := range 30 {
		tok := tiny(t, r, nil)
		var w work
		m := tok.model.(*bpe)
		for range 100 {
			var b strings.Builder
			for range 1 + r.IntN(80) {
				b.WriteString(letters[r.IntN(len(letters))])
			}
			word := b.String()
			want := plainMerge(m, word)
			if got := m.mergeByHeap(m.start(word, nil, &w), nil, &w); !slices.Equal(got, want) {
				t.Fatalf("round %d: by heap %q is %v, want %v", round, word, got, want)
			}
			if got := tok.cache.encode(m, word, nil, &w); !slices.Equal(got, want) {
				t.Fatalf("round %d: %q is %v, want %v", round, word, got, want)
			}
			if short := word[:min(len(word), scanMax)]; !slices.Equal(m.mergeByScan(m.start(short, nil, &w), nil), plainMerge(m, short)) {
				t.Fatalf("round %d: by scan %q differs", round, short)
			}
		}
	}
}

// TestMissingBytes takes bytes out of the vocabulary: they vanish, or are an error, or are the unknown token.
func TestMissingBytes(t *testing.T) {
	r := newRand(t)
	without := func(f map[string]any) {
		vocab := f["model"].(map[string]any)["vocab"].(map[string]any)
		// Another token takes the id, so that there is no gap.
		vocab["zq"] = vocab["z"]
		delete(vocab, "z")
	}
	tok := tiny(t, r, without)
	if got := tok.MissingBytes(); !slices.Equal(got, []byte("z")) {
		t.Fatalf("missing bytes %q, want z", got)
	}
	ids, err := tok.Encode("xzy", EncodeOptions{})
	if err != nil || tok.Decode(ids) != "xy" {
		t.Errorf("%v, %v; want the ids of xy", ids, err)
	}
	if _, err := tok.Encode("xzy", EncodeOptions{Strict: true}); err == nil || !strings.Contains(err.Error(), "offset 1 of 3") {
		t.Errorf("strict: error %v, want one about offset 1 of 3", err)
	}
	tok = tiny(t, r, func(f map[string]any) {
		without(f)
		f["model"].(map[string]any)["unk_token"] = "!"
	})
	if ids, err := tok.Encode("xzy", EncodeOptions{}); err != nil || tok.Decode(ids) != "x!y" {
		t.Errorf("with unk_token: %q, %v; want x!y", tok.Decode(ids), err)
	}
	if _, err := tok.Encode("xzy", EncodeOptions{Strict: true}); !errors.Is(err, ErrNoToken) {
		t.Errorf("strict with unk_token: error %v, want ErrNoToken", err)
	}
}

func TestIgnoreMerges(t *testing.T) {
	// "eth" can't come about by the merges alone: "th" merges first.
	edit := func(ignore bool) func(map[string]any) {
		return func(f map[string]any) {
			m := f["model"].(map[string]any)
			vocab := map[string]any{}
			for i, r := range byteRune {
				vocab[string(r)] = i
			}
			for i, s := range []string{"th", "et", "eth"} {
				vocab[s] = 256 + i
			}
			m["vocab"], m["merges"], m["ignore_merges"] = vocab, []string{"t h", "e t", "et h"}, ignore
			delete(f, "added_tokens")
		}
	}
	r := newRand(t)
	for ignore, want := range map[bool]int{true: 1, false: 2} {
		ids, err := tiny(t, r, edit(ignore)).Encode("eth", EncodeOptions{})
		if err != nil || len(ids) != want {
			t.Errorf("ignore_merges %v: ids %v, %v; want %d", ignore, ids, err, want)
		}
	}
}

func TestConcurrentEncode(t *testing.T) {
	tok := tiny(t, newRand(t), nil)
	text := strings.Repeat("the beth at a bath, eat 11 hats. ", 50)
	want, err := tok.Encode(text, EncodeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 20 {
				if got, err := tok.Encode(text, EncodeOptions{}); err != nil || !slices.Equal(got, want) {
					t.Errorf("ids differ between goroutines, error %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
}
