package tokenizer

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/zeebo/xxh3"
)

// Meta is the metadata of a GGUF file; gguf.File is one. A getter's error says the file, the key, and what was found where
// something else was expected.
type Meta interface {
	Name() string
	Has(key string) bool
	String(key string) (string, error)
	Strings(key string) ([]string, error)
	Ints(key string) ([]int32, error)
	Floats(key string) ([]float32, error)
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
	typeByte        = 6
)

// preTokenizer is what a value of tokenizer.ggml.pre stands for.
type preTokenizer struct {
	splitters func() ([]splitter, error)
	nfc       bool // GGUF can't say it, and the models that carry this name normalise
	ignore    bool
	addBOS    bool // where the file has no add_bos_token
}

var llama3PreTokenizer = preTokenizer{splitters: byExpression(regexpLlama3), ignore: true, addBOS: true}

var preTokenizers = map[string]preTokenizer{
	"smollm": {splitters: func() ([]splitter, error) {
		return []splitter{cutter{finder: characters(isNumber)}, scanner(nextGPT2)}, nil
	}},
	"gpt-2":     {splitters: byExpression(regexpGPT2)},
	"llama-bpe": llama3PreTokenizer,
	"llama3":    llama3PreTokenizer,
	"llama-v3":  llama3PreTokenizer,
	"qwen2":     {splitters: byExpression(regexpQwen2), nfc: true},
	"gpt-4o":    {splitters: byExpression(regexpGPT4o)},
	"tekken":    {splitters: byExpression(regexpTekken), ignore: true, addBOS: true},
	"default":   {splitters: defaultSplit},
}

func byExpression(pattern string) func() ([]splitter, error) {
	return func() ([]splitter, error) { return []splitter{knownRegexps[pattern]}, nil }
}

// defaultSplit is what llama.cpp does with files that name no pre-tokenizer: four expressions, one after the other.
func defaultSplit() ([]splitter, error) {
	punctuation, err := newExpression(`[\p{P}\$\+<=>\^~\|]+`)
	if err != nil {
		return nil, err
	}
	triples, err := newExpression(`[0-9][0-9][0-9]`)
	if err != nil {
		return nil, err
	}
	return []splitter{
		cutter{finder: punctuation}, scanner(nextGPT2),
		cutter{finder: characters(isNumber), behavior: contiguous}, cutter{finder: triples},
	}, nil
}

// FromGGUF reads a tokenizer from tokenizer.ggml.* keys: model "gpt2" (byte-level BPE) with a known pre-tokenizer, or
// "llama" (SentencePiece's BPE, by scores). Errors wrap ErrUnsupported or ErrInvalid, or are Meta's.
func FromGGUF(meta Meta) (*Tokenizer, error) {
	r := &ggufReader{meta: meta, file: meta.Name(), read: xxh3.New()}
	p := &parts{vocabulary: r.key("tokenizer.ggml.tokens"), merging: r.key("tokenizer.ggml.merges"), unknown: noID}
	model := r.string("tokenizer.ggml.model")
	p.texts = r.strings("tokenizer.ggml.tokens")
	for id, text := range p.texts {
		if text == "" {
			r.keep(p.vocabulary.at("[%d]", id).invalid("the token is empty; tokens have at least one character"))
		}
	}
	p.bos, p.eos = r.id("tokenizer.ggml.bos_token_id", len(p.texts)), r.id("tokenizer.ggml.eos_token_id", len(p.texts))
	for _, key := range []string{"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"} {
		if id := r.id(key, len(p.texts)); id != noID {
			p.moreEnds = append(p.moreEnds, id)
		}
	}
	if meta.Has("tokenizer.chat_template") {
		p.template = r.string("tokenizer.chat_template")
	}
	if r.err != nil {
		return nil, r.err
	}
	switch model {
	case "gpt2":
		r.bytePairs(p)
	case "llama":
		r.scoredPairs(p)
	default:
		return nil, r.key("tokenizer.ggml.model").unsupported("%q; known are \"gpt2\" (byte-level BPE) and \"llama\" (SentencePiece's BPE)", model)
	}
	if r.err != nil {
		return nil, r.err
	}
	p.digest = r.read.Sum64()
	return p.build()
}

// bytePairs reads what only the model gpt2 has.
func (r *ggufReader) bytePairs(p *parts) {
	const key = "tokenizer.ggml.pre"
	name := "default"
	if r.meta.Has(key) {
		name = r.string(key)
	}
	pre, ok := preTokenizers[name]
	if r.err == nil && !ok {
		r.keep(r.key(key).unsupported("%q; known are %s; use the model's tokenizer.json instead",
			name, strings.Join(slices.Sorted(maps.Keys(preTokenizers)), ", ")))
		return
	}
	p.kind, p.ignore, p.decoder.byteLevel = bytePairs, pre.ignore, true
	if pre.nfc {
		p.normalisers = normalisers{nfc}
	}
	r.around(p, pre.addBOS)
	r.merges(p)
	for id, typ := range r.types(p) {
		if typ == typeByte {
			r.keep(r.key("tokenizer.ggml.token_type").at("[%d]", id).unsupported("type %d (byte) in a vocabulary of model \"gpt2\"; known there are 1 to 5", typ))
			return
		}
	}
	if r.err != nil {
		return
	}
	var err error
	if p.splitters, err = pre.splitters(); err != nil {
		r.keep(fmt.Errorf("%s: %s %q: %w", r.file, key, name, err))
	}
}

