package model

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"headinfer/kernels"
	"headinfer/model/safetensors"
	"headinfer/model/tensor"
)

const multimodal = "../testdata/architectures/gemma3-multimodal"

// TestConfigForms reads the configurations of all tiny models as the families'
// files have them, and as transformers saves them today.
func TestConfigForms(t *testing.T) {
	dirs, err := filepath.Glob("../testdata/architectures/*/config.json")
	if err != nil || len(dirs) < 17 {
		t.Fatalf("%d configurations: %v", len(dirs), err)
	}
	for _, path := range dirs {
		published, err := readConfig(path, os.ReadFile)
		if err != nil {
			t.Error(err)
			continue
		}
		saved, err := readConfig(filepath.Join(filepath.Dir(path), "config.saved.json"), os.ReadFile)
		if err != nil {
			t.Error(err)
			continue
		}
		if !reflect.DeepEqual(published, saved) {
			t.Errorf("%s:\n%+v\nas it is saved today:\n%+v", path, published, saved)
		}
	}
}

// configWith reads a configuration that is one of the tiny models' with one
// thing replaced.
func configWith(t *testing.T, from, old, replacement string) (Config, error) {
	t.Helper()
	data, err := os.ReadFile("../testdata/architectures/" + from + "/config.json")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(data), old, replacement, 1)
	if text == string(data) {
		t.Fatalf("%s: no %s in it", from, old)
	}
	path := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return readConfig(path, os.ReadFile)
}

// TestGemma3Defaults reads the configuration of the published model with 4 billion
// parameters, which leaves out most.
func TestGemma3Defaults(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	text := `{"model_type": "gemma3", "text_config": {"hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text",
		"num_hidden_layers": 34, "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024}, "vision_config": {}}`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := readConfig(path, os.ReadFile)
	if err != nil {
		t.Fatal(err)
	}
	for l, slides := range got.Sliding {
		if want := l%6 != 5; slides != want {
			t.Errorf("layer %d has a window: %t, want %t", l, slides, want)
		}
	}
	if got.Embedding < 50.596 || got.Embedding > 50.597 {
		t.Errorf("embeddings are multiplied by %g, want the root of 2560", got.Embedding)
	}
	got.Sliding, got.Embedding, got.Name = nil, 0, ""
	want := Config{
		Architecture: "gemma3", Layers: 34, Hidden: 2560, Heads: 8, KVHeads: 4, HeadDim: 256, FFN: 10240, Vocab: 262208, Context: 131072,
		Rope:      Rope{Base: 1e6, Dim: 256, Scaling: "linear", Factor: 8, Trained: 131072, BetaFast: 32, BetaSlow: 1},
		LocalRope: &Rope{Base: 10000, Dim: 256}, NormEps: 1e-6, Tied: true, TextOnly: true, Window: 1024,
		HeadNorm: true, AfterNorm: true, Scale: 1.0 / 16, Activation: kernels.GELUTanh,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v (%+v)\nwant %+v (%+v)", got, got.LocalRope, want, want.LocalRope)
	}
}

// TestGemma3RopeForms says the bases of both rotary embeddings in all the ways
// that there are.
func TestGemma3RopeForms(t *testing.T) {
	const stretched = `"rope_scaling": {
      "factor": 8.0,
      "rope_type": "linear"
    }`
	for _, c := range []struct {
		text        string
		base, local float64
		factor      float64
	}{
		{`"rope_theta": 5e5, ` + stretched, 5e5, 1e4, 8},
		{`"rope_local_base_freq": 2e4, ` + stretched, 1e6, 2e4, 8},
		{`"rope_parameters": {"full_attention": {"rope_type": "default"}}, ` + stretched, 1e6, 1e4, 8},
		{`"rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 2, "rope_theta": 7e5}}`, 7e5, 1e4, 2},
		{`"rope_local_base_freq": 2e4, "rope_parameters": {"sliding_attention": {"rope_type": "default"}}`, 1e6, 2e4, 0},
		{`"rope_theta": 5e5, "rope_parameters": {"sliding_attention": {"rope_theta": 3e4}}`, 5e5, 3e4, 0},
	} {
		got, err := configWith(t, "gemma3-multimodal", stretched, c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if got.Rope.Base != c.base || got.LocalRope.Base != c.local || got.Rope.Factor != c.factor {
			t.Errorf("%s: bases %g and %g, factor %g, want %g, %g, %g", c.text, got.Rope.Base, got.LocalRope.Base, got.Rope.Factor, c.base, c.local, c.factor)
		}
	}
}

// TestMultimodalRefusals goes through models of more than text that are not
// supported, and Gemma 3's files with something missing.
func TestMultimodalRefusals(t *testing.T) {
	const kind = `"model_type": "gemma3",`
	for _, c := range []struct{ old, new, want string }{
		{kind, `"model_type": "llava",`, `model_type "llava" is not supported`},
		{kind, `"model_type": "gemma3n",`, "it is a model of more than text (it has text_config and vision_config)"},
		{kind, `"model_type": "mistral3", "audio_config": {},`, "it has text_config, vision_config and audio_config"},
		{kind, `"model_type": "qwen2_5_vl",`, "only the language model of gemma3 can be used"},
		{kind, `"model_type": "paligemma",`, "only the language model of gemma3 can be used"},
		{kind, `"model_type": "llama4", "text_config": [],`, ""},
		{`"text_config": {`, `"words_config": {`, "text_config is missing"},
		{`"text_config": {`, `"text_config": null, "words_config": {`, "text_config is missing"},
		{`"text_config": {`, `"text_config": 7, "words_config": {`, "text_config"},
		{`"model_type": "gemma3_text"`, `"model_type": "llama"`, `text_config has model_type "llama"; expected gemma3_text`},
		{`"head_dim": 16`, `"head_dim": 16, "head_dim": 17`, "text_config: head_dim is there twice"},
		{`"model_type": "gemma3_text"`, `"vision_config": {}, "model_type": "gemma3_text"`, "a vision_config of its own"},
		{`"head_dim": 16`, `"use_bidirectional_attention": true, "head_dim": 16`, "use_bidirectional_attention: true is not supported"},
		{`"head_dim": 16`, `"hidden_activation": "relu", "head_dim": 16`, `hidden_activation "relu"`},
		{`"sliding_window": 32`, `"sliding_window": 0`, "a sliding window of 0 tokens"},
	} {
		_, err := configWith(t, "gemma3-multimodal", c.old, c.new)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "config.json") {
			t.Errorf("with %s: %v, want %q", c.new, err, c.want)
		}
	}
	// A model of text alone is refused without that.
	if _, err := configWith(t, "llama2", `"model_type": "llama"`, `"model_type": "mamba"`); err == nil || strings.Contains(err.Error(), "more than text") {
		t.Errorf("a model of text: %v", err)
	}
}

