package tokenizer

import (
	"encoding/json"
	"strconv"
)

// jsonStep is a normaliser, pre-tokenizer, post-processor or decoder: the fields of all the kinds that are implemented.
type jsonStep struct {
	Type           string            `json:"type"`
	AddPrefixSpace *bool             `json:"add_prefix_space"` // ByteLevel; true if absent
	UseRegex       *bool             `json:"use_regex"`        // ByteLevel; true if absent
	Individual     bool              `json:"individual_digits"`
	Pattern        map[string]string `json:"pattern"`
	Behavior       string            `json:"behavior"`
	Invert         bool              `json:"invert"`
	Normalizers    []json.RawMessage `json:"normalizers"`
	PreTokenizers  []json.RawMessage `json:"pretokenizers"`
	Processors     []json.RawMessage `json:"processors"`
	Single         []jsonTemplate    `json:"single"`
	SpecialTokens  map[string]struct {
		IDs []int64 `json:"ids"`
	} `json:"special_tokens"`
}

// jsonTemplate is one piece of a TemplateProcessing: a special token or the text.
type jsonTemplate struct {
	SpecialToken *struct {
		ID string `json:"id"`
	} `json:"SpecialToken"`
	Sequence *struct {
		ID string `json:"id"`
	} `json:"Sequence"`
}

// flatten decodes a step, and the steps of a sequence in order. A missing step or null gives none.
func flatten(at source, data json.RawMessage, inside func(*jsonStep) []json.RawMessage) ([]jsonStep, error) {
	if len(data) == 0 || string(data) == "null" {
		return nil, nil
	}
	var s jsonStep
	if err := unmarshal(at, data, &s); err != nil {
		return nil, err
	}
	if s.Type != "Sequence" {
		return []jsonStep{s}, nil
	}
	var all []jsonStep
	for i, d := range inside(&s) {
		more, err := flatten(at.at("[%d]", i), d, inside)
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
	}
	return all, nil
}

func (p *parts) jsonNormalizer(name string, f *jsonFile) error {
	at := source{name, "normalizer"}
	steps, err := flatten(at, f.Normalizer, func(s *jsonStep) []json.RawMessage { return s.Normalizers })
	if err != nil {
		return err
	}
	for _, s := range steps {
		if s.Type != "NFC" {
			return at.unsupported("%q; known are NFC and none", s.Type)
		}
		p.nfc = true
	}
	if p.nfc {
		// The library looks for these tokens in normalised text, so it normalises the tokens too.
		for i := range p.addedNFC {
			p.addedNFC[i].text = nfc(p.addedNFC[i].text)
		}
	}
	return nil
}

func (p *parts) jsonPreTokenizer(name string, f *jsonFile) error {
	at := source{name, "pre_tokenizer"}
	steps, err := flatten(at, f.PreTokenizer, func(s *jsonStep) []json.RawMessage { return s.PreTokenizers })
	if err != nil {
		return err
	}
	var chain sequence
	for i, s := range steps {
		switch s.Type {
		case "ByteLevel":
			if i != len(steps)-1 {
				return at.unsupported("step %d of %d is ByteLevel; it has to be the last", i+1, len(steps))
			}
			p.prefix = s.AddPrefixSpace == nil || *s.AddPrefixSpace
			if p.prefix && i > 0 {
				return at.unsupported("ByteLevel with add_prefix_space after another step; it has to be alone")
			}
			if s.UseRegex == nil || *s.UseRegex {
				chain = append(chain, scanner(nextGPT2))
			}
		case "Digits":
			chain = append(chain, digits{each: s.Individual})
		case "Split":
			sp, err := jsonSplit(at, &s)
			if err != nil {
				return err
			}
			chain = append(chain, sp)
		default:
			return at.unsupported("%q; known are ByteLevel, Digits, Split and Sequence", s.Type)
		}
	}
	if len(steps) == 0 || steps[len(steps)-1].Type != "ByteLevel" {
		return at.unsupported("no ByteLevel at its end; only byte-level BPE is implemented")
	}
	switch len(chain) {
	case 0:
		p.split = whole{}
	case 1:
		p.split = chain[0]
	default:
		p.split = chain
	}
	return nil
}

func jsonSplit(at source, s *jsonStep) (splitter, error) {
	pattern, ok := s.Pattern["Regex"]
	switch {
	case !ok:
		return nil, at.unsupported("Split by %v; only by Regex is implemented", s.Pattern)
	case s.Behavior != "Isolated":
		return nil, at.unsupported("Split with behavior %q; only \"Isolated\" is implemented", s.Behavior)
	case s.Invert:
		return nil, at.unsupported("Split with invert; only without is implemented")
	}
	sp, err := newRegexpSplitter(pattern)
	if err != nil {
		return nil, at.unsupported("Split: %v", err)
	}
	return sp, nil
}

func (p *parts) jsonPostProcessor(name string, f *jsonFile) error {
	at := source{name, "post_processor"}
	steps, err := flatten(at, f.PostProcessor, func(s *jsonStep) []json.RawMessage { return s.Processors })
	if err != nil {
		return err
	}
	for _, s := range steps {
		switch s.Type {
		case "ByteLevel": // changes the offsets of tokens only
		case "TemplateProcessing":
			if err := p.jsonLead(at, &s); err != nil {
				return err
			}
		default:
			return at.unsupported("%q; known are ByteLevel, TemplateProcessing and Sequence", s.Type)
		}
	}
	return nil
}

// jsonLead reads what a template puts in front of a single text.
func (p *parts) jsonLead(at source, s *jsonStep) error {
	if p.lead != nil {
		return at.unsupported("two TemplateProcessing; only one is implemented")
	}
	for i, piece := range s.Single {
		if piece.Sequence != nil {
			if i != len(s.Single)-1 {
				return at.unsupported("TemplateProcessing puts tokens after the text; a text to go on with can't end with an end token")
			}
			break
		}
		if piece.SpecialToken == nil || i == len(s.Single)-1 {
			return at.invalid("single[%d] of TemplateProcessing is not the text; a template is special tokens and then the text", i)
		}
		spec, ok := s.SpecialTokens[piece.SpecialToken.ID]
		if !ok || len(spec.IDs) == 0 {
			return at.invalid("TemplateProcessing names %s, and special_tokens gives no id for it", strconv.Quote(piece.SpecialToken.ID))
		}
		for _, id := range spec.IDs {
			if id < 0 || id >= int64(len(p.texts)) {
				return at.invalid("TemplateProcessing puts id %d in front, and there are %d tokens", id, len(p.texts))
			}
			p.lead = append(p.lead, int32(id))
		}
	}
	if len(p.lead) > 0 {
		p.bos = p.lead[0]
	}
	return nil
}

func (p *parts) jsonDecoder(name string, f *jsonFile) error {
	at := source{name, "decoder"}
	steps, err := flatten(at, f.Decoder, func(*jsonStep) []json.RawMessage { return nil })
	if err != nil {
		return err
	}
	if len(steps) != 1 || steps[0].Type != "ByteLevel" {
		return at.unsupported("not ByteLevel; only byte-level BPE is implemented")
	}
	return nil
}
