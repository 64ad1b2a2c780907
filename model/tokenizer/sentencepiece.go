package tokenizer

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"unicode/utf8"

	"github.com/zeebo/xxh3"
)

// What a SentencePiece model of 2018 and later says (sentencepiece_model.proto), and this package acts on.
const (
	spUnigram = 1
	spBPE     = 2

	spPieces, spTrainer, spNorm                           = 1, 2, 3   // of the file
	spText, spScore, spType                               = 1, 2, 3   // of a piece
	spModelType, spSuffix, spByteFallback                 = 3, 24, 35 // of the trainer
	spBOSID, spEOSID                                      = 41, 42
	spCharsmap, spAddPrefix, spRemoveSpaces, spEscapeMark = 2, 3, 4, 5 // of the normaliser
)

// spModel is a SentencePiece model as its file has it.
type spModel struct {
	texts        []string
	scores       []float64
	types        []uint64 // as in GGUF, which took them over
	kind         uint64
	fallback     bool
	bos, eos     int64 // may be -1
	normaliser   spNormaliser
	charsmapData []byte
}

// FromSentencePiece reads a SentencePiece tokenizer.model of type BPE or unigram; name is the file's, for errors. Ids are those
// of SentencePiece; BOS puts its begin-of-text piece in front if the model has one, as Llama 2 and Gemma do, and WithConfig may
// say otherwise. Errors wrap ErrUnsupported or ErrInvalid.
func FromSentencePiece(name string, data []byte) (*Tokenizer, error) {
	at := source{name, "the model"}
	m, err := readSPModel(at, data)
	if err != nil {
		return nil, err
	}
	p := &parts{
		vocabulary: source{name, "pieces"}, merging: source{name, "pieces"},
		texts: m.texts, scores: m.scores, unknown: noID, fuse: true, fallback: m.fallback, digest: xxh3.Hash(data),
	}
	switch m.kind {
	case spUnigram:
		p.kind = unigramScored
	case spBPE:
		p.kind = scoredPairs
	default:
		return nil, source{name, "trainer_spec.model_type"}.unsupported("%d; known are 1 (unigram) and 2 (BPE)", m.kind)
	}
	if err := m.pieces(p); err != nil {
		return nil, err
	}
	p.bos, p.eos = m.id(m.bos), m.id(m.eos)
	if p.bos != noID {
		p.lead = []int32{p.bos}
	}
	if len(m.charsmapData) > 0 {
		if m.normaliser.charsmap, err = newCharsmap(m.charsmapData); err != nil {
			return nil, source{name, "normalizer_spec.precompiled_charsmap"}.invalid("%v", err)
		}
	}
	if len(p.frozen) > 0 {
		m.normaliser.frozen = newTrie()
		for _, id := range p.frozen {
			m.normaliser.frozen.add(p.texts[id], id)
		}
	}
	p.normalisers = normalisers{&m.normaliser}
	p.decoder = decoder{steps: []func(string) string{replaceStep(spMark, " ")}, fallback: m.fallback}
	if m.normaliser.prefix || m.normaliser.collapse {
		p.decoder.head, p.decoder.headTillText = dropMark, m.normaliser.collapse
	}
	return p.build()
}

// pieces sorts the pieces by type.
func (m *spModel) pieces(p *parts) error {
	p.mergeable = make([]bool, len(m.texts))
	known := sync.OnceValue(func() map[string]bool {
		all := make(map[string]bool, len(m.texts))
		for _, text := range m.texts {
			all[text] = true
		}
		return all
	})
	for i, typ := range m.types {
		at := p.vocabulary.at("[%d]", i)
		switch typ {
		case typeNormal:
			p.mergeable[i] = true
		case typeUserDefined:
			p.mergeable[i] = true
			p.frozen = append(p.frozen, int32(i))
		case typeUnknown:
			if p.unknown != noID {
				return at.invalid("a second unknown piece; %d is one", p.unknown)
			}
			p.unknown = int32(i)
			p.added = append(p.added, addedToken{text: m.texts[i], id: int32(i), special: true})
		case typeControl:
			p.added = append(p.added, addedToken{text: m.texts[i], id: int32(i), special: true})
		case typeByte:
			if _, ok := byteToken(m.texts[i]); !ok {
				return at.invalid("byte piece %s; it is spelled <0xNN>", strconv.Quote(m.texts[i]))
			}
		case typeUnused:
			if m.kind == spBPE && len(m.texts[i]) > maxTokenBytes {
				return p.bounded(int32(i))
			}
			if m.kind == spBPE && mayMerge(m.texts[i], known()) {
				return at.unsupported("unused piece %s, which other pieces merge into; use the model as it was before its vocabulary was restricted",
					strconv.Quote(m.texts[i]))
			}
		default:
			return at.unsupported("type %d of piece %s; known are 1 to 6", typ, strconv.Quote(m.texts[i]))
		}
	}
	return nil
}

