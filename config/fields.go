package config

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// StageDoc is what the documentation says about a stage.
type StageDoc struct {
	Level Level
	Name  string
	// Doc is one or more sentences; In and Out say what it takes and gives (In empty: a source; Out empty: a sink).
	Doc, In, Out string
	// Lossy says what is lost, in a stage after which the model computes something else; empty in an exact one.
	Lossy string
	// Options is the options struct, or a pointer to one; nil for a stage without options.
	Options any
}

// Field is one option as a page shows it. Every part is text; Default and Example are as written in YAML.
type Field struct{ Name, Type, Default, Unit, Doc, Example, Allowed string }

// values says in a few words what the option takes: the words themselves, or the type and its bounds.
func (f Field) values() string {
	switch {
	case f.Allowed == "":
		return f.Type
	case strings.HasPrefix(f.Type, "word"):
		return f.Allowed
	}
	return f.Type + ", " + f.Allowed
}

// Fields returns a stage's options in the order of the struct's fields ("outer.inner" in a nested one), and nothing for a
// struct whose declarations cannot be used: Lint says why.
func Fields(options any) []Field {
	specs, err := specsOf(options)
	if err != nil {
		return nil
	}
	fields := make([]Field, len(specs))
	for i := range specs {
		s := &specs[i]
		fields[i] = Field{
			Name: s.name, Type: s.typeName(), Unit: s.unit, Doc: s.doc, Allowed: s.allowed(),
			Default: s.yaml(s.defaultText), Example: s.yaml(s.example),
		}
	}
	return fields
}

// yaml writes a tag's text as a value in a pipeline file.
func (s *spec) yaml(text string) string {
	switch {
	case s.kind == kindTexts && text == "":
		return "[]"
	case s.kind == kindTexts && !strings.HasPrefix(text, "["):
		return "[" + quoteYAML(text) + "]"
	case s.kind == kindText:
		return quoteYAML(text)
	}
	return text
}

// quoteYAML writes a text so that YAML reads it back, inside { } too, and no variable in it is replaced.
func quoteYAML(text string) string {
	plain := !isNull(text)
	for i, r := range text {
		letter := r|0x20 >= 'a' && r|0x20 <= 'z' || r == '_' || r == '/'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789-.", r)) {
			plain = false
		}
	}
	if plain {
		return text
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b.WriteString(`\` + string(r))
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '$':
			b.WriteString(`$$`)
		case r < ' ' || r == 0x7f || r == utf8.RuneError:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// exampleYAML writes a stage as a list item with its options' examples, nested ones as a mapping of their own.
func exampleYAML(name string, fields []Field) string {
	if len(fields) == 0 {
		return "- " + name + "\n"
	}
	var b strings.Builder
	b.WriteString("- " + name + ":\n")
	group := ""
	for _, f := range fields {
		outer, inner, nested := strings.Cut(f.Name, ".")
		switch {
		case !nested:
			group = ""
			fmt.Fprintf(&b, "    %s: %s\n", f.Name, f.Example)
			continue
		case outer != group:
			group = outer
			fmt.Fprintf(&b, "    %s:\n", outer)
		}
		fmt.Fprintf(&b, "      %s: %s\n", inner, f.Example)
	}
	return b.String()
}

// arrow writes what a stage takes and gives.
func (s StageDoc) arrow() string {
	switch {
	case s.In == "" && s.Out == "":
		return "no input and no output"
	case s.In == "":
		return "source → " + s.Out
	case s.Out == "":
		return s.In + " → sink"
	}
	return s.In + " → " + s.Out
}
