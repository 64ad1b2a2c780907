package tokenizer

import (
	"math/rand/v2"
	"testing"
)

func TestBytes(t *testing.T) {
	tok, err := Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if tok.Size() != 257 || len(tok.MissingBytes()) != 0 {
		t.Fatalf("%d tokens, without one for %v", tok.Size(), tok.MissingBytes())
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	text := make([]byte, 1+r.IntN(5000))
	for i := range text {
		text[i] = byte(r.Uint32())
	}
	ids, err := tok.Encode(string(text), EncodeOptions{BOS: true, Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(ids) != len(text) {
		t.Fatalf("%d tokens for %d bytes", len(ids), len(text))
	}
	for i, id := range ids {
		if id != int32(text[i]) {
			t.Fatalf("byte %#02x became token %d", text[i], id)
		}
	}
	if got := tok.Decode(ids); got != string(text) {
		t.Error("the text does not come back")
	}
	end, ok := tok.EOS()
	if !ok || end != 256 || !tok.IsSpecial(end) || len(tok.EndTokens()) != 1 {
		t.Errorf("the end token is %d (%t), the tokens that end a text are %v", end, ok, tok.EndTokens())
	}
	if got, err := tok.Encode(tok.Token(end), EncodeOptions{}); err != nil || len(got) != len(tok.Token(end)) {
		t.Errorf("the end token written in a text became %v, %v", got, err)
	}
	if got, err := tok.Encode(tok.Token(end), EncodeOptions{Special: true}); err != nil || len(got) != 1 || got[0] != end {
		t.Errorf("the end token in a template became %v, %v", got, err)
	}
	if _, ok := tok.BOS(); ok || tok.ChatTemplate() != "" {
		t.Error("it has a begin token or a chat template")
	}
}
