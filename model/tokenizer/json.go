package tokenizer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/zeebo/xxh3"

	"headinfer/model/jsonfile"
)

// The parts of tokenizer.json that change which ids come out. Truncation and padding are left to the caller, as in the
// transformers library, which resets both on every call.
type jsonFile struct {
	Model         jsonModel       `json:"model"`
	Added         []jsonAdded     `json:"added_tokens"`
	Normalizer    json.RawMessage `json:"normalizer"`
	PreTokenizer  json.RawMessage `json:"pre_tokenizer"`
	PostProcessor json.RawMessage `json:"post_processor"`
	Decoder       json.RawMessage `json:"decoder"`
}

type jsonModel struct {
	Type          string          `json:"type"`
	Dropout       *float64        `json:"dropout"`
	Unknown       *string         `json:"unk_token"`
	UnknownID     *int64          `json:"unk_id"` // of Unigram
	SubwordPrefix string          `json:"continuing_subword_prefix"`
	WordSuffix    string          `json:"end_of_word_suffix"`
	FuseUnknown   bool            `json:"fuse_unk"`
	ByteFallback  bool            `json:"byte_fallback"`
	IgnoreMerges  bool            `json:"ignore_merges"`
	Vocab         json.RawMessage `json:"vocab"` // BPE: token → id; Unigram: [token, score] by id
	Merges        json.RawMessage `json:"merges"`
}

