// Package tokenizer turns text into token ids and back, with the byte-level BPE of GPT-2, Llama 3, Qwen2 and SmolLM2.
//
// A Tokenizer is read from a Hugging Face tokenizer.json (FromJSON) or from the metadata of a GGUF file (FromGGUF). Both
// are checked while they are read: what the package doesn't implement is refused by name, never approximated.
//
// Encoding is a chain of four steps, and each lives in its own file:
//
//	text → added tokens cut out (added.go) → normalised → split into words (split*.go) → each word merged (bpe.go)
//
// Invariants:
//   - ids are dense: every id in [0, Size()) names exactly one token;
//   - for valid UTF-8 the ids are those of Hugging Face's tokenizers library;
//   - Decode(Encode(s)) == s for any bytes, valid UTF-8 or not, if the vocabulary has a token for each byte of s
//     (MissingBytes lists those that it lacks) and the tokenizer neither normalises nor adds a space;
//   - a Tokenizer never changes once made and is safe for concurrent use; a Stream belongs to one goroutine.
package tokenizer

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"
)

// ErrNoToken is what Encode wraps, with Strict set, when the vocabulary has no token for a byte of the text.
var ErrNoToken = errors.New("the vocabulary has no token for this byte")

// noID stands for "no such token" wherever an id is held.
const noID int32 = -1

// EncodeOptions says how a text is encoded. The zero value encodes text that isn't trusted: special tokens written in it
// stay ordinary text, and nothing is put in front.
type EncodeOptions struct {
	// Special recognises special tokens that are written in the text, such as <|im_start|>: for rendered chat templates.
	// Added tokens that aren't special are recognised always, as the Hugging Face library does.
	Special bool
	// BOS puts in front what the model's own tokenizer does: its begin-of-text token, or nothing for a model (SmolLM2,
	// Qwen2) that starts without one.
	BOS bool
	// Strict makes a byte that has no token an error that wraps ErrNoToken. Without it such a byte becomes the unknown
	// token, or is left out if there is none, as the Hugging Face library does.
	Strict bool
}

// Tokenizer is a byte-level BPE vocabulary with its merges, its way of splitting text and its added tokens.
type Tokenizer struct {
	texts  []string         // id → the token as its file spells it
	raw    []string         // id → the bytes that it decodes to
	ids    map[string]int32 // the inverse of texts
	bpe    *bpe
	split  splitter
	nfc    bool
	prefix bool // put a space before each piece that doesn't begin with one

	special  []bool // id → special
	added    *matcher
	addedNFC *matcher // added tokens that are looked for after normalising

	lead     []int32 // what BOS puts in front
	bos, eos int32   // noID where the model has none
	ends     []int32
	template string
}

// Size is the number of tokens; ids run from 0 to Size()-1. The model's embedding may have more rows than this.
func (t *Tokenizer) Size() int { return len(t.texts) }

// Token is the token as its file spells it ("Ġthe", "<|im_end|>"), or "" for an id outside [0, Size()).
func (t *Tokenizer) Token(id int32) string {
	if !t.valid(id) {
		return ""
	}
	return t.texts[id]
}

// ID is the inverse of Token: the id of a token spelled as in its file.
func (t *Tokenizer) ID(token string) (int32, bool) {
	id, ok := t.ids[token]
	return id, ok
}

// BOS is the begin-of-text token, and whether the model has one. Having one doesn't mean that a text starts with it: that
// is EncodeOptions.BOS.
func (t *Tokenizer) BOS() (int32, bool) { return t.bos, t.bos != noID }

// EOS is the end-of-text token, and whether the model has one. A tokenizer.json doesn't say; WithConfig adds it.
func (t *Tokenizer) EOS() (int32, bool) { return t.eos, t.eos != noID }

// EndTokens lists the ids after which a model is done, ascending: EOS, and the special tokens by which the known chat
// formats close a turn (<|im_end|>, <|eot_id|> and the like). The slice is the caller's.
func (t *Tokenizer) EndTokens() []int32 { return slices.Clone(t.ends) }

// IsSpecial reports whether the id is a control token rather than text. It is false outside [0, Size()).
func (t *Tokenizer) IsSpecial(id int32) bool { return t.valid(id) && t.special[id] }

// ChatTemplate is the Jinja template that came with the tokenizer, or "" where none did.
func (t *Tokenizer) ChatTemplate() string { return t.template }

// MissingBytes lists the byte values that no token stands for, ascending. SmolLM2 lacks 21, such as 0x04 and 0xFF.
func (t *Tokenizer) MissingBytes() []byte {
	var out []byte
	for b, lacks := range t.bpe.lacks {
		if lacks {
			out = append(out, byte(b))
		}
	}
	return out
}

func (t *Tokenizer) valid(id int32) bool { return id >= 0 && int(id) < len(t.texts) }

// Encode turns text into ids. Its time is linear in the length of the text, but for a factor of log n in a word of n
// bytes. The error is about a byte without a token (only with Strict), or a splitting regexp that gave up on this text.
func (t *Tokenizer) Encode(text string, opt EncodeOptions) ([]int32, error) {
	e := encoder{t: t, opt: opt, out: make([]int32, 0, len(text)/4+len(t.lead)+1)}
	if opt.BOS {
		e.out = append(e.out, t.lead...)
	}
	if opt.Strict {
		if err := t.checkBytes(text); err != nil {
			return nil, err
		}
	}
	if err := t.added.cut(text, opt.Special, e.id, e.normalise); err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	return e.out, nil
}

func (t *Tokenizer) checkBytes(text string) error {
	for i := 0; i < len(text); i++ {
		if t.bpe.lacks[text[i]] {
			return fmt.Errorf("tokenizer: byte %#02x at offset %d of %d: %w; remove it from the text or encode without Strict",
				text[i], i, len(text), ErrNoToken)
		}
	}
	return nil
}

// encoder holds what one call of Encode carries from step to step.
type encoder struct {
	t    *Tokenizer
	opt  EncodeOptions
	out  []int32
	ends []int // scratch: where the words of a piece end
	work mergeWork
}

func (e *encoder) id(id int32) { e.out = append(e.out, id) }

func (e *encoder) normalise(piece string) error {
	if e.t.nfc {
		piece = nfc(piece)
	}
	return e.t.addedNFC.cut(piece, e.opt.Special, e.id, e.words)
}

func (e *encoder) words(piece string) error {
	if piece == "" {
		return nil
	}
	if e.t.prefix && piece[0] != ' ' {
		piece = " " + piece
	}
	ends, err := e.t.split.ends(piece, e.ends[:0])
	if err != nil {
		return err
	}
	start := 0
	for _, end := range ends {
		e.out = e.t.bpe.word(piece[start:end], e.out, &e.work)
		start = end
	}
	e.ends = ends
	return nil
}

// Decode gives the bytes that the ids stand for, special tokens spelled out. The result is valid UTF-8 only if the ids end
// at a character's end; an id outside [0, Size()) gives U+FFFD.
func (t *Tokenizer) Decode(ids []int32) string {
	n := 0
	for _, id := range ids {
		n += len(t.bytesOf(id))
	}
	out := make([]byte, 0, n)
	for _, id := range ids {
		out = append(out, t.bytesOf(id)...)
	}
	return string(out)
}

func (t *Tokenizer) bytesOf(id int32) string {
	if !t.valid(id) {
		return string(utf8.RuneError)
	}
	return t.raw[id]
}
