package tokenizer

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
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

func (s source) at(format string, args ...any) source {
	return source{s.file, s.place + fmt.Sprintf(format, args...)}
}

func (s source) invalid(format string, args ...any) error {
	return fmt.Errorf("%s: %s: %w: %s", s.file, s.place, ErrInvalid, fmt.Sprintf(format, args...))
}

func (s source) unsupported(format string, args ...any) error {
	return fmt.Errorf("%s: %s: %w: %s", s.file, s.place, ErrUnsupported, fmt.Sprintf(format, args...))
}

// parts is what both file formats come down to.
type parts struct {
	vocabulary source // where the tokens are, for errors
	merging    source // where the merges are
	texts      []string
	merges     [][2]string
	added      []addedToken
	addedNFC   []addedToken // those looked for after normalising
	unknown    int32        // what stands for a byte without a token, or noID
	ignore     bool         // a word that is a token is not split by merges
	unmerged   bool         // there are no merges, and there need not be any

	split       splitter
	nfc, prefix bool
	lead        []int32
	bos, eos    int32
	moreEnds    []int32
	template    string
}

func (p *parts) build() (*Tokenizer, error) {
	if len(p.texts) == 0 {
		return nil, p.vocabulary.invalid("no tokens; convert or download the file again")
	}
	if len(p.merges) == 0 && !p.unmerged {
		return nil, p.merging.invalid("no merges, and byte-level BPE is nothing without them; convert or download the file again")
	}
	t := &Tokenizer{
		texts: p.texts, raw: make([]string, len(p.texts)), ids: make(map[string]int32, len(p.texts)),
		bpe: newBPE(), split: p.split, nfc: p.nfc, prefix: p.prefix, special: make([]bool, len(p.texts)),
		added: newMatcher(p.added), addedNFC: newMatcher(p.addedNFC),
		lead: p.lead, bos: p.bos, eos: p.eos, template: p.template,
	}
	for id, text := range p.texts {
		if text == "" {
			return nil, p.vocabulary.invalid("token %d is empty; tokens have at least one character", id)
		}
		if first, twice := t.ids[text]; twice {
			return nil, p.vocabulary.invalid("token %s has the ids %d and %d; it may have one", strconv.Quote(text), first, id)
		}
		t.ids[text] = int32(id)
		t.raw[id] = rawBytes(text)
	}
	for _, tok := range slices.Concat(p.added, p.addedNFC) {
		t.raw[tok.id] = tok.text
		t.special[tok.id] = tok.special
	}
	for b, r := range byteRune {
		id, ok := t.ids[string(r)]
		if !ok {
			id, t.bpe.lacks[b] = p.unknown, true
		}
		t.bpe.byteID[b] = id
	}
	if err := p.fillMerges(t); err != nil {
		return nil, err
	}
	if p.ignore {
		t.bpe.whole = make(map[string]int32, len(p.texts))
		for id, text := range p.texts {
			t.bpe.whole[rawBytes(text)] = int32(id)
		}
	}
	t.ends = endTokens(t, p.moreEnds)
	return t, nil
}

func (p *parts) fillMerges(t *Tokenizer) error {
	t.bpe.merges = newMergeTable(len(p.merges))
	for rank, m := range p.merges {
		var ids [3]int32
		for i, text := range []string{m[0], m[1], m[0] + m[1]} {
			id, ok := t.ids[text]
			if !ok {
				return p.merging.at("[%d]", rank).invalid("%s + %s: %s is not a token of the vocabulary; the merges are those of another vocabulary",
					strconv.Quote(m[0]), strconv.Quote(m[1]), strconv.Quote(text))
			}
			ids[i] = id
		}
		t.bpe.merges.put(ids[0], ids[1], mergeResult{rank: int32(rank), id: ids[2]})
	}
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
