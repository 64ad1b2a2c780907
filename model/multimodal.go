package model

import (
	"encoding/json"
	"fmt"
	"strings"

	"headinfer/internal/shorten"
	"headinfer/model/jsonfile"
	"headinfer/model/tensor"
)

// otherParts are what a config.json has of a model that reads more than text.
type otherParts struct {
	Text   json.RawMessage `json:"text_config"`
	Vision json.RawMessage `json:"vision_config"`
	Audio  json.RawMessage `json:"audio_config"`
}

// named says which of them there are.
func (o otherParts) named() []string {
	var names []string
	for _, part := range []struct {
		name string
		raw  json.RawMessage
	}{{"text_config", o.Text}, {"vision_config", o.Vision}, {"audio_config", o.Audio}} {
		if len(part.raw) > 0 && string(part.raw) != "null" {
			names = append(names, part.name)
		}
	}
	return names
}

// explain adds to the refusal of a model what it is, if it reads more than text.
func (o otherParts) explain(err error) error {
	parts := o.named()
	if err == nil || len(parts) == 0 {
		return err
	}
	has, last := strings.Join(parts[:len(parts)-1], ", "), parts[len(parts)-1]
	if has != "" {
		has += " and "
	}
	return fmt.Errorf("%w; it is a model of more than text (it has %s), and of such only the language model of gemma3 can be used", err, has+last)
}

// languageModel returns the configuration of a model's language model: what all
// of the file says, or, where that is one of several models, its part.
func (h *hfConfig) languageModel() (*hfConfig, error) {
	if h.ModelType != "gemma3" {
		return h, nil
	}
	text := hfConfig{path: h.path}
	if parts := h.named(); len(parts) == 0 || parts[0] != "text_config" {
		return nil, fmt.Errorf("%s: text_config is missing, which says what the language model of model_type %q is", h.path, h.ModelType)
	}
	err := jsonfile.Unmarshal(h.Text, &text)
	if err == nil {
		err = nothingTwice(h.Text)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: text_config: %w", h.path, err)
	}
	if text.ModelType != "" && text.ModelType != "gemma3_text" {
		return nil, fmt.Errorf("%s: text_config has model_type %q; expected gemma3_text", h.path, shorten.Text(text.ModelType))
	}
	if parts := text.named(); len(parts) > 0 {
		return nil, fmt.Errorf("%s: text_config has a %s of its own; expected a language model", h.path, parts[0])
	}
	text.ModelType, text.textOnly = h.ModelType, true
	if h.Tied != nil {
		text.Tied = h.Tied
	}
	return &text, nil
}

// findLanguageModel finds a language model's tensors among those of a model that
// it is a part of. Published files and newer ones call them differently; all
// others of the file are left where they are.
func findLanguageModel(files finder) finder {
	return func(name string) (tensor.Tensor, bool) {
		for _, called := range []string{
			"language_model." + name, // language_model.model.norm.weight, language_model.lm_head.weight
			"model.language_model." + strings.TrimPrefix(name, "model."),
			name, // lm_head.weight beside the second
		} {
			if t, ok := files(called); ok {
				return t, true
			}
		}
		return tensor.Tensor{}, false
	}
}
