package tokenizer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"headinfer/model/internal/hostile"
)

// hostileJSON are files named tokenizer.json, and what the error says.
func hostileJSON() map[string][2]string {
	file := func(field, value string) string {
		return fmt.Sprintf(`{"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]},"pre_tokenizer":{"type":"ByteLevel"},"decoder":{"type":"ByteLevel"},%q:%s}`, field, value)
	}
	plain := func(more string) string {
		return `{"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]},"decoder":{"type":"Fuse"},` + more + `}`
	}
	model := func(more string) string {
		return `{"pre_tokenizer":{"type":"ByteLevel"},"decoder":{"type":"ByteLevel"},"model":{"type":"BPE",` + more + `}}`
	}
	unigram := func(vocab string) string {
		return `{"decoder":{"type":"Metaspace","replacement":"▁"},"model":{"type":"Unigram","unk_id":0,"vocab":` + vocab + `}}`
	}
	sequence := func(field, list string, deep int) string {
		return file(field, strings.Repeat(`{"type":"Sequence","`+list+`":[`, deep)+strings.Repeat("]}", deep))
	}
	numbers := strings.Repeat("0,", 1<<17) + "0"
	long := strings.Repeat("a", 1<<20)
	double := strings.Repeat(`{"type":"Replace","pattern":{"String":"a"},"content":"aa"},`, 60)
	double = `{"type":"Sequence","%s":[` + double[:len(double)-1] + `]}`
	return map[string][2]string{
		"a byte order mark":      {"\xef\xbb\xbf{}", "it begins with a byte order mark; save it as UTF-8 without one"},
		"UTF-16":                 {"\xff\xfe{\x00", "it is UTF-16"},
		"bytes that are no text": {`{"model":"` + "\xff" + `"}`, "byte 10 of 13, 0xff, is not valid UTF-8"},
		"a pointer":              {"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"},
		"a list":                 {"[" + numbers + "]", "it is a list, and must be an object"},
		"null":                   {"null", `model.type: unsupported tokenizer: ""`},
		"cut":                    {`{"model":{"type":"BPE","vocab":{"a":0,`, "ends too soon"},
		"nested 100,000 deep":    {strings.Repeat("[", 100_000), "exceeded max depth"},

		"normalisers 4,900 deep":      {sequence("normalizer", "normalizers", 4900), "a Sequence inside 8 others"},
		"pre-tokenizers 4,900 deep":   {sequence("pre_tokenizer", "pretokenizers", 4900), "a Sequence inside 8 others"},
		"processors 4,900 deep":       {sequence("post_processor", "processors", 4900), "a Sequence inside 8 others"},
		"decoders 4,900 deep":         {sequence("decoder", "decoders", 4900), "a Sequence inside 8 others"},
		"normalisers 10,000 deep":     {sequence("normalizer", "normalizers", 10_000), "exceeded max depth"},
		"10,000 steps":                {file("pre_tokenizer", `{"type":"Sequence","pretokenizers":[`+strings.Repeat(`{"type":"Digits"},`, 9999)+`{"type":"Digits"}]}`), "more than 100 steps"},
		"normalisers that double":     {plain(`"added_tokens":[{"id":3,"content":"aaaa","normalized":true}],"normalizer":` + fmt.Sprintf(double, "normalizers")), "a normaliser makes more than"},
		"a normaliser of a megabyte":  {plain(`"added_tokens":[{"id":3,"content":"` + strings.Repeat("a", 1000) + `","normalized":true}],"normalizer":{"type":"Replace","pattern":{"String":"a"},"content":"` + long + `"}`), "a normaliser makes more than"},
		"spaces of a megabyte":        {plain(`"added_tokens":[{"id":3,"content":"` + strings.Repeat("a  ", 300) + `","normalized":true}],"normalizer":{"type":"Replace","pattern":{"Regex":" {2,}"},"content":"` + long + `"}`), "a normaliser makes more than"},
		"matches of a megabyte":       {plain(`"added_tokens":[{"id":3,"content":"` + strings.Repeat("a", 1000) + `","normalized":true}],"normalizer":{"type":"Replace","pattern":{"Regex":"[a]"},"content":"` + long + `"}`), "a normaliser makes more than"},
		"decoders that double":        {`{"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]},"decoder":` + fmt.Sprintf(double, "decoders") + "}", "decodes to more than 8 times its length"},
		"a decoder of a megabyte":     {`{"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]},"decoder":{"type":"Replace","pattern":{"String":"a"},"content":"` + long + `"}}`, "decoder: unsupported tokenizer: Replace"},
		"an expression of a megabyte": {file("normalizer", `{"type":"Replace","pattern":{"Regex":"`+strings.Repeat("(", 1<<19)+strings.Repeat(")", 1<<19)+`"},"content":""}`), "a regexp of 1048576 bytes"},
		"brackets in brackets":        {file("normalizer", `{"type":"Replace","pattern":{"Regex":"`+strings.Repeat("(", 2048)+strings.Repeat("+)", 1024)+`"},"content":""}`), "regexp"},
		"an expression without end": {plain(`"added_tokens":[{"id":3,"content":"` + strings.Repeat("a", 1000) + `","normalized":true}],"normalizer":{"type":"Replace","pattern":{"Regex":"(a|aa|a?)*b"},"content":""}`),
			"looking for"},
		"a template of a million": {file("post_processor", `{"type":"TemplateProcessing","special_tokens":{"x":{"ids":[`+numbers+`]}},"single":[`+strings.Repeat(`{"SpecialToken":{"id":"x"}},`, 5000)+`{"Sequence":{"id":"A"}}]}`),
			"puts more than 256 tokens around a text"},

		"ids with gaps":           {model(`"vocab":{"a":0,"b":2147483647}`), `token "b" has id 2147483647, and there are 2 tokens`},
		"ids of 2^62":             {model(`"vocab":{"a":4611686018427387904}`), `has id 4611686018427387904`},
		"ids of 2^64":             {model(`"vocab":{"a":18446744073709551616}`), `the number 18446744073709551616, and must be a whole number`},
		"negative ids":            {model(`"vocab":{"a":-1}`), `token "a" has id -1`},
		"ids that are no numbers": {model(`"vocab":{"a":"0"}`), "model.vocab: invalid tokenizer: at byte"},
		"a list for a vocabulary": {model(`"vocab":[` + numbers + `]`), "it is a list, and must be an object"},
		"an id twice":             {model(`"vocab":{"a":0,"b":0}`), `id 0 is given to "a" and to "b"`},
		"merges that are no text": {model(`"vocab":{"a":0},"merges":[` + numbers + `]`), "model.merges[0]"},
		"merges by the million":   {model(`"vocab":{"a":0},"merges":[` + strings.Repeat("0,", 4<<20) + `0]`), "model.merges[0]"},
		"merges in brackets":      {model(`"vocab":{"a":0,"b":1,"ab":2},"merges":[["a","b"],["a,]","\\"]]`), `model.merges[1]: invalid tokenizer: "a,]" + "\\"`},
		"merges of nothing":       {model(`"vocab":{"a":0},"merges":["a b"]`), "is not a token of the vocabulary"},
		"a merge of a megabyte":   {model(`"vocab":{"a":0},"merges":["` + long + " " + long + `"]`), "aaa…"},
		"a token of a megabyte":   {model(`"vocab":{"a":0,"` + long + `":-1}`), "aaa…"},
		"a type of a megabyte":    {`{"model":{"type":"` + long + `"}}`, "aaa…"},
		"steps of a megabyte":     {file("normalizer", `{"type":"`+long+`"}`), "aaa…"},
		"patterns of a megabyte":  {file("normalizer", `{"type":"Replace","pattern":{"x":"`+long+`"}}`), "aaa…"},
		"a processor's token":     {file("post_processor", `{"type":"BertProcessing","cls":["`+long+`",1e300],"sep":["a",0]}`), "BertProcessing has cls"},

		"an added token of a megabyte":   {file("added_tokens", `[{"id":3,"content":"`+long+`"}]`), "token 3 has 1048576 bytes, and such a token may have 1024"},
		"an added token of no text":      {file("added_tokens", `[{"id":3,"content":""}]`), "added_tokens[0]"},
		"an added token far off":         {file("added_tokens", `[{"id":2147483647,"content":"x"}]`), "has id 2147483647"},
		"an added token as 2^63":         {file("added_tokens", `[{"id":9223372036854775808,"content":"x"}]`), "and must be a whole number"},
		"a unigram token of a megabyte":  {unigram(`[["<unk>",0],["` + long + `",-1]]`), "token 1 has 1048576 bytes"},
		"unigram scores that are none":   {unigram(`[["a","b"]]`), "model.vocab[0]"},
		"unigram scores past all":        {unigram(`[["a",1e999]]`), "score \"1e999\""},
		"a unigram vocabulary of zeros":  {unigram(`[` + numbers + `]`), "model.vocab[0]"},
		"a unigram vocabulary, the rest": {unigram(`[["a",1,` + numbers + `]]`), "values; a token and its score are 2"},
		"a charsmap of nothing":          {file("normalizer", `{"type":"Precompiled","precompiled_charsmap":"////f/////8="}`), "a charsmap whose trie should have"},
	}
}

