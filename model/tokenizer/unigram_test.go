package tokenizer

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// plainUnigram is Viterbi's algorithm over the whole word at once, with a map for the vocabulary.
func plainUnigram(p *parts, word string) []int32 {
	ids := map[string]int32{}
	low := 0.0
	for id, text := range p.texts {
		ids[text] = int32(id)
		low = min(low, p.scores[id])
	}
	type node struct {
		score float64
		from  int
		id    int32
		set   bool
	}
	best := make([]node, len(word)+1)
	enter := func(from, to int, id int32, score float64) {
		if n := &best[to]; !n.set || score > n.score {
			*n = node{score, from, id, true}
		}
	}
	for at := 0; at < len(word); {
		_, char := utf8.DecodeRuneInString(word[at:])
		whole := false
		for end := at + 1; end <= min(len(word), at+16); end++ { // five letters of three bytes are 15
			if id, ok := ids[word[at:end]]; ok {
				enter(at, end, id, p.scores[id]+best[at].score)
				whole = whole || end == at+char
			}
		}
		if !whole {
			enter(at, at+char, noID, low-unknownPenalty+best[at].score)
		}
		at += char
	}
	var out []int32
	for at := len(word); at > 0; at = best[at].from {
		id := best[at].id
		// Several unknown characters in a row are one.
		if id == noID && len(out) > 0 && out[len(out)-1] == noID {
			continue
		}
		out = append(out, id)
	}
	slices.Reverse(out)
	for i, id := range out {
		if id == noID {
			out[i] = p.unknown
		}
	}
	return out
}

func randomUnigram(r *rand.Rand, letters []string) *parts {
	p := &parts{kind: unigramHF, fuse: true, unknown: 0, bos: noID, eos: noID, texts: []string{"<unk>"}, scores: []float64{0}, decoder: decoder{}}
	known := map[string]bool{"<unk>": true}
	for range 40 {
		var b strings.Builder
		for range 1 + r.IntN(5) {
			b.WriteString(letters[r.IntN(len(letters)-1)]) // the last letter is unknown
		}
		if !known[b.String()] {
			known[b.String()] = true
			p.texts, p.scores = append(p.texts, b.String()), append(p.scores, -float64(r.IntN(8))-r.Float64())
		}
	}
	return p
}

func TestUnigramAgainstPlain(t *testing.T) {
	r := newRand(t)
	letters := []string{"a", "b", "c", "é", "中", "▁", "z"}
	for round := range 40 {
		p := randomUnigram(r, letters)
		tok, err := p.build()
		if err != nil {
			t.Fatal(err)
		}
		for i := range 40 {
			n := 1 + r.IntN(30)
			if i == 0 {
				n = 3*latticeBytes + r.IntN(100) // several settlements
			}
			var b strings.Builder
			for range n {
				b.WriteString(letters[r.IntN(len(letters))])
			}
			word := b.String()
			want := plainUnigram(p, word)
			if got := tok.model.encode(word, nil, &work{}); !slices.Equal(got, want) {
				t.Fatalf("round %d: %d bytes %.60q: %v, want %v", round, len(word), word, got[:min(len(got), 20)], want[:min(len(want), 20)])
			}
		}
	}
}

func TestUnigramWithoutToken(t *testing.T) {
	p := &parts{kind: unigramHF, unknown: noID, bos: noID, eos: noID, fallback: true, texts: []string{"a", "<0xC3>", "<0xA9>"}, scores: []float64{-1, -1, -1}}
	p.decoder.fallback = true
	tok, err := p.build()
	if err != nil {
		t.Fatal(err)
	}
	if ids, err := tok.Encode("aéza", EncodeOptions{}); err != nil || !slices.Equal(ids, []int32{0, 1, 2, 0}) || tok.Decode(ids) != "aéa" {
		t.Errorf("%v, %v", ids, err)
	}
	if _, err := tok.Encode("aéza", EncodeOptions{Strict: true}); err == nil || !strings.Contains(err.Error(), "aéza") {
		t.Errorf("strict: %v", err)
	}
	if got := tok.MissingBytes(); len(got) != 253 || slices.Contains(got, 'a') || slices.Contains(got, 0xC3) {
		t.Errorf("%d missing bytes", len(got))
	}
}

// plainScored merges texts: always the best score, the leftmost among equals, as long as two pieces make one.
func plainScored(p *parts, word string) []string {
	scores := map[string]float64{}
	for id, text := range p.texts {
		scores[text] = p.scores[id]
	}
	parts := strings.Split(word, "")
	for {
		best, with := -1, 0.0
		for i := 0; i+1 < len(parts); i++ {
			if s, ok := scores[parts[i]+parts[i+1]]; ok && (best < 0 || s > with) {
				best, with = i, s
			}
		}
		if best < 0 {
			break
		}
		parts = slices.Replace(parts, best, best+2, parts[best]+parts[best+1])
	}
	var out []string
	for _, s := range parts {
		if _, ok := scores[s]; !ok {
			if s = "<unk>"; len(out) > 0 && out[len(out)-1] == s {
				continue
			}
		}
		out = append(out, s)
	}
	return out
}

// TestScoredPairsAgainstPlain has vocabularies in which characters of pieces are no pieces themselves.
func TestScoredPairsAgainstPlain(t *testing.T) {
	r := newRand(t)
	letters := []string{"a", "b", "c", "é", "中", "▁", "z"}
	for round := range 100 {
		p := randomUnigram(r, letters)
		p.kind = scoredPairs
		for i := range p.scores {
			p.scores[i] = float64(-r.IntN(10)) // equal scores too
		}
		p.mergeable = slices.Repeat([]bool{true}, len(p.texts))
		p.mergeable[0] = false
		tok, err := p.build()
		if err != nil {
			t.Fatal(err)
		}
		for range 50 {
			var b strings.Builder
			for range 1 + r.IntN(100) {
				b.WriteString(letters[r.IntN(len(letters))])
			}
			ids, err := tok.Encode(b.String(), EncodeOptions{})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, id := range ids {
				got = append(got, tok.Token(id))
			}
			if want := plainScored(p, b.String()); !slices.Equal(got, want) {
				t.Fatalf("round %d: %q: %q, want %q", round, b.String(), got, want)
			}
		}
	}
}

func TestJSONScore(t *testing.T) {
	for number, want := range map[string]float64{
		"0": 0, "-3": -3, "-1.5": -1.5, "2.5e3": 2500, "1E-2": 0.01, "-12.25": -12.25, "123456789012345678901234567890.0": 123456789012345678e12,
		"1e-400": 0, "0.1": 0.1,
	} {
		if got, err := jsonScore(number); err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", number, got, err, want)
		}
	}
	r := newRand(t)
	differ := 0
	for range 2000 {
		want := -20 * r.Float64()
		got, err := jsonScore(fmt.Sprint(want))
		if err != nil || got < want*(1+1e-15) || got > want*(1-1e-15) {
			t.Fatalf("%v: %v, %v", want, got, err)
		}
		if got != want {
			differ++
		}
	}
	t.Logf("%d of 2000 numbers differ in the last bit", differ)
	for _, number := range []string{"", "x", "1e", "--1"} {
		if _, err := jsonScore(number); err == nil {
			t.Errorf("%q: no error", number)
		}
	}
}
