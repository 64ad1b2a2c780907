package tokenizer

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestFromJSONRefuses(t *testing.T) {
	r := newRand(t)
	type object = map[string]any
	model := func(f object) object { return f["model"].(object) }
	added := func(f object, i int) object { return f["added_tokens"].([]any)[i].(object) }
	template := func(single ...any) object {
		return object{"type": "TemplateProcessing", "single": single, "special_tokens": object{"<s>": object{"ids": []int{1}}, "<big>": object{"ids": []int{9999}}}}
	}
	special := func(id string) object { return object{"SpecialToken": object{"id": id}} }
	text := object{"Sequence": object{"id": "A"}}
	scores := []any{[]any{"a", -1.5}, []any{"b", -2}}
	for name, c := range map[string]struct {
		edit  func(f object)
		kind  error
		names []string
	}{
		"model type":     {func(f object) { model(f)["type"] = "WordPiece" }, ErrUnsupported, []string{"model.type", "WordPiece", "BPE and Unigram"}},
		"unigram bytes":  {func(f object) { model(f)["type"], model(f)["vocab"] = "Unigram", scores; delete(f, "added_tokens") }, ErrUnsupported, []string{"pre_tokenizer", "ByteLevel"}},
		"unigram vocab":  {func(f object) { model(f)["type"] = "Unigram" }, ErrInvalid, []string{"model.vocab", "at byte"}},
		"unigram pair":   {func(f object) { model(f)["type"], model(f)["vocab"] = "Unigram", []any{[]any{"a"}} }, ErrInvalid, []string{"model.vocab[0]", "1 values"}},
		"unigram empty":  {func(f object) { model(f)["type"], model(f)["vocab"] = "Unigram", []any{[]any{"", 1}} }, ErrInvalid, []string{"model.vocab[0]", "empty"}},
		"unigram unk":    {func(f object) { model(f)["type"], model(f)["vocab"], model(f)["unk_id"] = "Unigram", scores, 9 }, ErrInvalid, []string{"model.unk_id", "9"}},
		"dropout":        {func(f object) { model(f)["dropout"] = 0.5 }, ErrUnsupported, []string{"dropout", "0.5"}},
		"suffix":         {func(f object) { model(f)["end_of_word_suffix"] = "</w>" }, ErrUnsupported, []string{"end_of_word_suffix", "</w>"}},
		"no vocabulary":  {func(f object) { model(f)["vocab"] = object{}; delete(f, "added_tokens") }, ErrInvalid, []string{"model.vocab", "no tokens"}},
		"no merges":      {func(f object) { model(f)["merges"] = []any{} }, ErrInvalid, []string{"model.merges", "no merges"}},
		"unknown merge":  {func(f object) { model(f)["merges"] = []any{"a b c"} }, ErrInvalid, []string{"model.merges[0]", "a b c"}},
		"merge of three": {func(f object) { model(f)["merges"] = []any{[]string{"a", "b", "c"}} }, ErrInvalid, []string{"model.merges[0]"}},
		"merge a number": {func(f object) { model(f)["merges"] = []any{7} }, ErrInvalid, []string{"model.merges[0]"}},
		"unknown result": {func(f object) { model(f)["merges"] = []any{"z z"} }, ErrInvalid, []string{"model.merges[0]", `"zz"`}},
		"id twice":       {func(f object) { model(f)["vocab"].(object)["qqq"] = 5 }, ErrInvalid, []string{"id 5", `"qqq"`}},
		"gap":            {func(f object) { model(f)["vocab"].(object)["qqq"] = 1 << 40 }, ErrInvalid, []string{"few gaps", `"qqq"`}},
		"negative":       {func(f object) { model(f)["vocab"].(object)["qqq"] = -1 }, ErrInvalid, []string{"-1"}},
		"empty token":    {func(f object) { v := model(f)["vocab"].(object); v[""] = v["z"]; delete(v, "z") }, ErrInvalid, []string{"empty"}},
		"unk":            {func(f object) { model(f)["unk_token"] = "<unk>" }, ErrInvalid, []string{"model.unk_token", "<unk>"}},
		"added gap":      {func(f object) { added(f, 3)["id"] = 1000 }, ErrInvalid, []string{"added_tokens[3]", "without gaps"}},
		"added empty":    {func(f object) { added(f, 1)["content"] = "" }, ErrInvalid, []string{"added_tokens[1]"}},
		"added clash":    {func(f object) { added(f, 1)["id"] = 3 }, ErrInvalid, []string{"added_tokens[1]", "id 3"}},
		"added moved":    {func(f object) { added(f, 1)["content"] = "a" }, ErrInvalid, []string{"added_tokens[1]", "model.vocab"}},
		"normalizer":     {func(f object) { f["normalizer"] = object{"type": "Nmt"} }, ErrUnsupported, []string{"normalizer", "Nmt", "NFKC"}},
		"charsmap":       {func(f object) { f["normalizer"] = object{"type": "Precompiled", "precompiled_charsmap": "AAAA"} }, ErrInvalid, []string{"normalizer", "charsmap of 3 bytes"}},
		"replace":        {func(f object) { f["normalizer"] = object{"type": "Replace", "pattern": object{}} }, ErrUnsupported, []string{"normalizer", "Replace"}},
		"replace regex":  {func(f object) { f["normalizer"] = object{"type": "Replace", "pattern": object{"Regex": "a++"}} }, ErrUnsupported, []string{"normalizer", "possessive"}},
		"no pre":         {func(f object) { f["pre_tokenizer"] = nil }, ErrUnsupported, []string{"decoder", "ByteLevel"}},
		"pre":            {func(f object) { f["pre_tokenizer"] = object{"type": "UnicodeScripts"} }, ErrUnsupported, []string{"pre_tokenizer", "UnicodeScripts", "Metaspace"}},
		"not last": {func(f object) {
			f["pre_tokenizer"] = object{"type": "Sequence", "pretokenizers": []any{object{"type": "ByteLevel"}, object{"type": "Digits"}}}
		}, ErrUnsupported, []string{"pre_tokenizer", "last"}},
		"metaspace": {func(f object) { f["pre_tokenizer"] = object{"type": "Metaspace"} }, ErrInvalid, []string{"Metaspace", "one character"}},
		"scheme": {func(f object) {
			f["pre_tokenizer"] = object{"type": "Metaspace", "replacement": "_", "prepend_scheme": "last"}
		}, ErrUnsupported, []string{"Metaspace", "last"}},
		"behavior": {func(f object) {
			f["pre_tokenizer"] = object{"type": "Sequence", "pretokenizers": []any{object{"type": "Split", "pattern": object{"Regex": " "}, "behavior": "Doubled"}}}
		}, ErrUnsupported, []string{"Split", "Doubled", "Removed"}},
		"split by text": {func(f object) {
			f["pre_tokenizer"] = object{"type": "Split", "pattern": object{"String": ""}, "behavior": "Isolated"}
		}, ErrUnsupported, []string{"Split", "String"}},
		"expression": {func(f object) {
			f["pre_tokenizer"] = object{"type": "Split", "pattern": object{"Regex": `\b`}, "behavior": "Isolated"}
		}, ErrUnsupported, []string{"Split", `\b`}},
		"post": {func(f object) { f["post_processor"] = object{"type": "Padding"} }, ErrUnsupported, []string{"Padding", "TemplateProcessing"}},
		"bert": {func(f object) {
			f["post_processor"] = object{"type": "BertProcessing", "cls": []any{"a", 3}, "sep": []any{"b", 1e9}}
		}, ErrInvalid, []string{"BertProcessing", "sep"}},
		"text twice":      {func(f object) { f["post_processor"] = template(text, special("<s>"), text) }, ErrInvalid, []string{"single[2]"}},
		"template empty":  {func(f object) { f["post_processor"] = template(object{}) }, ErrInvalid, []string{"single[0]"}},
		"template id":     {func(f object) { f["post_processor"] = template(special("<t>"), text) }, ErrInvalid, []string{"<t>"}},
		"template big":    {func(f object) { f["post_processor"] = template(special("<big>"), text) }, ErrInvalid, []string{"9999"}},
		"template no end": {func(f object) { f["post_processor"] = template(special("<s>")) }, ErrInvalid, []string{"1 pieces"}},
		"decoder":         {func(f object) { f["decoder"] = nil }, ErrUnsupported, []string{"decoder"}},
		"char decoder":    {func(f object) { f["pre_tokenizer"], f["decoder"] = nil, object{"type": "CTC"} }, ErrUnsupported, []string{"decoder", "CTC", "Metaspace"}},
		"no char decoder": {func(f object) { f["pre_tokenizer"], f["decoder"] = nil, nil }, ErrUnsupported, []string{"decoder", "none"}},
		"strip": {func(f object) {
			f["pre_tokenizer"], f["decoder"] = nil, object{"type": "Strip", "content": " ", "start": 1}
		}, ErrUnsupported, []string{"decoder", "Strip"}},
		"after fuse": {func(f object) {
			f["pre_tokenizer"], f["decoder"] = nil, object{"type": "Sequence", "decoders": []any{object{"type": "Fuse"}, object{"type": "Metaspace", "replacement": "_"}}}
		}, ErrUnsupported, []string{"decoder", "Metaspace after"}},
		"wrong type": {func(f object) { model(f)["merges"] = "x" }, ErrInvalid, []string{"at byte"}},
	} {
		_, err := FromJSON("dir/tokenizer.json", tinyJSON(t, r, 40, c.edit))
		if !errors.Is(err, c.kind) {
			t.Errorf("%s: error %v, want %v", name, err, c.kind)
			continue
		}
		for _, part := range append(c.names, "dir/tokenizer.json: ") {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %v: doesn't say %q", name, err, part)
			}
		}
	}
	for _, data := range []string{"", "{", "[]", `{"model":`, "null"} {
		if _, err := FromJSON("x.json", []byte(data)); err == nil {
			t.Errorf("%q: no error", data)
		}
	}
}

