// Package tokenizer turns text into token ids and back.
//
// A Tokenizer is read from a Hugging Face tokenizer.json (FromJSON), from a SentencePiece tokenizer.model (FromSentencePiece)
// or from the metadata of a GGUF file (FromGGUF). All are checked while they are read: what the package doesn't implement
// is refused by name, with what it does, and never approximated.
//
// Encoding is a chain of steps, and each lives in its own files:
//
//	text → added tokens cut out (added.go) → normalised (normalise.go, charsmap.go, spnormalise.go)
//	     → added tokens cut out that are looked for in normalised text → split into words (split*.go)
//	     → each word made into tokens: byte-pair encoding of bytes or characters (bpe.go), or a unigram model (unigram.go)
//
// Invariants:
//   - every id in [0, Size()) names at most one token, and none twice; a few files leave ids out;
//   - for valid UTF-8 the ids are those of the library that the file is for: Hugging Face's tokenizers, SentencePiece, or, for
//     GGUF files, the one that the model was trained with;
//   - Decode(Encode(s)) == s for any bytes, valid UTF-8 or not, if the vocabulary has a token for each byte of s
//     (MissingBytes lists those that it lacks) and the tokenizer neither normalises nor adds a space;
//   - a Tokenizer never changes once made and is safe for concurrent use; a Stream belongs to one goroutine.
package tokenizer

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/zeebo/xxh3"
)

// ErrNoToken is what Encode wraps, with Strict set, when the vocabulary has no token for a part of the text.
var ErrNoToken = errors.New("the vocabulary has no token for this")

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
	// EOS puts behind the text what the model's own tokenizer does, which for most is nothing. A text that a model is to go on
	// with must not end with an end token.
	EOS bool
	// Strict makes a byte or a character that has no token an error that wraps ErrNoToken. Without it it becomes the
	// unknown token, or is left out if there is none, as the Hugging Face library does.
	Strict bool
}

// Tokenizer is a vocabulary with its model, its way of splitting text and its added tokens.
type Tokenizer struct {
	texts []string         // id → the token as its file spells it; "" where the file leaves an id out
	raw   []string         // id → the bytes that it decodes to
	ids   map[string]int32 // the inverse of texts
	lacks [256]bool        // bytes without a token
	bytes bool             // the model's alphabet is bytes, so that lacks says all about a text that is not normalised

	normaliser normaliser // or nil
	splitters  []splitter
	model      model
	cache      wordCache
	head       func(text, raw string) string // what the first token of a text decodes to, or nil if that is nothing special

	headTillText bool // tokens count as the first until one decodes to something

	special         []bool // id → special
	added           *matcher
	addedNormalised *matcher // added tokens that are looked for after normalising

	lead, tail []int32 // what BOS puts in front, and EOS behind
	bos, eos   int32   // noID where the model has none
	ends       []int32
	template   string
	digest     uint64 // of what it was read from
}

// Size is the number of ids, which run from 0 to Size()-1. The model's embedding may have more rows than this.
func (t *Tokenizer) Size() int { return len(t.texts) }

// Token is the token as its file spells it ("Ġthe", "<|im_end|>"), or "" for an id that has none.
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

// Digest is the same for tokenizers that were read from the same bytes, or the same values of a GGUF file, and that put the
// same in front of a text and behind it. Tokenizers that differ in anything else than that have different ones.
func (t *Tokenizer) Digest() uint64 {
	return xxh3.HashString(fmt.Sprintf("%016x %v %v %v", t.digest, t.lead, t.tail, t.ends))
}

// ChatTemplate is the Jinja template that came with the tokenizer, or "" where none did.
func (t *Tokenizer) ChatTemplate() string { return t.template }

// MissingBytes lists the byte values that no token stands for, ascending. SmolLM2 lacks 21, such as 0x04 and 0xFF. In a
// vocabulary of characters that can't fall back on bytes those are most: from 0x80 on a byte alone is no character.
func (t *Tokenizer) MissingBytes() []byte {
	var out []byte
	for b, lacks := range t.lacks {
		if lacks {
			out = append(out, byte(b))
		}
	}
	return out
}

