package tokenizer

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"

	"headinfer/internal/shorten"
)

// Sentinels that errors of FromJSON, FromGGUF and WithConfig wrap.
var (
	// ErrInvalid is for a file that contradicts itself: a merge of tokens that don't exist, an id given twice.
	ErrInvalid = errors.New("invalid tokenizer")
	// ErrUnsupported is for a file that asks for something this package doesn't do.
	ErrUnsupported = errors.New("unsupported tokenizer")
)

// turnEnds are the special tokens with which the known chat formats end a turn or a text.
var turnEnds = []string{
	"<|endoftext|>", "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|end|>", "<|EOT|>", "</s>",
	"<|return|>", "<|call|>", "<｜end▁of▁sentence｜>",
}

// source is a place in a file, for errors: the file's name and the path of what is being read.
type source struct{ file, place string }

// shortened keeps a file's megabytes out of an error.
func shortened(format string, args []any) string {
	const most = 300
	for i, a := range args {
		if text := fmt.Sprint(a); len(text) > most {
			args[i] = shorten.To(most, text)
		}
	}
	return fmt.Sprintf(format, args...)
}

func (s source) at(format string, args ...any) source {
	return source{s.file, s.place + fmt.Sprintf(format, args...)}
}

func (s source) invalid(format string, args ...any) error {
	return fmt.Errorf("%s: %s: %w: %s", s.file, s.place, ErrInvalid, shortened(format, args))
}

func (s source) unsupported(format string, args ...any) error {
	return fmt.Errorf("%s: %s: %w: %s", s.file, s.place, ErrUnsupported, shortened(format, args))
}

// modelKind is how words become tokens.
type modelKind uint8

const (
	bytePairs     modelKind = iota // byte-pair encoding of bytes, spelled in the alphabet of alphabet.go
	charPairs                      // byte-pair encoding of characters, by a list of merges
	scoredPairs                    // the same, where any two pieces merge that make one, the best score first
	unigramHF                      // a unigram model whose scores are float64
	unigramScored                  // one whose scores are float32
)

// parts is what all file formats come down to.
type parts struct {
	vocabulary source // where the tokens are, for errors
	merging    source // where the merges are
	kind       modelKind
	texts      []string         // id → token, "" for an id without one
	own        map[string]int32 // the tokens that are the model's, and not only added; nil for all
	merges     [][2]string
	scores     []float64 // id → score, of the kinds that have them
	mergeable  []bool    // id → it may come about by merging, and stands in the unigram model's trie; nil for all
	frozen     []int32   // user-defined pieces of SentencePiece: they are never part of another
	added      []addedToken
	normalised []addedToken // those looked for after normalising
	unknown    int32        // what stands for a part without a token, or noID
	fuse       bool         // several in a row are one unknown token
	fallback   bool         // a character without a token becomes the tokens <0xNN> of its bytes
	ignore     bool         // a word that is a token is not split by merges
	unmerged   bool         // there are no merges, and there need not be any

	normalisers normalisers
	splitters   []splitter
	decoder     decoder
	lead, tail  []int32
	bos, eos    int32
	moreEnds    []int32
	template    string
	digest      uint64 // of what it was all read from
}

