package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
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
	Type          string            `json:"type"`
	Dropout       *float64          `json:"dropout"`
	Unknown       *string           `json:"unk_token"`
	SubwordPrefix string            `json:"continuing_subword_prefix"`
	WordSuffix    string            `json:"end_of_word_suffix"`
	FuseUnknown   bool              `json:"fuse_unk"`
	ByteFallback  bool              `json:"byte_fallback"`
	IgnoreMerges  bool              `json:"ignore_merges"`
	Vocab         map[string]int64  `json:"vocab"`
	Merges        []json.RawMessage `json:"merges"`
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

// FromJSON reads a Hugging Face tokenizer.json; name is the file's, for errors. It takes models of type BPE with byte-level
// alphabets; the pre-tokenizers ByteLevel, Digits, Split by an expression and sequences of them; the normaliser NFC or
// none; and the post-processors ByteLevel and TemplateProcessing that put tokens in front. Errors wrap ErrUnsupported or
// ErrInvalid.
func FromJSON(name string, data []byte) (*Tokenizer, error) {
	var f jsonFile
	if err := unmarshal(source{name, "the file"}, data, &f); err != nil {
		return nil, err
	}
	p := &parts{
		vocabulary: source{name, "model.vocab"}, merging: source{name, "model.merges"},
		unknown: noID, bos: noID, eos: noID, ignore: f.Model.IgnoreMerges,
	}
	for _, step := range []func(string, *jsonFile) error{
		p.jsonModel, p.jsonVocabulary, p.jsonMerges, p.jsonNormalizer, p.jsonPreTokenizer, p.jsonPostProcessor, p.jsonDecoder,
	} {
		if err := step(name, &f); err != nil {
			return nil, err
		}
	}
	return p.build()
}

// unmarshal decodes JSON and says where it is wrong.
func unmarshal(at source, data []byte, v any) error {
	err := json.Unmarshal(data, v)
	if err == nil {
		return nil
	}
	where := ""
	var syntax *json.SyntaxError
	var typ *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		where = fmt.Sprintf(" at byte %d of %d", syntax.Offset, len(data))
	case errors.As(err, &typ):
		where = fmt.Sprintf(" at byte %d of %d", typ.Offset, len(data))
	}
	return fmt.Errorf("%s: %s: %w%s: %w", at.file, at.place, ErrInvalid, where, err)
}

func (p *parts) jsonModel(name string, f *jsonFile) error {
	m, at := &f.Model, source{name, "model"}
	if m.Type != "BPE" {
		return at.at(".type").unsupported("%q; only \"BPE\" is implemented", m.Type)
	}
	for _, refused := range []struct {
		place string
		is    bool
		value any
	}{
		{".dropout", m.Dropout != nil && *m.Dropout != 0, m.Dropout},
		{".continuing_subword_prefix", m.SubwordPrefix != "", m.SubwordPrefix},
		{".end_of_word_suffix", m.WordSuffix != "", m.WordSuffix},
		{".fuse_unk", m.FuseUnknown, true},
		{".byte_fallback", m.ByteFallback, true},
	} {
		if refused.is {
			if d, ok := refused.value.(*float64); ok {
				refused.value = *d
			}
			return at.at("%s", refused.place).unsupported("%v; byte-level BPE as GPT-2, Llama 3 and Qwen2 use it has none", refused.value)
		}
	}
	return nil
}

// jsonVocabulary orders the tokens of the model and the added ones by id.
func (p *parts) jsonVocabulary(name string, f *jsonFile) error {
	at := source{name, "added_tokens"}
	all := make(map[int64]string, len(f.Model.Vocab)+len(f.Added))
	for text, id := range f.Model.Vocab {
		if other, twice := all[id]; twice {
			pair := []string{other, text}
			slices.Sort(pair)
			return p.vocabulary.invalid("id %d is given to %s and to %s; an id belongs to one token", id, strconv.Quote(pair[0]), strconv.Quote(pair[1]))
		}
		all[id] = text
	}
	for i, a := range f.Added {
		at := at.at("[%d]", i)
		if a.Content == "" {
			return at.invalid("the content of id %d is empty; a token has at least one character", a.ID)
		}
		if a.SingleWord {
			return at.unsupported("single_word of %s is true; only tokens that are found inside words too are implemented", strconv.Quote(a.Content))
		}
		if id, ok := f.Model.Vocab[a.Content]; ok && id != a.ID {
			return at.invalid("%s has id %d here and %d in model.vocab; it may have one", strconv.Quote(a.Content), a.ID, id)
		}
		if other, ok := all[a.ID]; ok && other != a.Content {
			return at.invalid("id %d is given to %s and to %s; an id belongs to one token", a.ID, strconv.Quote(other), strconv.Quote(a.Content))
		}
		all[a.ID] = a.Content
	}
	p.texts = make([]string, len(all))
	for id, text := range all {
		if id < 0 || id >= int64(len(all)) {
			return p.vocabulary.invalid("token %s has id %d, and with the added ones there are %d tokens; ids run from 0 without gaps",
				strconv.Quote(text), id, len(all))
		}
		p.texts[id] = text
	}
	for _, a := range f.Added {
		tok := addedToken{text: a.Content, id: int32(a.ID), special: a.Special, lstrip: a.LStrip, rstrip: a.RStrip}
		if a.Normalized {
			p.addedNFC = append(p.addedNFC, tok)
		} else {
			p.added = append(p.added, tok)
		}
	}
	if unk := f.Model.Unknown; unk != nil {
		id, ok := f.Model.Vocab[*unk]
		if !ok {
			return source{name, "model.unk_token"}.invalid("%s is not in model.vocab", strconv.Quote(*unk))
		}
		p.unknown = int32(id)
	}
	return nil
}

func (p *parts) jsonMerges(_ string, f *jsonFile) error {
	p.merges = make([][2]string, len(f.Model.Merges))
	for i, data := range f.Model.Merges {
		at := p.merging.at("[%d]", i)
		if bytes.HasPrefix(data, []byte("[")) {
			var pair []string
			if err := unmarshal(at, data, &pair); err != nil {
				return err
			}
			if len(pair) != 2 || pair[0] == "" || pair[1] == "" {
				return at.invalid("%q; a merge is two tokens", pair)
			}
			p.merges[i] = [2]string(pair)
			continue
		}
		var line string
		if err := unmarshal(at, data, &line); err != nil {
			return err
		}
		left, right, ok := cutMerge(line)
		if !ok {
			return at.invalid("%s; a merge is two tokens with one space between", strconv.Quote(line))
		}
		p.merges[i] = [2]string{left, right}
	}
	return nil
}