func TestTemplateAndConfig(t *testing.T) {
	r := newRand(t)
	var start int
	tok := tiny(t, r, func(f map[string]any) {
		start = f["added_tokens"].([]any)[0].(map[string]any)["id"].(int)
		f["post_processor"] = map[string]any{"type": "Sequence", "processors": []any{
			map[string]any{"type": "ByteLevel"},
			map[string]any{"type": "TemplateProcessing",
				"single": []any{map[string]any{"SpecialToken": map[string]any{"id": "<|start|>", "type_id": 0}},
					map[string]any{"Sequence": map[string]any{"id": "A", "type_id": 0}}},
				"special_tokens": map[string]any{"<|start|>": map[string]any{"id": "<|start|>", "ids": []int{start}, "tokens": []string{"<|start|>"}}}},
		}}
	})
	starts := func(tok *Tokenizer) bool {
		ids, err := tok.Encode("a", EncodeOptions{BOS: true})
		return err == nil && len(ids) == 2 && ids[0] == int32(start)
	}
	if bos, ok := tok.BOS(); !ok || int(bos) != start || !starts(tok) {
		t.Errorf("BOS %d, %v; want %d in front", bos, ok, start)
	}
	c, err := tok.WithConfig("tokenizer_config.json", []byte(`{"bos_token": {"content": "<|start|>"}, "eos_token": "<pad>", "add_bos_token": false,
		"chat_template": [{"name": "tools", "template": "t"}, {"name": "default", "template": "d"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	pad, _ := tok.ID("<pad>")
	if eos, ok := c.EOS(); !ok || eos != pad || !slices.Contains(c.EndTokens(), pad) || c.ChatTemplate() != "d" || starts(c) {
		t.Errorf("EOS %d, %v, ends %v, template %q, BOS in front %v", eos, ok, c.EndTokens(), c.ChatTemplate(), starts(c))
	}
	if !starts(tok) {
		t.Error("WithConfig changed the tokenizer that it was called on")
	}
	for config, names := range map[string]string{
		`{"eos_token": "<none>"}`: "eos_token", `{"bos_token": 3}`: "bos_token", `[]`: "tokenizer_config.json",
		`{"chat_template": [{"name": "a"}]}`: "chat_template",
	} {
		if _, err := tok.WithConfig("tokenizer_config.json", []byte(config)); err == nil || !strings.Contains(err.Error(), names) {
			t.Errorf("%s: error %v, want one naming %s", config, err, names)
		}
	}
}
