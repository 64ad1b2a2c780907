package tokenizer

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// jsonStep is a normaliser, pre-tokenizer, post-processor or decoder: the fields of all the kinds that are implemented.
type jsonStep struct {
	Type           string            `json:"type"`
	AddPrefixSpace *bool             `json:"add_prefix_space"` // ByteLevel, Metaspace; true if absent
	UseRegex       *bool             `json:"use_regex"`        // ByteLevel; true if absent
	Individual     bool              `json:"individual_digits"`
	Pattern        map[string]string `json:"pattern"`
	Behavior       string            `json:"behavior"`
	Invert         bool              `json:"invert"`
	Content        string            `json:"content"`    // Replace
	Prepend        string            `json:"prepend"`    // Prepend
	StripLeft      bool              `json:"strip_left"` // the normaliser Strip, as the next
	StripRight     bool              `json:"strip_right"`
	Charsmap       []byte            `json:"precompiled_charsmap"`
	Replacement    string            `json:"replacement"`    // Metaspace
	PrependScheme  string            `json:"prepend_scheme"` // Metaspace
	MetaSplit      *bool             `json:"split"`          // Metaspace; true if absent
	Start          int               `json:"start"`          // the decoder Strip, as the next
	Stop           int               `json:"stop"`
	Normalizers    []json.RawMessage `json:"normalizers"`
	PreTokenizers  []json.RawMessage `json:"pretokenizers"`
	Processors     []json.RawMessage `json:"processors"`
	Decoders       []json.RawMessage `json:"decoders"`
	Single         []jsonTemplate    `json:"single"`
	Cls            []any             `json:"cls"` // BertProcessing, RobertaProcessing: a token and its id
	Sep            []any             `json:"sep"`
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

// Files have sequences inside sequences two deep, and some six steps.
const (
	maxStepDepth = 8
	maxSteps     = 100
)

// flatten decodes a step, and the steps of a sequence in order. A missing step or null gives none.
func flatten(at source, data json.RawMessage, inside func(*jsonStep) []json.RawMessage) ([]jsonStep, error) {
	return flattenInto(nil, at, data, inside, 0)
}

func flattenInto(all []jsonStep, at source, data json.RawMessage, inside func(*jsonStep) []json.RawMessage, depth int) ([]jsonStep, error) {
	if len(data) == 0 || string(data) == "null" {
		return all, nil
	}
	var s jsonStep
	if err := unmarshal(at, data, &s); err != nil {
		return nil, err
	}
	if s.Type != "Sequence" {
		if len(all) == maxSteps {
			return nil, at.unsupported("more than %d steps; merge some of them", maxSteps)
		}
		return append(all, s), nil
	}
	if depth == maxStepDepth {
		return nil, at.unsupported("a Sequence inside %d others; take the inner ones apart", depth)
	}
	for i, d := range inside(&s) {
		var err error
		if all, err = flattenInto(all, at.at("[%d]", i), d, inside, depth+1); err != nil {
			return nil, err
		}
	}
	return all, nil
}

const knownNormalisers = "NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, Strip, Replace, Prepend, Precompiled and Sequence"

func (p *parts) jsonNormalizer(name string, f *jsonFile) error {
	at := source{name, "normalizer"}
	steps, err := flatten(at, f.Normalizer, func(s *jsonStep) []json.RawMessage { return s.Normalizers })
	if err != nil {
		return err
	}
	for _, s := range steps {
		n, err := jsonNormaliser(at, &s)
		if err != nil {
			return err
		}
		if n != nil {
			p.normalisers = append(p.normalisers, n)
		}
	}
	return nil
}

// jsonNormaliser is one step, or nil for one that changes nothing.
func jsonNormaliser(at source, s *jsonStep) (normaliser, error) {
	switch s.Type {
	case "NFC":
		return nfc, nil
	case "NFD":
		return nfd, nil
	case "NFKC":
		return nfkc, nil
	case "NFKD":
		return nfkd, nil
	case "Lowercase":
		return mapping(lowercase), nil
	case "StripAccents":
		return accents{}, nil
	case "Strip":
		return stripper{s.StripLeft, s.StripRight}, nil
	case "Prepend":
		return prepender(s.Prepend), nil
	case "Precompiled":
		if len(s.Charsmap) == 0 {
			return nil, nil
		}
		c, err := newCharsmap(s.Charsmap)
		if err != nil {
			return nil, at.invalid("Precompiled: %v", err)
		}
		return c, nil
	case "Replace":
		literal, pattern, err := jsonPattern(at, s)
		switch {
		case err != nil:
			return nil, err
		case literal != "":
			return replacer{literal, s.Content}, nil
		case pattern == " {2,}":
			return spaceRuns{s.Content}, nil
		}
		re, err := newExpression(pattern)
		if err != nil {
			return nil, at.unsupported("Replace: %v", err)
		}
		return expressionReplacer{re, s.Content}, nil
	}
	return nil, at.unsupported("%q; known are %s", s.Type, knownNormalisers)
}

// jsonPattern is the text or the expression that a Split or Replace looks for.
func jsonPattern(at source, s *jsonStep) (literal, pattern string, err error) {
	literal, pattern = s.Pattern["String"], s.Pattern["Regex"]
	if (literal == "") == (pattern == "") {
		return "", "", at.unsupported("%s by %v; known are a String and a Regex that isn't empty", s.Type, s.Pattern)
	}
	return literal, pattern, nil
}

const knownPreTokenizers = "ByteLevel, Metaspace, Split, Digits, Punctuation, Whitespace, WhitespaceSplit and Sequence"

func (p *parts) jsonPreTokenizer(name string, f *jsonFile) error {
	at := source{name, "pre_tokenizer"}
	steps, err := flatten(at, f.PreTokenizer, func(s *jsonStep) []json.RawMessage { return s.PreTokenizers })
	if err != nil {
		return err
	}
	for i, s := range steps {
		if s.Type == "ByteLevel" {
			if i != len(steps)-1 {
				return at.unsupported("step %d of %d is ByteLevel; it has to be the last", i+1, len(steps))
			}
			if p.kind != charPairs {
				return at.unsupported("ByteLevel with a model that isn't BPE")
			}
			p.kind = bytePairs
			if isTrue(s.AddPrefixSpace) {
				p.splitters = append(p.splitters, prefixSpace{})
			}
			if isTrue(s.UseRegex) {
				p.splitters = append(p.splitters, scanner(nextGPT2))
			}
			continue
		}
		sp, err := jsonSplitter(at, &s)
		if err != nil {
			return err
		}
		p.splitters = append(p.splitters, sp)
	}
	return nil
}

func isTrue(b *bool) bool { return b == nil || *b }

func jsonSplitter(at source, s *jsonStep) (splitter, error) {
	switch s.Type {
	case "Metaspace":
		return jsonMetaspace(at, s)
	case "Split":
		return jsonSplit(at, s)
	case "Digits":
		if s.Individual {
			return cutter{finder: characters(isNumber)}, nil
		}
		return cutter{finder: characters(isNumber), behavior: contiguous}, nil
	case "Punctuation":
		b, err := jsonBehavior(at, s)
		return cutter{finder: characters(isPunctuation), behavior: b}, err
	case "Whitespace":
		return cutter{finder: wordRuns{}, behavior: removed, invert: true}, nil
	case "WhitespaceSplit":
		return cutter{finder: characters(unicode.IsSpace), behavior: removed}, nil
	}
	return nil, at.unsupported("%q; known are %s", s.Type, knownPreTokenizers)
}

func jsonBehavior(at source, s *jsonStep) (behavior, error) {
	if s.Behavior == "" {
		return isolated, nil
	}
	b, ok := behaviors[s.Behavior]
	if !ok {
		return 0, at.unsupported("%s with behavior %q; known are %s", s.Type, s.Behavior, strings.Join(slices.Sorted(maps.Keys(behaviors)), ", "))
	}
	return b, nil
}

func jsonSplit(at source, s *jsonStep) (splitter, error) {
	b, err := jsonBehavior(at, s)
	if err != nil {
		return nil, err
	}
	text, pattern, err := jsonPattern(at, s)
	if err != nil {
		return nil, err
	}
	if text != "" {
		return cutter{finder: literal(text), behavior: b, invert: s.Invert}, nil
	}
	// The known expressions match all of a text, so that isolating the matches and leaving out the rest are the same.
	if scan, ok := knownRegexps[pattern]; ok && (b == isolated || b == removed && s.Invert) {
		return scan, nil
	}
	re, err := newExpression(pattern)
	if err != nil {
		return nil, at.unsupported("Split: %v", err)
	}
	return cutter{finder: re, behavior: b, invert: s.Invert}, nil
}

func jsonMetaspace(at source, s *jsonStep) (splitter, error) {
	m := metaspace{mark: s.Replacement, whole: !isTrue(s.MetaSplit)}
	if utf8.RuneCountInString(m.mark) != 1 {
		return nil, at.invalid("Metaspace with replacement %q; it is one character", m.mark)
	}
	var err error
	m.front, err = jsonFront(at, s)
	return m, err
}

// jsonFront reads prepend_scheme, or add_prefix_space, which older files have in its place.
func jsonFront(at source, s *jsonStep) (front, error) {
	switch {
	case s.PrependScheme == "always", s.PrependScheme == "" && isTrue(s.AddPrefixSpace):
		return frontAll, nil
	case s.PrependScheme == "first":
		return frontStart, nil
	case s.PrependScheme == "never", s.PrependScheme == "":
		return frontNone, nil
	}
	return 0, at.unsupported("Metaspace with prepend_scheme %q; known are always, first and never", s.PrependScheme)
}