func TestHostileJSON(t *testing.T) {
	for name, file := range hostileJSON() {
		t.Run(name, func(t *testing.T) {
			open := func() error { _, err := FromJSON("dir/tokenizer.json", []byte(file[0])); return err }
			hostile.Refused(t, int64(len(file[0])), open, "dir/tokenizer.json: ", file[1])
		})
	}
}

// TestHostileConfig is the same for tokenizer_config.json.
func TestHostileConfig(t *testing.T) {
	tok, err := Bytes()
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("a", 1<<20)
	for name, file := range map[string][2]string{
		"a list":                 {"[]", "it is a list, and must be an object"},
		"a byte order mark":      {"\xef\xbb\xbf{}", "byte order mark"},
		"nested deep":            {`{"chat_template":` + strings.Repeat("[", 50_000), "exceeded max depth"},
		"a token of a megabyte":  {`{"bos_token":"` + long + `"}`, "aaa…"},
		"a token that is a list": {`{"eos_token":[1,2]}`, "eos_token: "},
		"a template of templates": {`{"chat_template":[` + strings.Repeat(`{"name":"x"},`, 10_000) + `{}]}`,
			`10001 templates, none of them named "default"`},
		"a flag that is text": {`{"add_bos_token":"yes"}`, "add_bos_token is a string, and must be true or false"},
		"cut":                 {`{"add_bos_token":`, "ends too soon"},
	} {
		t.Run(name, func(t *testing.T) {
			open := func() error { _, err := tok.WithConfig("dir/tokenizer_config.json", []byte(file[0])); return err }
			hostile.Refused(t, int64(len(file[0])), open, "dir/tokenizer_config.json: ", file[1])
		})
	}
}

