package tokenizer

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Meta is the metadata of a GGUF file; gguf.File is one. A getter's error says the file, the key, and what was found where
// something else was expected.
type Meta interface {
	Name() string
	Has(key string) bool
	String(key string) (string, error)
	Strings(key string) ([]string, error)
	Ints(key string) ([]int32, error)
	Uint(key string) (uint64, error)
	Bool(key string) (bool, error)
}

// Values of tokenizer.ggml.token_type.
const (
	typeNormal      = 1
	typeUnknown     = 2
	typeControl     = 3
	typeUserDefined = 4
	typeUnused      = 5
)

// preTokenizer is what a value of tokenizer.ggml.pre stands for.
type preTokenizer struct {
	split  func() (splitter, error)
	nfc    bool // GGUF can't say it, and the models that carry this name normalise
	ignore bool
	addBOS bool // where the file has no add_bos_token
}

var preTokenizers = map[string]preTokenizer{
	"smollm":    {split: func() (splitter, error) { return sequence{digits{each: true}, scanner(nextGPT2)}, nil }},
	"gpt-2":     {split: func() (splitter, error) { return scanner(nextGPT2), nil }},
	"llama-bpe": {split: func() (splitter, error) { return newRegexpSplitter(regexpLlama3) }, ignore: true, addBOS: true},
	"qwen2":     {split: func() (splitter, error) { return newRegexpSplitter(regexpQwen2) }, nfc: true},
	"default":   {split: defaultSplit},
}

// defaultSplit is what llama.cpp does with files that name no pre-tokenizer: four expressions, one after the other.
func defaultSplit() (splitter, error) {
	punctuation, err := compileRegexp(`[\p{P}\$\+<=>\^~\|]+`)
	if err != nil {
		return nil, err
	}
	triples, err := compileRegexp(`[0-9][0-9][0-9]`)
	if err != nil {
		return nil, err
	}
	return sequence{punctuation, scanner(nextGPT2), digits{}, triples}, nil
}

// FromGGUF reads a tokenizer from tokenizer.ggml.* keys: model "gpt2" (byte-level BPE) with a known pre-tokenizer. Errors
// wrap ErrUnsupported or ErrInvalid, or are Meta's.
func FromGGUF(meta Meta) (*Tokenizer, error) {
	r := &ggufReader{meta: meta, file: meta.Name()}
	if model := r.string("tokenizer.ggml.model"); r.err == nil && model != "gpt2" {
		return nil, r.key("tokenizer.ggml.model").unsupported("%q; only \"gpt2\" (byte-level BPE) is implemented", model)
	}
	name := "default"
	if meta.Has("tokenizer.ggml.pre") {
		name = r.string("tokenizer.ggml.pre")
	}
	pre, ok := preTokenizers[name]
	if r.err == nil && !ok {
		return nil, r.key("tokenizer.ggml.pre").unsupported("%q; known are %s; use the model's tokenizer.json instead",
			name, strings.Join(slices.Sorted(maps.Keys(preTokenizers)), ", "))
	}
	p := &parts{
		vocabulary: r.key("tokenizer.ggml.tokens"), merging: r.key("tokenizer.ggml.merges"),
		unknown: noID, nfc: pre.nfc, ignore: pre.ignore,
	}
	p.texts = r.strings("tokenizer.ggml.tokens")
	p.bos, p.eos = r.id("tokenizer.ggml.bos_token_id", len(p.texts)), r.id("tokenizer.ggml.eos_token_id", len(p.texts))
	for _, key := range []string{"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"} {
		if id := r.id(key, len(p.texts)); id != noID {
			p.moreEnds = append(p.moreEnds, id)
		}
	}
	r.lead(p, pre.addBOS)
	if meta.Has("tokenizer.chat_template") {
		p.template = r.string("tokenizer.chat_template")
	}
	r.merges(p)
	r.types(p)
	if r.err != nil {
		return nil, r.err
	}
	var err error
	if p.split, err = pre.split(); err != nil {
		return nil, fmt.Errorf("%s: tokenizer.ggml.pre %q: %w", r.file, name, err)
	}
	return p.build()
}

