package tokenizer

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"headinfer/model/gguf"
	"headinfer/model/internal/hostile"
)

// family reads a file of testdata/families.
func family(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "families", name+".gz"))
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if data, err = io.ReadAll(z); err != nil {
		t.Fatal(err)
	}
	return data
}

func fromFamily(t testing.TB, name string) *Tokenizer {
	t.Helper()
	read := FromJSON
	if strings.HasSuffix(name, ".model") {
		read = FromSentencePiece
	}
	tok, err := read(name, family(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// TestGGUFOfSentencePiece puts a SentencePiece model into GGUF metadata, as llama.cpp's converter does: the same ids.
func TestGGUFOfSentencePiece(t *testing.T) {
	r := newRand(t)
	m, err := readSPModel(source{"sp", "model"}, family(t, "sp-llama2.model"))
	if err != nil {
		t.Fatal(err)
	}
	var scores []float32
	var types []int32
	for i, s := range m.scores {
		scores, types = append(scores, float32(s)), append(types, int32(m.types[i]))
	}
	var file bytes.Buffer
	const k = "tokenizer.ggml."
	if err := gguf.Write(&file, []gguf.KV{{Key: "general.architecture", Value: "llama"}, {Key: k + "model", Value: "llama"}, {Key: k + "tokens", Value: m.texts},
		{Key: k + "scores", Value: scores}, {Key: k + "token_type", Value: types}, {Key: k + "bos_token_id", Value: uint32(1)},
		{Key: k + "eos_token_id", Value: uint32(2)}, {Key: k + "unknown_token_id", Value: uint32(0)}, {Key: k + "add_eos_token", Value: true}}, nil); err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Parse("sp.gguf", file.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	fromGGUF, err := FromGGUF(f)
	if err != nil {
		t.Fatal(err)
	}
	piece := fromFamily(t, "sp-llama2.model")
	for range 2000 {
		// What such a vocabulary writes for a space comes back as one.
		text := strings.ReplaceAll(randomText(r, 1+r.IntN(40), false), "\u2581", " ")
		want, err := piece.Encode(text, EncodeOptions{BOS: true})
		if err != nil {
			t.Fatal(err)
		}
		got, err := fromGGUF.Encode(text, EncodeOptions{BOS: true, EOS: true, Strict: true})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, append(want, 2)) || got[0] != 1 {
			t.Fatalf("%q: %v, want %v and 2", text, got, want)
		}
		if back := fromGGUF.Decode(got[1 : len(got)-1]); back != text {
			t.Fatalf("%q came back as %q", text, back)
		}
	}
	// A marked token in the text begins a new part, with a space of its own.
	got, err := fromGGUF.Encode("a</s>a", EncodeOptions{Special: true})
	if err != nil || len(got) != 3 || got[0] != got[2] || got[1] != 2 {
		t.Errorf("%v, %v", got, err)
	}
}

// TestInvalidUTF8 has two rules: SentencePiece replaces each byte, and what falls back on bytes keeps them.
func TestInvalidUTF8(t *testing.T) {
	r := newRand(t)
	piece, gemma := fromFamily(t, "sp-t5.model"), fromFamily(t, "gemma.json")
	for range 500 {
		bad := randomText(r, 1+r.IntN(20), true)
		got, err := piece.Encode(bad, EncodeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var fixed strings.Builder
		for _, c := range bad { // one U+FFFD for each byte
			fixed.WriteRune(c)
		}
		want, err := piece.Encode(fixed.String(), EncodeOptions{})
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("%q: %v, want %v, %v", bad, got, want, err)
		}
		ids, err := gemma.Encode(bad, EncodeOptions{Strict: true})
		if err != nil {
			t.Fatal(err)
		}
		if back := gemma.Decode(ids); back != bad {
			t.Fatalf("%q came back as %q", bad, back)
		}
	}
}

// TestPairCutterChangesNothing encodes without it too.
func TestPairCutterChangesNothing(t *testing.T) {
	r := newRand(t)
	for _, name := range []string{"llama2.json", "mistral.json", "gemma.json", "unknowns.json", "splits.json", "sp-llama2.model", "sp-gemma.model", "sp-bpe.model"} {
		tok := fromFamily(t, name)
		last := len(tok.splitters) - 1
		if _, ok := tok.splitters[last].(*pairCutter); !ok {
			t.Fatalf("%s: the last splitter is %T", name, tok.splitters[last])
		}
		without := *tok
		without.splitters, without.cache = tok.splitters[:last], newWordCache()
		for range 300 {
			text := randomText(r, 1+r.IntN(40), true)
			got, err := tok.Encode(text, EncodeOptions{Special: true})
			if err != nil {
				t.Fatal(err)
			}
			want, err := without.Encode(text, EncodeOptions{Special: true})
			if err != nil || !slices.Equal(got, want) {
				t.Fatalf("%s: %q: %v, without cutting %v, %v", name, text, got, want, err)
			}
		}
	}
}

func TestStreamOfFamilies(t *testing.T) {
	r := newRand(t)
	for _, name := range []string{"llama2.json", "mistral.json", "gemma.json", "xlmr.json", "albert.json", "sp-llama2.model", "sp-bpe.model", "sp-unigram.model"} {
		tok := fromFamily(t, name)
		stream := tok.NewStream()
		for range 200 {
			ids, err := tok.Encode(randomText(r, r.IntN(20), false), EncodeOptions{BOS: r.IntN(2) == 0})
			if err != nil {
				t.Fatal(err)
			}
			var all strings.Builder
			for _, id := range ids {
				all.WriteString(stream.Push(id))
			}
			all.WriteString(stream.Flush())
			if want := tok.Decode(ids); all.String() != want {
				t.Fatalf("%s: %v streamed as %q, decoded %q", name, ids, all.String(), want)
			}
		}
	}
}

func TestFromSentencePieceRefuses(t *testing.T) {
	good := family(t, "sp-unigram.model")
	appended := func(more ...byte) []byte { return append(slices.Clone(good), more...) }
	pairs := family(t, "sp-bpe.model")
	pieceOf := func(text string, typ byte) []byte {
		p := append([]byte{1<<3 | 2, byte(len(text))}, text...)
		p = append(p, 3<<3, typ)
		return append([]byte{1<<3 | 2, byte(len(p))}, p...)
	}
	spec := func(number byte, fields ...byte) []byte {
		return append([]byte{number<<3 | 2, byte(len(fields))}, fields...)
	}
	for name, c := range map[string]struct {
		data  []byte
		kind  error
		names string
	}{
		"empty":     {nil, ErrInvalid, "no tokens"},
		"text":      {[]byte("not a model"), ErrInvalid, "no SentencePiece model"},
		"cut":       {good[:len(good)-1], ErrInvalid, "ends outside"},
		"word":      {appended(spec(spTrainer, 3<<3, 3)...), ErrUnsupported, "model_type"},
		"unused":    {append(slices.Clone(pairs), pieceOf("qq", 5)...), ErrUnsupported, `unused piece "qq"`},
		"type":      {appended(pieceOf("qq", 9)...), ErrUnsupported, "type 9"},
		"unknown 2": {appended(pieceOf("qq", 2)...), ErrInvalid, "second unknown"},
		"byte":      {appended(pieceOf("qq", 6)...), ErrInvalid, "<0xNN>"},
		"no text":   {appended(pieceOf("", 1)...), ErrInvalid, "is empty"},
		"twice":     {appended(pieceOf("<unk>", 1)...), ErrInvalid, `"<unk>" has the ids`},
		"charsmap":  {appended(spec(spNorm, spCharsmap<<3|2, 2, 1, 1)...), ErrInvalid, "precompiled_charsmap"},
	} {
		_, err := FromSentencePiece("dir/tokenizer.model", c.data)
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.names) || !strings.Contains(err.Error(), "dir/tokenizer.model: ") {
			t.Errorf("%s: error %v, want %v naming %s", name, err, c.kind, c.names)
		}
	}
	for _, model := range [][]byte{good, pairs} {
		tok, err := FromSentencePiece("unused.model", append(slices.Clone(model), pieceOf("<unused7>", 5)...))
		if err != nil {
			t.Fatal(err)
		}
		id, _ := tok.ID("<unused7>")
		if ids, err := tok.Encode("<unused7>", EncodeOptions{Special: true}); err != nil || len(ids) < 3 || slices.Contains(ids, id) {
			t.Errorf("an unused piece in the text became %v, %v", ids, err)
		}
	}
	for size, data := range map[string][]byte{"large": {255, 255, 255, 255, 0}, "odd": {3, 0, 0, 0, 0, 0, 0}, "no end": append(binary.LittleEndian.AppendUint32(nil, 4), 0, 0, 0, 0, 'a')} {
		if _, err := newCharsmap(data); err == nil {
			t.Errorf("charsmap %s: no error", size)
		}
	}
}

// FuzzFromSentencePiece looks for files that panic, or that load and then break an invariant.
func FuzzFromSentencePiece(f *testing.F) {
	for _, name := range []string{"sp-bpe.model", "sp-unigram.model", "sp-gemma.model"} {
		f.Add(family(f, name), "the key  under ﬁ\u0301\xff <|start|>")
	}
	addHostile(hostilePieces(), func(data []byte) { f.Add(data, "a x1") })
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		var tok *Tokenizer
		var ids []int32
		loaded := false
		err := hostile.Bounded(t, int64(len(data)+len(text)), func() (err error) {
			if tok, err = FromSentencePiece("fuzz.model", data); err != nil {
				return err
			}
			loaded = true
			ids, err = tok.Encode(text, EncodeOptions{Special: true, BOS: true})
			return err
		})
		if loaded && err != nil && !errors.Is(err, ErrUnsupported) { // but a text that grows
			t.Fatal(err)
		}
		if err != nil {
			return
		}
		for _, id := range ids {
			if !tok.valid(id) {
				t.Fatalf("id %d of %d", id, tok.Size())
			}
		}
		tok.Decode(ids)
	})
}