// proto is a field of a protocol buffer that holds bytes.
func proto(number uint64, data string) string {
	b := binary.AppendUvarint(nil, number<<3|2)
	return string(binary.AppendUvarint(b, uint64(len(data)))) + data
}

// protoNumber is a field that holds a number.
func protoNumber(number, value uint64) string {
	return string(binary.AppendUvarint(binary.AppendUvarint(nil, number<<3), value))
}

// hostilePieces are files named tokenizer.model, and what the error says.
func hostilePieces() map[string][2]string {
	piece := func(text string, typ uint64) string {
		return proto(spPieces, proto(spText, text)+protoNumber(spType, typ))
	}
	bpe, long := proto(spTrainer, protoNumber(spModelType, spBPE)), strings.Repeat("a", 1<<20)
	var unused, frozen strings.Builder
	for i := range 40_000 {
		unused.WriteString(piece(fmt.Sprintf("%dé%d", i, i), typeUnused))
		frozen.WriteString(piece(fmt.Sprint("x", i), typeUserDefined))
	}
	return map[string][2]string{
		"nothing":                        {"", "no tokens"},
		"zeros":                          {strings.Repeat("\x00", 1<<16), "no tokens"},
		"a length of 2^63":               {"\x0a" + string(binary.AppendUvarint(nil, 1<<63)), "ends outside"},
		"a number without end":           {strings.Repeat("\xff", 1<<16), "no field at byte 0"},
		"a group":                        {strings.Repeat("\x0b", 1<<16), "wire type 3"},
		"an empty piece":                 {piece("", typeNormal), "piece 0 is empty"},
		"a piece twice":                  {piece("a", typeNormal) + piece("a", typeNormal), "has the ids 0 and 1"},
		"a piece of a megabyte":          {piece(long, typeNormal), "token 0 has 1048576 bytes"},
		"a merging piece of a megabyte":  {piece(long, typeNormal) + bpe, "token 0 has 1048576 bytes"},
		"an unused piece of a megabyte":  {piece(long, typeUnused) + bpe, "token 0 has 1048576 bytes"},
		"a control piece of a megabyte":  {piece(long, typeControl), "token 0 has 1048576 bytes"},
		"a byte piece of a megabyte":     {piece(long, typeByte), "pieces[0]: invalid tokenizer: byte piece"},
		"40,000 unused pieces":           {unused.String() + piece("a", 9) + bpe, "type 9 of piece"},
		"40,000 pieces of the user":      {frozen.String() + piece("x", 7), "type 7"},
		"40,000 of the user, and a twin": {frozen.String() + piece("x1", typeNormal), "has the ids"},
		"a type of 2^64-1":               {piece("a", 1<<64-1), "type 18446744073709551615"},
		"an algorithm of 2^64-1":         {piece("a", typeNormal) + proto(spTrainer, protoNumber(spModelType, 1<<64-1)), "trainer_spec.model_type"},
		"two unknown pieces":             {piece("a", typeUnknown) + piece("b", typeUnknown), "a second unknown piece"},
		"a charsmap of 2^32-4":           {piece("a", typeNormal) + proto(spNorm, proto(spCharsmap, "\xfc\xff\xff\xff")), "normalizer_spec.precompiled_charsmap"},
		"a tokenizer.json":               {"{\n \"model\": {}}", "it is cut short, or no SentencePiece model"},
	}
}

