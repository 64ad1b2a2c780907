package stages

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"

	"headinfer/config"
	"headinfer/graph"
)

type mapOptions struct {
	Text     string   `yaml:"text" default:"" doc:"The document's new text: a Go template over its ID, Text, Question, Questions and Fields. Beside Go's own there are the functions lower, upper, trim, replace OLD NEW, contains PART, hasPrefix, hasSuffix, first N (characters), words (how many), join SEPARATOR (a list). Like every option here, empty leaves it as it is." example:"{{.Fields.title}}\n\n{{.Text}}"`
	Question string   `yaml:"question" default:"" doc:"Its new question, in the place of all that it had." example:"Summarise {{.Fields.title}} in one sentence."`
	ID       string   `yaml:"id_template" default:"" doc:"Its new id; ids must differ." example:"{{.Fields.year}}/{{.ID}}"`
	Fields   []string `yaml:"fields" default:"[]" doc:"New fields, NAME=TEMPLATE each, for prompts and later stages." example:"[\"language={{.Fields.lang | lower}}\"]"`
}

// Check refuses templates that are none, and a map that changes nothing.
func (o *mapOptions) Check() []config.OptionError {
	if o.Text+o.Question+o.ID == "" && len(o.Fields) == 0 {
		return []config.OptionError{{Option: "text", What: "is empty, and so are question, id_template and fields", Want: "at least one of them"}}
	}
	var bad []config.OptionError
	add := func(option, what string) {
		if what != "" {
			bad = append(bad, config.OptionError{Option: option, What: what, Want: "text with {{.Text}}, {{.Question}}, {{.ID}} and {{.Fields.name}} in it"})
		}
	}
	add("text", checkDocumentTemplate(o.Text))
	add("question", checkDocumentTemplate(o.Question))
	add("id_template", checkDocumentTemplate(o.ID))
	for _, field := range o.Fields {
		name, text, ok := strings.Cut(field, "=")
		if !ok || strings.TrimSpace(name) == "" {
			bad = append(bad, config.OptionError{Option: "fields", What: fmt.Sprintf("has %q", field), Want: "NAME=TEMPLATE, such as title={{.Fields.name | upper}}"})
			continue
		}
		add("fields", checkDocumentTemplate(text))
	}
	return bad
}

// mapper changes documents, one at a time. All templates see the document as it
// came.
type mapper struct {
	text, question, id *documentTemplate
	fields             []mappedField
}

type mappedField struct {
	name string
	is   documentTemplate
}

func newMap(_ *Engine, o *mapOptions) (graph.Stage[*Document, *Document], error) {
	m := &mapper{}
	for _, part := range []struct {
		option, text string
		into         **documentTemplate
	}{{"text", o.Text, &m.text}, {"question", o.Question, &m.question}, {"id_template", o.ID, &m.id}} {
		if part.text == "" {
			continue
		}
		t, err := parseDocumentTemplate(part.text)
		if err != nil {
			return nil, fmt.Errorf("option %s: %w", part.option, err)
		}
		*part.into = &t
	}
	for _, field := range o.Fields {
		name, text, _ := strings.Cut(field, "=")
		t, err := parseDocumentTemplate(text)
		if err != nil {
			return nil, fmt.Errorf("option fields: %w", err)
		}
		m.fields = append(m.fields, mappedField{strings.TrimSpace(name), t})
	}
	return m, nil
}

// Process gives a changed copy on.
func (m *mapper) Process(_ context.Context, in *Document, emit func(*Document) error) error {
	out, err := m.changed(in)
	if err != nil {
		return &graph.DocumentError{ID: in.ID, Err: err}
	}
	return emit(out)
}

func (m *mapper) changed(in *Document) (*Document, error) {
	out := *in // others may read what came
	var err error
	if m.text != nil {
		if out.Text, err = m.text.of(in); err != nil {
			return nil, err
		}
		if err := CheckText([]byte(out.Text)); err != nil {
			return nil, err
		}
	}
	if m.question != nil {
		if out.Question, err = m.question.of(in); err != nil {
			return nil, err
		}
		out.Questions = nil
	}
	if m.id != nil {
		if out.ID, err = m.id.of(in); err != nil {
			return nil, err
		}
		if out.ID = strings.TrimSpace(out.ID); out.ID == "" {
			return nil, errors.New("the new id is empty")
		}
		if err := checkID(out.ID); err != nil {
			return nil, err
		}
	}
	if len(m.fields) > 0 {
		if out.Fields = maps.Clone(in.Fields); out.Fields == nil {
			out.Fields = map[string]any{}
		}
		for _, f := range m.fields {
			if out.Fields[f.name], err = f.is.of(in); err != nil {
				return nil, err
			}
		}
	}
	return &out, nil
}