// ggufReader reads keys until the first error, which it keeps.
type ggufReader struct {
	meta Meta
	file string
	err  error
}

func (r *ggufReader) key(key string) source { return source{r.file, key} }

func (r *ggufReader) keep(err error) {
	if r.err == nil && err != nil {
		r.err = err
	}
}

func (r *ggufReader) string(key string) string {
	s, err := r.meta.String(key)
	r.keep(err)
	return s
}

func (r *ggufReader) strings(key string) []string {
	s, err := r.meta.Strings(key)
	r.keep(err)
	return s
}

func (r *ggufReader) bool(key string, otherwise bool) bool {
	if !r.meta.Has(key) {
		return otherwise
	}
	b, err := r.meta.Bool(key)
	r.keep(err)
	return b
}

// id reads the id of one of size tokens, or noID if the file lacks the key.
func (r *ggufReader) id(key string, size int) int32 {
	if !r.meta.Has(key) {
		return noID
	}
	id, err := r.meta.Uint(key)
	r.keep(err)
	if err == nil && id >= uint64(size) {
		r.keep(r.key(key).invalid("%d, and the vocabulary has %d tokens", id, size))
		return noID
	}
	return int32(id)
}

// lead works out what goes in front of a text.
func (r *ggufReader) lead(p *parts, otherwise bool) {
	const key = "tokenizer.ggml.add_bos_token"
	if r.bool(key, otherwise && p.bos != noID) {
		if p.bos == noID {
			r.keep(r.key(key).invalid("true, and tokenizer.ggml.bos_token_id is missing"))
			return
		}
		p.lead = []int32{p.bos}
	}
	if r.bool("tokenizer.ggml.add_eos_token", false) {
		r.keep(r.key("tokenizer.ggml.add_eos_token").unsupported("true; a text to go on with can't end with an end token"))
	}
}

func (r *ggufReader) merges(p *parts) {
	lines := r.strings("tokenizer.ggml.merges")
	p.merges = make([][2]string, len(lines))
	for i, line := range lines {
		left, right, ok := cutMerge(line)
		if !ok {
			r.keep(p.merging.at("[%d]", i).invalid("%s; a merge is two tokens with one space between", strconv.Quote(line)))
			return
		}
		p.merges[i] = [2]string{left, right}
	}
}

// types finds the tokens that aren't ordinary text. A file without types has none.
func (r *ggufReader) types(p *parts) {
	const key = "tokenizer.ggml.token_type"
	if !r.meta.Has(key) {
		return
	}
	types, err := r.meta.Ints(key)
	if err != nil {
		r.keep(err)
		return
	}
	if len(types) != len(p.texts) {
		r.keep(r.key(key).invalid("%d types for %d tokens; each token has one", len(types), len(p.texts)))
		return
	}
	for i, typ := range types {
		tok := addedToken{text: p.texts[i], id: int32(i), special: typ != typeUserDefined}
		switch typ {
		case typeNormal, typeUnused:
			continue
		case typeUnknown, typeControl, typeUserDefined:
		default:
			r.keep(r.key(key).at("[%d]", i).unsupported("type %d of token %s; known are 1 to 5", typ, strconv.Quote(tok.text)))
			return
		}
		if tok.text == "" {
			r.keep(p.vocabulary.at("[%d]", i).invalid("the token is empty; tokens have at least one character"))
			return
		}
		p.added = append(p.added, tok)
	}
}

// cutMerge takes apart a merge that is written as two tokens with a space between.
func cutMerge(line string) (left, right string, ok bool) {
	left, right, ok = strings.Cut(line, " ")
	return left, right, ok && left != "" && right != "" && !strings.Contains(right, " ")
}