// mayMerge says whether text could come about from two of the known pieces or characters.
func mayMerge(text string, known map[string]bool) bool {
	part := func(s string) bool { return known[s] || len(s) <= utf8.UTFMax && utf8.RuneCountInString(s) == 1 }
	for cut := range text {
		if cut > 0 && part(text[:cut]) && part(text[cut:]) {
			return true
		}
	}
	return false
}

func (m *spModel) id(id int64) int32 {
	if id < 0 || id >= int64(len(m.texts)) || m.types[id] != typeControl {
		return noID
	}
	return int32(id)
}

func readSPModel(at source, data []byte) (*spModel, error) {
	m := &spModel{kind: spUnigram, bos: 1, eos: 2, normaliser: spNormaliser{prefix: true, collapse: true, escape: true}}
	err := fields(data, func(f field) error {
		switch f.number {
		case spPieces:
			return m.piece(f.data)
		case spTrainer:
			return fields(f.data, m.trainer)
		case spNorm:
			return fields(f.data, m.norm)
		}
		return nil
	})
	if err != nil {
		return nil, at.invalid("%v; it is cut short, or no SentencePiece model", err)
	}
	return m, nil
}

func (m *spModel) piece(data []byte) error {
	text, score, typ := "", float32(0), uint64(typeNormal)
	err := fields(data, func(f field) error {
		switch f.number {
		case spText:
			text = string(f.data)
		case spScore:
			score = math.Float32frombits(uint32(f.value))
		case spType:
			typ = f.value
		}
		return nil
	})
	if err == nil && text == "" {
		err = fmt.Errorf("piece %d is empty", len(m.texts))
	}
	m.texts, m.scores, m.types = append(m.texts, text), append(m.scores, float64(score)), append(m.types, typ)
	return err
}

func (m *spModel) trainer(f field) error {
	switch f.number {
	case spModelType:
		m.kind = f.value
	case spSuffix:
		m.normaliser.suffix = f.value != 0
	case spByteFallback:
		m.fallback = f.value != 0
	case spBOSID:
		m.bos = int64(int32(f.value))
	case spEOSID:
		m.eos = int64(int32(f.value))
	}
	return nil
}

func (m *spModel) norm(f field) error {
	switch f.number {
	case spCharsmap:
		m.charsmapData = slices.Clone(f.data)
	case spAddPrefix:
		m.normaliser.prefix = f.value != 0
	case spRemoveSpaces:
		m.normaliser.collapse = f.value != 0
	case spEscapeMark:
		m.normaliser.escape = f.value != 0
	}
	return nil
}

// field is one field of a protocol buffer: a number, or bytes.
type field struct {
	number uint64
	value  uint64
	data   []byte
}

// fields goes through a protocol buffer (its encoding: a key of number*8 + wire type, then a varint, 8 bytes, a length and
// bytes, or 4 bytes).
func fields(data []byte, each func(field) error) error {
	size := len(data)
	for len(data) > 0 {
		where := size - len(data)
		key, n := binary.Uvarint(data)
		if n <= 0 {
			return fmt.Errorf("no field at byte %d of %d", where, size)
		}
		data = data[n:]
		f := field{number: key >> 3}
		switch key & 7 {
		case 0:
			f.value, n = binary.Uvarint(data)
		case 1:
			n = 8
			if len(data) >= n {
				f.value = binary.LittleEndian.Uint64(data)
			}
		case 2:
			var length uint64
			length, n = binary.Uvarint(data)
			if n > 0 && length <= uint64(len(data)-n) {
				f.data = data[n : n+int(length)]
				n += int(length)
			} else {
				n = 0
			}
		case 5:
			n = 4
			if len(data) >= n {
				f.value = uint64(binary.LittleEndian.Uint32(data))
			}
		default:
			return fmt.Errorf("field %d at byte %d of %d has wire type %d", f.number, where, size, key&7)
		}
		if n <= 0 || n > len(data) {
			return fmt.Errorf("field %d at byte %d of %d ends outside", f.number, where, size)
		}
		data = data[n:]
		if err := each(f); err != nil {
			return err
		}
	}
	return nil
}