// TestMultimodalNames opens the same model under the three names that files have
// for its language model, and without it.
func TestMultimodalNames(t *testing.T) {
	set, err := safetensors.Open(multimodal)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := set.Close(); err != nil {
			t.Error(err)
		}
	}()
	open := func(change func(name string) string) (map[string][]byte, error) {
		t.Helper()
		dir := t.TempDir()
		var all []tensor.Tensor
		for _, w := range set.Tensors() {
			if w.Name = change(w.Name); w.Name != "" {
				all = append(all, w)
			}
		}
		var file bytes.Buffer
		if err := safetensors.Write(&file, all); err != nil {
			t.Fatal(err)
		}
		files := map[string][]byte{"model.safetensors": file.Bytes()}
		for name, from := range map[string]string{"config.json": multimodal + "/config.json", "tokenizer.json": "../testdata/architectures/tokenizer.json"} {
			if files[name], err = os.ReadFile(from); err != nil {
				t.Fatal(err)
			}
		}
		for name, data := range files {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c, err := Open(dir)
		if err != nil {
			return nil, err
		}
		defer closing(t, c)
		if !c.Config.TextOnly {
			t.Error("it does not say that it is a part of a model")
		}
		for _, e := range c.Encodings() {
			if e.Name == "bf16" && e.Parameters > c.Config.Parameters() {
				t.Errorf("%d parameters of %d", e.Parameters, c.Config.Parameters())
			}
		}
		return loaded(t, dir), nil
	}
	want, err := open(func(name string) string { return name })
	if err != nil {
		t.Fatal(err)
	}
	if len(want) != 2+6*13 {
		t.Errorf("%d weights", len(want))
	}
	rename := func(from, to string) func(string) string {
		return func(name string) string {
			if rest, ok := strings.CutPrefix(name, from); ok {
				return to + rest
			}
			return name
		}
	}
	for _, to := range []string{"model.language_model.", "model."} {
		got, err := open(rename("language_model.model.", to))
		if err != nil {
			t.Errorf("as %s: %v", to, err)
			continue
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("as %s other weights are loaded", to)
		}
	}
	if _, err := open(func(name string) string {
		if strings.HasSuffix(name, "layers.3.self_attn.q_norm.weight") {
			return ""
		}
		return name
	}); err == nil || !strings.Contains(err.Error(), `tensor "model.layers.3.self_attn.q_norm.weight" is missing`) {
		t.Errorf("with one weight missing: %v", err)
	}
	if _, err := open(rename("language_model.", "another_model.")); err == nil || !strings.Contains(err.Error(), "is missing") {
		t.Errorf("without a language model: %v", err)
	}
}

// TestMultimodalUntied reads an output matrix of its own, which the outer
// configuration decides about.
func TestMultimodalUntied(t *testing.T) {
	for text, tied := range map[string]bool{`"tie_word_embeddings": false, `: false, `"tie_word_embeddings": true, `: true} {
		c, err := configWith(t, "gemma3-multimodal", `"boi_token_index"`, text+`"boi_token_index"`)
		if err != nil || c.Tied != tied {
			t.Errorf("with %s: tied %t, %v", text, c.Tied, err)
		}
	}
	find := findLanguageModel(func(name string) (tensor.Tensor, bool) {
		return tensor.Tensor{Name: name}, name == "language_model.lm_head.weight" || name == "model.language_model.norm.weight"
	})
	for name, want := range map[string]string{nameOutput: "language_model.lm_head.weight", nameNorm: "model.language_model.norm.weight", nameEmbedding: ""} {
		if got, ok := find(name); ok != (want != "") || got.Name != want {
			t.Errorf("%s is found as %q", name, got.Name)
		}
	}
}
