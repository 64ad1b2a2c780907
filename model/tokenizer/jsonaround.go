package tokenizer

import (
	"encoding/json"
	"strconv"
)

// maxAround is how many tokens may be put around a text; models have one or two.
const maxAround = 256

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
			if err := p.jsonAround(at, &s); err != nil {
				return err
			}
		case "BertProcessing", "RobertaProcessing":
			cls, err := p.jsonNamedID(at, s.Type, "cls", s.Cls)
			if err != nil {
				return err
			}
			sep, err := p.jsonNamedID(at, s.Type, "sep", s.Sep)
			if err != nil {
				return err
			}
			p.lead, p.tail = append([]int32{cls}, p.lead...), append(p.tail, sep)
			p.bos = cls
		default:
			return at.unsupported("%q; known are ByteLevel, TemplateProcessing, BertProcessing, RobertaProcessing and Sequence", s.Type)
		}
	}
	return nil
}

// jsonNamedID reads the id of a token that is written as the token and its id.
func (p *parts) jsonNamedID(at source, step, name string, pair []any) (int32, error) {
	if len(pair) == 2 {
		if id, ok := pair[1].(float64); ok && id >= 0 && id < float64(len(p.texts)) && id == float64(int32(id)) {
			return int32(id), nil
		}
	}
	return 0, at.invalid("%s has %s %v; it is a token and its id", step, name, pair)
}

// jsonAround reads what a template puts around a single text.
func (p *parts) jsonAround(at source, s *jsonStep) error {
	var lead, tail []int32
	seen := false
	for i, piece := range s.Single {
		if piece.Sequence != nil {
			if seen {
				return at.invalid("single[%d] of TemplateProcessing is the text once more", i)
			}
			seen = true
			continue
		}
		if piece.SpecialToken == nil {
			return at.invalid("single[%d] of TemplateProcessing is neither SpecialToken nor Sequence", i)
		}
		spec, ok := s.SpecialTokens[piece.SpecialToken.ID]
		if !ok || len(spec.IDs) == 0 {
			return at.invalid("TemplateProcessing names %s, and special_tokens gives no id for it", strconv.Quote(piece.SpecialToken.ID))
		}
		for _, id := range spec.IDs {
			if id < 0 || id >= int64(len(p.texts)) || p.texts[id] == "" {
				return at.invalid("TemplateProcessing adds id %d, which no token of %d has", id, len(p.texts))
			}
			if len(lead)+len(tail) == maxAround {
				return at.unsupported("TemplateProcessing puts more than %d tokens around a text", maxAround)
			}
			if seen {
				tail = append(tail, int32(id))
			} else {
				lead = append(lead, int32(id))
			}
		}
	}
	if !seen {
		return at.invalid("TemplateProcessing for a single text has %d pieces, and the text is not one of them", len(s.Single))
	}
	if len(lead) > 0 {
		p.bos = lead[0]
	}
	p.lead, p.tail = append(lead, p.lead...), append(p.tail, tail...)
	return nil
}

const knownDecoders = "ByteLevel, Metaspace, Replace by a String, ByteFallback, Fuse, Strip of one space at the beginning after Fuse, and Sequence"

func (p *parts) jsonDecoder(name string, f *jsonFile) error {
	at := source{name, "decoder"}
	steps, err := flatten(at, f.Decoder, func(s *jsonStep) []json.RawMessage { return s.Decoders })
	if err != nil {
		return err
	}
	if p.kind == bytePairs {
		if len(steps) != 1 || steps[0].Type != "ByteLevel" {
			return at.unsupported("not ByteLevel, and the pre-tokenizer is")
		}
		p.decoder.byteLevel = true
		return nil
	}
	if len(steps) == 0 {
		return at.unsupported("none, which puts a space after each token; known are %s", knownDecoders)
	}
	fused := false
	for _, s := range steps {
		if (p.decoder.fallback || fused) && s.Type != "Fuse" && s.Type != "Strip" {
			return at.unsupported("%s after ByteFallback or Fuse; only Fuse and Strip may be", s.Type)
		}
		switch s.Type {
		case "Metaspace":
			where, err := jsonFront(at, &s)
			if err != nil {
				return err
			}
			if where != frontNone {
				p.decoder.head = dropMarks(s.Replacement)
			}
			p.decoder.steps = append(p.decoder.steps, replaceStep(s.Replacement, " "))
		case "Replace":
			old, _, err := jsonPattern(at, &s)
			if err != nil || old == "" || len(s.Content) > maxDecoded*len(old) {
				return at.unsupported("Replace by %v; known are %s", s.Pattern, knownDecoders)
			}
			p.decoder.steps = append(p.decoder.steps, replaceStep(old, s.Content))
		case "ByteFallback":
			p.decoder.fallback = true
		case "Fuse":
			fused = true
		case "Strip":
			if !fused || s.Content != " " || s.Start > 1 || s.Stop != 0 {
				return at.unsupported("Strip of %d and %d %q; known are %s", s.Start, s.Stop, s.Content, knownDecoders)
			}
			if s.Start == 1 {
				p.decoder.head = dropSpace
			}
		default:
			return at.unsupported("%q; known are %s", s.Type, knownDecoders)
		}
	}
	return nil
}