func (t *Tokenizer) valid(id int32) bool {
	return id >= 0 && int(id) < len(t.texts) && t.texts[id] != ""
}

// Encode turns text into ids. Its time is linear in the length of the text, but for a factor of log n in a word of n
// bytes. The error is about a part without a token (only with Strict), or an expression that gave up on this text.
func (t *Tokenizer) Encode(text string, opt EncodeOptions) ([]int32, error) {
	if opt.Strict && t.bytes {
		if err := t.checkBytes(text); err != nil {
			return nil, err
		}
	}
	e := encoder{t: t, opt: opt, out: make([]int32, 0, len(text)/4+len(t.lead)+len(t.tail)+1)}
	if opt.BOS {
		e.out = append(e.out, t.lead...)
	}
	e.connect()
	t.added.cut(text, opt.Special, e.id, e.normalise)
	if e.err != nil {
		return nil, fmt.Errorf("tokenizer: %w", e.err)
	}
	if opt.EOS {
		e.out = append(e.out, t.tail...)
	}
	return e.out, nil
}

func (t *Tokenizer) checkBytes(text string) error {
	for i := 0; i < len(text); i++ {
		if t.lacks[text[i]] {
			return fmt.Errorf("tokenizer: byte %#02x at offset %d of %d: %w; remove it from the text or encode without Strict",
				text[i], i, len(text), ErrNoToken)
		}
	}
	return nil
}

// encoder holds what one call of Encode carries from step to step. After an error the steps do nothing.
type encoder struct {
	t     *Tokenizer
	opt   EncodeOptions
	out   []int32
	steps []func(piece) // the splitters, each with the next one's function as its emit; then word
	work  work
	err   error
}

func (e *encoder) connect() {
	e.steps = make([]func(piece), len(e.t.splitters)+1)
	for i, s := range e.t.splitters {
		e.steps[i] = func(p piece) {
			if e.err == nil {
				e.fail(s.split(p, e.steps[i+1]))
			}
		}
	}
	e.steps[len(e.t.splitters)] = e.word
}

func (e *encoder) fail(err error) {
	if e.err == nil {
		e.err = err
	}
}

func (e *encoder) id(id int32) { e.out = append(e.out, id) }

// normalise takes a part of the text between added tokens on.
func (e *encoder) normalise(part string, at int) {
	start := at == 0
	if e.t.normaliser != nil {
		var cut bool
		var err error
		if part, cut, err = e.t.normaliser.normalise(part); err != nil {
			e.fail(err)
			return
		}
		start = start && !cut
	}
	e.t.addedNormalised.cut(part, e.opt.Special, e.id, func(part string, inside int) {
		if part != "" {
			e.steps[0](piece{text: part, start: start && inside == 0})
		}
	})
}

// wordQuote is how much of a word an error quotes, in bytes.
const wordQuote = 40

func (e *encoder) word(p piece) {
	e.work.lost = false
	e.out = e.t.cache.encode(e.t.model, p.text, e.out, &e.work)
	if e.work.lost && e.opt.Strict {
		e.fail(fmt.Errorf("a character of %q: %w; remove it from the text or encode without Strict", p.text[:min(len(p.text), wordQuote)], ErrNoToken))
	}
}

// Decode gives the bytes that the ids stand for, special tokens spelled out. The result is valid UTF-8 only if the ids end
// at a character's end; an id without a token gives U+FFFD.
func (t *Tokenizer) Decode(ids []int32) string {
	n := 0
	for _, id := range ids {
		n += len(t.bytesOf(id, false))
	}
	out := make([]byte, 0, n)
	for i, id := range ids {
		out = append(out, t.bytesOf(id, i == 0 || t.headTillText && len(out) == 0)...)
	}
	return string(out)
}

// bytesOf is what a token decodes to; first says that the text begins with it.
func (t *Tokenizer) bytesOf(id int32, first bool) string {
	switch {
	case !t.valid(id):
		return string(utf8.RuneError)
	case first && t.head != nil:
		return t.head(t.texts[id], t.raw[id])
	}
	return t.raw[id]
}