// scoredPairs reads what only the model llama has.
func (r *ggufReader) scoredPairs(p *parts) {
	const key = "tokenizer.ggml.scores"
	p.kind, p.fallback, p.fuse = scoredPairs, true, true
	scores, err := r.meta.Floats(key)
	r.saw(key, scores)
	if err != nil {
		r.keep(err)
		return
	}
	if len(scores) != len(p.texts) {
		r.keep(r.key(key).invalid("%d scores for %d tokens; each token has one", len(scores), len(p.texts)))
		return
	}
	for _, s := range scores {
		p.scores = append(p.scores, float64(s))
	}
	p.unknown = r.id("tokenizer.ggml.unknown_token_id", len(p.texts))
	r.around(p, true)
	p.mergeable = make([]bool, len(p.texts))
	for i := range p.mergeable {
		p.mergeable[i] = true
	}
	for id, typ := range r.types(p) {
		p.mergeable[id] = typ == typeNormal || typ == typeUserDefined || typ == typeUnused
	}
	p.decoder = decoder{steps: []func(string) string{replaceStep(spMark, " ")}, fallback: true}
	if r.bool("tokenizer.ggml.add_space_prefix", true) {
		p.normalisers = append(p.normalisers, prepender(spMark))
		p.decoder.head = dropMark
	}
	p.normalisers = append(p.normalisers, replacer{" ", spMark})
}

// ggufReader reads keys until the first error, which it keeps.
type ggufReader struct {
	meta Meta
	file string
	err  error
	read *xxh3.Hasher // of what it has read
}

// saw adds a value to what was read.
func (r *ggufReader) saw(key string, value any) {
	list, ok := value.([]string)
	if !ok {
		_, _ = fmt.Fprintf(r.read, "%s=%v\n", key, value) // a hash takes all
		return
	}
	_, _ = fmt.Fprintf(r.read, "%s=%d\n", key, len(list))
	for _, text := range list {
		_, _ = r.read.WriteString(strconv.Itoa(len(text)) + " " + text)
	}
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
	r.saw(key, s)
	return s
}

func (r *ggufReader) strings(key string) []string {
	s, err := r.meta.Strings(key)
	r.keep(err)
	r.saw(key, s)
	return s
}

func (r *ggufReader) bool(key string, otherwise bool) bool {
	if !r.meta.Has(key) {
		return otherwise
	}
	b, err := r.meta.Bool(key)
	r.keep(err)
	r.saw(key, b)
	return b
}

// id reads the id of one of size tokens, or noID if the file lacks the key.
func (r *ggufReader) id(key string, size int) int32 {
	if !r.meta.Has(key) {
		return noID
	}
	id, err := r.meta.Uint(key)
	r.keep(err)
	r.saw(key, id)
	if err == nil && id >= uint64(size) {
		r.keep(r.key(key).invalid("%d, and the vocabulary has %d tokens", id, size))
		return noID
	}
	return int32(id)
}

// around works out what goes in front of a text and behind it.
func (r *ggufReader) around(p *parts, otherwise bool) {
	const front, behind = "tokenizer.ggml.add_bos_token", "tokenizer.ggml.add_eos_token"
	if r.bool(front, otherwise && p.bos != noID) {
		if p.bos == noID {
			r.keep(r.key(front).invalid("true, and tokenizer.ggml.bos_token_id is missing"))
			return
		}
		p.lead = []int32{p.bos}
	}
	if r.bool(behind, false) {
		if p.eos == noID {
			r.keep(r.key(behind).invalid("true, and tokenizer.ggml.eos_token_id is missing"))
			return
		}
		p.tail = []int32{p.eos}
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

// types gives the type of each token, and adds those that aren't ordinary text. A file without types has none.
func (r *ggufReader) types(p *parts) []int32 {
	const key = "tokenizer.ggml.token_type"
	if !r.meta.Has(key) {
		return nil
	}
	types, err := r.meta.Ints(key)
	r.saw(key, types)
	if err != nil {
		r.keep(err)
		return nil
	}
	if len(types) != len(p.texts) {
		r.keep(r.key(key).invalid("%d types for %d tokens; each token has one", len(types), len(p.texts)))
		return nil
	}
	for i, typ := range types {
		switch typ {
		case typeNormal, typeUnused, typeByte:
		case typeUnknown, typeControl, typeUserDefined:
			p.added = append(p.added, addedToken{text: p.texts[i], id: int32(i), special: typ != typeUserDefined})
		default:
			r.keep(r.key(key).at("[%d]", i).unsupported("type %d of token %s; known are 1 to 6", typ, strconv.Quote(p.texts[i])))
			return nil
		}
	}
	return types
}

// cutMerge takes apart a merge that is written as two tokens with a space between.
func cutMerge(line string) (left, right string, ok bool) {
	left, right, ok = strings.Cut(line, " ")
	return left, right, ok && left != "" && right != "" && !strings.Contains(right, " ")
}