func (p *parts) build() (*Tokenizer, error) {
	t := &Tokenizer{
		texts: p.texts, raw: make([]string, len(p.texts)), ids: make(map[string]int32, len(p.texts)),
		splitters: p.splitters, cache: newWordCache(), head: p.decoder.head, headTillText: p.decoder.headTillText, special: make([]bool, len(p.texts)),
		lead: p.lead, tail: p.tail, bos: p.bos, eos: p.eos, template: p.template, digest: p.digest,
	}
	for id, text := range p.texts {
		if text == "" {
			continue
		}
		if first, twice := t.ids[text]; twice {
			return nil, p.vocabulary.invalid("token %s has the ids %d and %d; it may have one", strconv.Quote(text), first, id)
		}
		t.ids[text] = int32(id)
		var ok bool
		if t.raw[id], ok = p.decoder.raw(text); !ok {
			return nil, p.vocabulary.unsupported("token %s decodes to more than %d times its length", strconv.Quote(text), maxDecoded)
		}
	}
	if len(t.ids) == 0 {
		return nil, p.vocabulary.invalid("no tokens; convert or download the file again")
	}
	for _, tok := range slices.Concat(p.added, p.normalised) {
		if err := p.bounded(tok.id); err != nil {
			return nil, err
		}
		if p.decoder.byteLevel {
			t.raw[tok.id] = tok.text
		}
		t.special[tok.id] = tok.special
	}
	t.added = newMatcher(p.added)
	if len(p.normalisers) > 0 {
		t.normaliser = p.normalisers
		// These tokens are looked for in normalised text, so the library normalises them too.
		for i := range p.normalised {
			var err error
			if p.normalised[i].text, _, err = t.normaliser.normalise(p.normalised[i].text); err != nil {
				return nil, p.vocabulary.invalid("normalising token %d: %v", p.normalised[i].id, err)
			}
		}
	}
	p.normalised = slices.DeleteFunc(p.normalised, func(a addedToken) bool { return a.text == "" })
	t.addedNormalised = newMatcher(p.normalised)
	if err := p.buildModel(t); err != nil {
		return nil, err
	}
	t.ends = endTokens(t, p.moreEnds)
	return t, nil
}

// maxTokenBytes bounds tokens where the work on a text, or on the vocabulary, grows with the longest one: added tokens,
// unigram models, and pieces that merge by scores. The longest that models have are runs of some hundred spaces.
const maxTokenBytes = 1024

// bounded refuses a token that is longer than that.
func (p *parts) bounded(id int32) error {
	if n := len(p.texts[id]); n > maxTokenBytes {
		return p.vocabulary.unsupported("token %d has %d bytes, and such a token may have %d; its text is not that of a token", id, n, maxTokenBytes)
	}
	return nil
}

// scored is bounded for all tokens that take part in a model by scores.
func (p *parts) scored() error {
	for id, text := range p.texts {
		if text != "" && (p.mergeable == nil || p.mergeable[id]) {
			if err := p.bounded(int32(id)); err != nil {
				return err
			}
		}
	}
	return nil
}

// buildModel makes the model, and says which bytes have no token.
func (p *parts) buildModel(t *Tokenizer) error {
	ids := p.own
	if ids == nil {
		ids = t.ids
	}
	rest := fallback{}
	if p.fallback {
		rest = newFallback(ids)
	}
	if p.kind != bytePairs && p.kind != charPairs {
		if err := p.scored(); err != nil {
			return err
		}
	}
	if p.kind == unigramHF || p.kind == unigramScored {
		for _, b := range rest.lacks() {
			_, ok := ids[string(rune(b))]
			t.lacks[b] = b >= utf8.RuneSelf || !ok
		}
		if p.kind == unigramHF {
			t.model = buildUnigram[float64](p, rest)
		} else {
			t.model = buildUnigram[float32](p, rest)
		}
		return nil
	}
	m := &bpe{alphabet: alphabet{bytes: p.kind == bytePairs, unknown: p.unknown, fuse: p.fuse, rest: rest, size: int32(len(p.texts))}}
	t.bytes = m.bytes
	m.fill(ids)
	if p.kind == scoredPairs {
		p.fillScored(m)
	} else if err := p.fillMerges(m, ids); err != nil {
		return err
	}
	for b := range t.lacks {
		t.lacks[b] = m.byteID[b] == noID && (!rest.on || rest.bytes[b] == noID)
	}
	if p.ignore {
		m.whole = ids
		if m.bytes {
			m.whole = make(map[string]int32, len(ids))
			for text, id := range ids {
				m.whole[rawBytes(text)] = id
			}
		}
	}
	if cut, ok := p.pairCutter(&m.alphabet); ok {
		t.splitters = append(slices.Clone(t.splitters), cut)
	}
	t.model = m
	return nil
}

// endTokens gathers the ids that end a generation, ascending.
func endTokens(t *Tokenizer, more []int32) []int32 {
	ends := slices.Clone(more)
	if t.eos != noID {
		ends = append(ends, t.eos)
	}
	for _, text := range turnEnds {
		if id, ok := t.ids[text]; ok && t.special[id] {
			ends = append(ends, id)
		}
	}
	slices.Sort(ends)
	return slices.Compact(ends)
}
