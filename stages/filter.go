package stages

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"headinfer/config"
	"headinfer/graph"
)

type filterOptions struct {
	MinLength config.Count `yaml:"min_length" default:"0" unit:"characters" doc:"Shortest text that is kept." example:"200"`
	MaxLength config.Count `yaml:"max_length" default:"0" unit:"characters" doc:"Longest text that is kept; 0 for no bound." example:"100k"`
	Match     string       `yaml:"match" default:"" doc:"A regular expression (RE2) that what field names must match somewhere." example:"(?i)invoice"`
	Exclude   string       `yaml:"exclude" default:"" doc:"One that it must not match." example:"^DRAFT"`
	Field     string       `yaml:"field" default:"text" doc:"What match and exclude look at: text, question, id, or a field of the record. A field that a document lacks is empty." example:"language"`
	When      string       `yaml:"when" default:"" doc:"A Go template over the document's ID, Text, Question, Questions and Fields that gives true for those that are kept and false for others; with map's functions." example:"{{eq .Fields.language \"en\"}}"`
}

// Check refuses expressions and templates that are none, and a filter that
// keeps everything.
func (o *filterOptions) Check() []config.OptionError {
	var bad []config.OptionError
	if o.MinLength == 0 && o.MaxLength == 0 && o.Match+o.Exclude+o.When == "" {
		bad = append(bad, config.OptionError{Option: "when", What: "is empty, and so are all other conditions", Want: "min_length, max_length, match, exclude or when"})
	}
	if o.MaxLength > 0 && o.MaxLength < o.MinLength {
		bad = append(bad, config.OptionError{Option: "max_length", What: fmt.Sprintf("is %s, and min_length %s", o.MaxLength, o.MinLength), Want: "no less than that"})
	}
	for _, e := range []struct{ option, text string }{{"match", o.Match}, {"exclude", o.Exclude}} {
		if _, err := regexp.Compile(e.text); err != nil {
			bad = append(bad, config.OptionError{Option: e.option, What: fmt.Sprintf("is %q: %v", e.text, err), Want: "a regular expression of RE2"})
		}
	}
	if what := checkDocumentTemplate(o.When); what != "" {
		bad = append(bad, config.OptionError{Option: "when", What: what, Want: `a template that gives true or false, such as {{eq .Fields.language "en"}}`})
	}
	return bad
}

// filter keeps the documents for which all its conditions hold.
type filter struct {
	options        *filterOptions
	match, exclude *regexp.Regexp // nil where none is asked for
	when           *documentTemplate
}

func newFilter(_ *Engine, o *filterOptions) (graph.Stage[*Document, *Document], error) {
	f := &filter{options: o}
	for _, e := range []struct {
		option, text string
		into         **regexp.Regexp
	}{{"match", o.Match, &f.match}, {"exclude", o.Exclude, &f.exclude}} {
		if e.text == "" {
			continue
		}
		var err error
		if *e.into, err = regexp.Compile(e.text); err != nil {
			return nil, fmt.Errorf("option %s: %w", e.option, err)
		}
	}
	if o.When != "" {
		t, err := parseDocumentTemplate(o.When)
		if err != nil {
			return nil, fmt.Errorf("option when: %w", err)
		}
		f.when = &t
	}
	return f, nil
}

// Process gives a document on, or not.
func (f *filter) Process(_ context.Context, in *Document, emit func(*Document) error) error {
	keep, err := f.keeps(in)
	if err != nil {
		return &graph.DocumentError{ID: in.ID, Err: err}
	}
	if !keep {
		return nil
	}
	return emit(in)
}

func (f *filter) keeps(in *Document) (bool, error) {
	if low, high := int(f.options.MinLength), int(f.options.MaxLength); low > 0 || high > 0 {
		if n := utf8.RuneCountInString(in.Text); n < low || high > 0 && n > high {
			return false, nil
		}
	}
	if f.match != nil || f.exclude != nil {
		text := f.field(in)
		if f.match != nil && !f.match.MatchString(text) || f.exclude != nil && f.exclude.MatchString(text) {
			return false, nil
		}
	}
	if f.when == nil {
		return true, nil
	}
	word, err := f.when.of(in)
	if err != nil {
		return false, err
	}
	switch strings.TrimSpace(word) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fmt.Errorf("when gives %q; expected true or false", firstRunes(40, word))
}

func (f *filter) field(in *Document) string {
	switch name := f.options.Field; name {
	case "text":
		return in.Text
	case "question":
		return in.Question
	case "id":
		return in.ID
	default:
		if v, ok := in.Fields[name]; ok && v != nil {
			return fmt.Sprint(v)
		}
		return ""
	}
}