func TestHostilePieces(t *testing.T) {
	for name, file := range hostilePieces() {
		t.Run(name, func(t *testing.T) {
			open := func() error { _, err := FromSentencePiece("dir/tokenizer.model", []byte(file[0])); return err }
			hostile.Refused(t, int64(len(file[0])), open, "dir/tokenizer.model: ", file[1])
		})
	}
	// What is many and sound is read, and soon.
	data := hostilePieces()["40,000 pieces of the user"][0]
	data = strings.TrimSuffix(data, proto(spPieces, proto(spText, "x")+protoNumber(spType, 7)))
	if err := hostile.Bounded(t, int64(len(data)), func() error { _, err := FromSentencePiece("many", []byte(data)); return err }); err != nil {
		t.Error(err)
	}
}

// TestGrowingText has files that can be read, and make far more of a text.
func TestGrowingText(t *testing.T) {
	// A charsmap whose trie replaces a by 64 KiB.
	units := make([]byte, 1024)
	unit := func(at int, label byte, leaf bool, offset uint32) {
		u := uint32(label) | offset<<10
		if leaf {
			u |= 1 << 8
		}
		binary.LittleEndian.PutUint32(units[4*at:], u)
	}
	unit('a', 'a', true, 'a'^2) // behind the root, whose offset is 0: its text begins at 0, as unit 2 says
	binary.LittleEndian.PutUint32(units[8:], 1<<31)
	charsmapData := string(binary.LittleEndian.AppendUint32(nil, 1024)) + string(units) + strings.Repeat("x", 1<<16) + "\x00"
	model := proto(spPieces, proto(spText, "x")+protoNumber(spType, typeNormal)) + proto(spNorm, proto(spCharsmap, charsmapData))
	tok, err := FromSentencePiece("growing.model", []byte(model))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("a", 1<<14) // a gigabyte, if it were all made
	err = hostile.Bounded(t, int64(len(text)), func() error { _, err := tok.Encode(text, EncodeOptions{}); return err })
	if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "a normaliser makes more than") {
		t.Errorf("a text that grows: %v", err)
	}
}

// TestAddedTokensAreFound compares the search for added tokens with trying all.
func TestAddedTokensAreFound(t *testing.T) {
	r := newRand(t)
	for range 200 {
		var tokens []addedToken
		for id := range r.IntN(12) {
			text := make([]byte, 1+r.IntN(4))
			for i := range text {
				text[i] = "ab\xff"[r.IntN(3)]
			}
			tokens = append(tokens, addedToken{text: string(text), id: int32(id)})
		}
		m := newMatcher(tokens)
		for range 50 {
			text := make([]byte, r.IntN(6))
			for i := range text {
				text[i] = "ab\xffc"[r.IntN(4)]
			}
			want := addedToken{id: noID}
			for _, tok := range tokens {
				if strings.HasPrefix(string(text), tok.text) && len(tok.text) >= len(want.text) {
					want = tok
				}
			}
			got := noID
			if i := m.longest(string(text)); i >= 0 {
				got = m.tokens[i].id
			}
			if got != want.id {
				t.Fatalf("%q begins with token %d of %v, want %d", text, got, tokens, want.id)
			}
		}
	}
}

// addHostile adds the small ones of some files to a corpus.
func addHostile(files map[string][2]string, add func(data []byte)) {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if data := files[name][0]; len(data) < 1<<14 {
			add([]byte(data))
		}
	}
}
