package tokenizer

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// WithConfig returns a copy of t that knows what tokenizer_config.json adds to a tokenizer.json: bos_token, eos_token,
// add_bos_token, add_eos_token and chat_template (the one named "default", where there are several). name is the file's, for errors.
func (t *Tokenizer) WithConfig(name string, data []byte) (*Tokenizer, error) {
	var f struct {
		BOS      json.RawMessage `json:"bos_token"`
		EOS      json.RawMessage `json:"eos_token"`
		AddBOS   *bool           `json:"add_bos_token"`
		AddEOS   *bool           `json:"add_eos_token"`
		Template json.RawMessage `json:"chat_template"`
	}
	if err := unmarshalFile(name, data, &f); err != nil {
		return nil, err
	}
	c := *t
	for _, field := range []struct {
		key  string
		data json.RawMessage
		id   *int32
	}{{"bos_token", f.BOS, &c.bos}, {"eos_token", f.EOS, &c.eos}} {
		if err := t.configToken(source{name, field.key}, field.data, field.id); err != nil {
			return nil, err
		}
	}
	if f.AddBOS != nil {
		c.lead = nil
		if *f.AddBOS {
			if c.bos == noID {
				return nil, source{name, "add_bos_token"}.invalid("true, and there is no bos_token")
			}
			c.lead = []int32{c.bos}
		}
	}
	if f.AddEOS != nil {
		c.tail = nil
		if *f.AddEOS {
			if c.eos == noID {
				return nil, source{name, "add_eos_token"}.invalid("true, and there is no eos_token")
			}
			c.tail = []int32{c.eos}
		}
	}
	var err error
	if c.template, err = configTemplate(source{name, "chat_template"}, f.Template, t.template); err != nil {
		return nil, err
	}
	c.ends = endTokens(&c, t.ends)
	return &c, nil
}

// configToken sets *id to the token that data names, if it names one.
func (t *Tokenizer) configToken(at source, data json.RawMessage, id *int32) error {
	if len(data) == 0 || string(data) == "null" {
		return nil
	}
	var text string
	if bytes.HasPrefix(data, []byte("{")) {
		var tok struct {
			Content string `json:"content"`
		}
		if err := unmarshal(at, data, &tok); err != nil {
			return err
		}
		text = tok.Content
	} else if err := unmarshal(at, data, &text); err != nil {
		return err
	}
	found, ok := t.ID(text)
	if !ok {
		return at.invalid("%s is not a token of the tokenizer.json beside it", strconv.Quote(text))
	}
	*id = found
	return nil
}

func configTemplate(at source, data json.RawMessage, otherwise string) (string, error) {
	if len(data) == 0 || string(data) == "null" {
		return otherwise, nil
	}
	if !bytes.HasPrefix(data, []byte("[")) {
		var template string
		err := unmarshal(at, data, &template)
		return template, err
	}
	var named []struct {
		Name     string `json:"name"`
		Template string `json:"template"`
	}
	if err := unmarshal(at, data, &named); err != nil {
		return "", err
	}
	for _, n := range named {
		if n.Name == "default" {
			return n.Template, nil
		}
	}
	return "", at.invalid("%d templates, none of them named \"default\"", len(named))
}