type jsonAdded struct {
	ID         int64  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	LStrip     bool   `json:"lstrip"`
	RStrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`
}

// FromJSON reads a Hugging Face tokenizer.json; name is the file's, for errors. It takes models of type BPE, of bytes or of
// characters with or without falling back on bytes, and Unigram. Of the steps around them it takes those that the lists in
// jsonsteps.go name. Errors wrap ErrUnsupported or ErrInvalid.
func FromJSON(name string, data []byte) (*Tokenizer, error) {
	var f jsonFile
	if err := unmarshalFile(name, data, &f); err != nil {
		return nil, err
	}
	p := &parts{
		vocabulary: source{name, "model.vocab"}, merging: source{name, "model.merges"},
		unknown: noID, bos: noID, eos: noID, digest: xxh3.Hash(data),
	}
	for _, step := range []func(string, *jsonFile) error{
		p.jsonModel, p.jsonAdded, p.jsonMerges, p.jsonNormalizer, p.jsonPreTokenizer, p.jsonPostProcessor, p.jsonDecoder,
	} {
		if err := step(name, &f); err != nil {
			return nil, err
		}
	}
	return p.build()
}

// unmarshal decodes a part of a file and says where it is wrong.
func unmarshal(at source, data []byte, v any) error {
	if err := jsonfile.Decode(data, v); err != nil {
		return fmt.Errorf("%s: %s: %w: %w", at.file, at.place, ErrInvalid, err)
	}
	return nil
}

// unmarshalFile decodes a whole file.
func unmarshalFile(name string, data []byte, v any) error {
	if err := jsonfile.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%s: %w: %w", name, ErrInvalid, err)
	}
	return nil
}

// elements goes through a list one by one, and ends with the first that is wrong: of a list of zeros, a hundred megabytes of
// a file would become gigabytes of elements. A missing list has none. The list is JSON, as it is a part of a file that is.
func elements(at source, list json.RawMessage, each func(i int, data []byte) error) error {
	if len(list) == 0 {
		return nil
	}
	if list[0] != '[' {
		var none []struct{}
		return unmarshal(at, list, &none)
	}
	list = bytes.TrimSpace(list[1 : len(list)-1])
	for i := 0; len(list) > 0; i++ {
		end := elementEnd(list)
		if err := each(i, bytes.TrimSpace(list[:end])); err != nil {
			return err
		}
		list = list[min(end+1, len(list)):]
	}
	return nil
}

// elementEnd is where the first element of a list ends: the offset of the comma behind it, or of the end.
func elementEnd(list []byte) int {
	depth := 0
	for i := 0; i < len(list); i++ {
		switch list[i] {
		case '"':
			for i++; i < len(list) && list[i] != '"'; i++ {
				if list[i] == '\\' {
					i++
				}
			}
		case '[', '{':
			depth++
		case ']', '}':
			depth--
		case ',':
			if depth == 0 {
				return i
			}
		}
	}
	return len(list)
}

func (p *parts) jsonModel(name string, f *jsonFile) error {
	m, at := &f.Model, source{name, "model"}
	switch {
	case m.Type != "BPE" && m.Type != "Unigram":
		return at.at(".type").unsupported("%q; known are BPE and Unigram", m.Type)
	case m.Dropout != nil && *m.Dropout != 0:
		return at.at(".dropout").unsupported("%v; dropout is for training, and makes ids random", *m.Dropout)
	case m.SubwordPrefix != "":
		return at.at(".continuing_subword_prefix").unsupported("%q; known is none", m.SubwordPrefix)
	case m.WordSuffix != "":
		return at.at(".end_of_word_suffix").unsupported("%q; known is none", m.WordSuffix)
	}
	p.fallback, p.ignore = m.ByteFallback, m.IgnoreMerges
	if m.Type == "Unigram" {
		p.kind, p.fuse = unigramHF, true
		return p.jsonScores(m)
	}
	p.kind, p.fuse = charPairs, m.FuseUnknown
	return p.jsonVocabulary(name, m)
}

// jsonVocabulary orders the tokens of a BPE model by id.
func (p *parts) jsonVocabulary(name string, m *jsonModel) error {
	var vocab map[string]int64
	if err := unmarshal(p.vocabulary, m.Vocab, &vocab); err != nil {
		return err
	}
	// In order, so that of several errors always the same is told.
	for _, text := range slices.Sorted(maps.Keys(vocab)) {
		if text == "" {
			return p.vocabulary.invalid("the token of id %d is empty; tokens have at least one character", vocab[text])
		}
		if err := p.put(p.vocabulary, text, vocab[text], len(vocab)); err != nil {
			return err
		}
	}
	if unk := m.Unknown; unk != nil {
		id, ok := vocab[*unk]
		if !ok {
			return source{name, "model.unk_token"}.invalid("%s is not in model.vocab", strconv.Quote(*unk))
		}
		p.unknown = int32(id)
	}
	return nil
}

// gaps bounds by how much the largest id may exceed the number of tokens. Phi-4-mini leaves out some ten ids.
const gaps = 1 << 16

// put gives text the id, which no other may have. count is about how many tokens there are.
func (p *parts) put(at source, text string, id int64, count int) error {
	if id < 0 || id >= int64(2*count+gaps) {
		return at.invalid("token %s has id %d, and there are %d tokens; ids run from 0, with few gaps", strconv.Quote(text), id, count)
	}
	if n := int(id) + 1 - len(p.texts); n > 0 {
		p.texts = append(p.texts, make([]string, n)...)
	}
	if other := p.texts[id]; other != "" && other != text {
		return at.invalid("id %d is given to %s and to %s; an id belongs to one token", id, strconv.Quote(other), strconv.Quote(text))
	}
	p.texts[id] = text
	return nil
}

// jsonScores reads the tokens and scores of a Unigram model.
func (p *parts) jsonScores(m *jsonModel) error {
	err := elements(p.vocabulary, m.Vocab, func(i int, data []byte) error {
		var text string
		var number json.Number
		at := p.vocabulary.at("[%d]", i)
		pair := []any{&text, &number}
		if err := unmarshal(at, data, &pair); err != nil {
			return err
		}
		if len(pair) != 2 {
			return at.invalid("%d values; a token and its score are 2", len(pair))
		}
		if text == "" {
			return at.invalid("the token is empty; tokens have at least one character")
		}
		score, err := jsonScore(number.String())
		if err != nil {
			return at.invalid("score %q; it is a number", number)
		}
		p.texts, p.scores = append(p.texts, text), append(p.scores, score)
		return nil
	})
	if err != nil {
		return err
	}
	if m.UnknownID != nil {
		if *m.UnknownID < 0 || *m.UnknownID >= int64(len(p.texts)) {
			return source{p.vocabulary.file, "model.unk_id"}.invalid("%d, and model.vocab has %d tokens", *m.UnknownID, len(p.texts))
		}
		p.unknown = int32(*m.UnknownID)
	}
	return nil
}

// jsonAdded takes in the added tokens. They may have ids of their own, or be tokens of the model.
func (p *parts) jsonAdded(name string, f *jsonFile) error {
	p.own = make(map[string]int32, len(p.texts))
	for id, text := range p.texts {
		if text != "" {
			p.own[text] = int32(id)
		}
	}
	next := int64(len(p.own))
	for i, a := range f.Added {
		at := source{name, "added_tokens"}.at("[%d]", i)
		if a.Content == "" {
			return at.invalid("the content of id %d is empty; a token has at least one character", a.ID)
		}
		if id, ok := p.own[a.Content]; ok && int64(id) != a.ID {
			return at.invalid("%s has id %d here and %d in model.vocab; it may have one", strconv.Quote(a.Content), a.ID, id)
		}
		if err := p.put(at, a.Content, a.ID, len(p.texts)+len(f.Added)); err != nil {
			return err
		}
		if _, ok := p.own[a.Content]; !ok {
			// The library doesn't read these ids, it counts.
			if a.ID != next {
				return at.invalid("%s has id %d, and is the token after %d; tokens that the model doesn't have come behind its own, without gaps",
					strconv.Quote(a.Content), a.ID, next-1)
			}
			next = a.ID + 1
		}
		tok := addedToken{text: a.Content, id: int32(a.ID), special: a.Special, lstrip: a.LStrip, rstrip: a.RStrip, alone: a.SingleWord}
		if a.Normalized {
			p.normalised = append(p.normalised, tok)
		} else {
			p.added = append(p.added, tok)
		}
	}
	// The unigram model knows nothing of the tokens behind its own.
	if p.scores != nil {
		p.mergeable = make([]bool, len(p.texts))
		for id := range p.scores {
			p.mergeable[id] = true
		}
		p.scores = append(p.scores, make([]float64, len(p.texts)-len(p.scores))...)
	}
	return nil
}

// mergeBytes is about what a merge takes in a file.
const mergeBytes = 16

func (p *parts) jsonMerges(_ string, f *jsonFile) error {
	if p.kind == unigramHF {
		return nil
	}
	p.merges = make([][2]string, 0, len(f.Model.Merges)/mergeBytes)
	return elements(p.merging, f.Model.Merges, func(i int, data []byte) error {
		at := p.merging.at("[%d]", i)
		if bytes.HasPrefix(data, []byte("[")) {
			var pair []string
			if err := unmarshal(at, data, &pair); err != nil {
				return err
			}
			if len(pair) != 2 || pair[0] == "" || pair[1] == "" {
				return at.invalid("%q; a merge is two tokens", pair)
			}
			p.merges = append(p.merges, [2]string(pair))
			return nil
		}
		var line string
		if err := unmarshal(at, data, &line); err != nil {
			return err
		}
		left, right, ok := cutMerge(line)
		if !ok {
			return at.invalid("%s; a merge is two tokens with one space between", strconv.Quote(line))
		}
		p.merges = append(p.merges, [2]string{left, right})
		return nil
	})
}
