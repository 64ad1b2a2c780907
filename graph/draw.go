package graph

import (
	"fmt"
	"reflect"
	"strings"

	"headinfer/config"
)

// A Format is a language that graphs can be drawn in.
type Format string

// What the formats are for: Mermaid is drawn by GitHub and most editors, DOT by Graphviz.
const (
	Mermaid Format = "mermaid"
	DOT     Format = "dot"
)

// Draw writes both levels as one drawing; either may be nil. A box says the entry's id, its stage where that is another
// word, the options that are not at their defaults, and whether it is lossy; an arrow says the type of the items. The same
// graphs give the same text. The error names the format that is not one.
func Draw(documents, heads *Graph, format Format) (string, error) {
	var p painter
	switch format {
	case Mermaid:
		p = new(mermaid)
	case DOT:
		p = new(dot)
	default:
		return "", fmt.Errorf("graph: unknown format %q; expected %q or %q", format, Mermaid, DOT)
	}
	return paint(p, documents, heads), nil
}

// Mermaid draws the graph as a Mermaid flowchart; see [Draw].
func (g *Graph) Mermaid() string { return paint(new(mermaid), g) }

// DOT draws the graph in Graphviz's language; see [Draw].
func (g *Graph) DOT() string { return paint(new(dot), g) }

// A painter writes the parts of a drawing in one language. Names are letters, digits and _ only; everything else is text to
// be escaped.
type painter interface {
	begin()
	beginLevel(name string)
	node(name string, shape shape, lines []string)
	edge(from, to, label string)
	endLevel()
	end() string
}

type shape int

const (
	stageShape shape = iota
	sourceShape
	sinkShape
	openShape // an end that is joined to something outside
)

func paint(p painter, graphs ...*Graph) string {
	p.begin()
	for _, g := range graphs {
		if g != nil {
			g.paint(p)
		}
	}
	return p.end()
}

func (g *Graph) paint(p painter) {
	p.beginLevel(string(g.level))
	// Ids may be words of the language, such as "end": boxes get names of their own.
	name := func(i int) string { return fmt.Sprintf("%s_%d", g.level, i) }
	in, out := string(g.level)+"_in", string(g.level)+"_out"
	if g.ends.In != nil {
		p.node(in, openShape, []string{"in"})
	}
	for i, b := range g.boxes {
		kind := stageShape
		switch {
		case b.spec.In == nil:
			kind = sourceShape
		case b.spec.Out == nil:
			kind = sinkShape
		}
		p.node(name(i), kind, b.label())
	}
	if g.ends.Out != nil {
		p.node(out, openShape, []string{"out"})
	}
	for i, b := range g.boxes {
		if b.from < 0 && g.ends.In != nil {
			p.edge(in, name(i), typeName(g.ends.In))
		}
		for _, reader := range b.readers {
			p.edge(name(i), name(reader), typeName(b.spec.Out))
		}
		if g.ends.Out != nil && b.spec.Out != nil && len(b.readers) == 0 {
			p.edge(name(i), out, typeName(b.spec.Out))
		}
	}
	p.endLevel()
}

// label returns the lines of a box.
func (b *box) label() []string {
	lines := []string{b.entry.ID}
	if b.entry.ID != b.entry.Stage {
		lines[0] += " (" + b.entry.Stage + ")"
	}
	if b.spec.Lossy != "" {
		lines = append(lines, "lossy")
	}
	return append(lines, changedOptions(b.entry.Options, b.spec.Options())...)
}

// changedOptions returns "name=value" for each option that is not at its default, in the order of the struct. fresh is a
// zero options struct of the same type as options.
func changedOptions(options, fresh any) []string {
	if options == nil || reflect.TypeOf(options) != reflect.TypeOf(fresh) || config.Defaults(fresh) != nil {
		return nil
	}
	return changedFields("", reflect.ValueOf(options).Elem(), reflect.ValueOf(fresh).Elem())
}

func changedFields(prefix string, now, usual reflect.Value) []string {
	var lines []string
	for i := range now.NumField() {
		field := now.Type().Field(i)
		name := field.Tag.Get("yaml")
		switch {
		case name == "" || name == "-" || !field.IsExported():
		case field.Type.Kind() == reflect.Struct && field.Type != reflect.TypeFor[config.Choice]():
			lines = append(lines, changedFields(prefix+name+".", now.Field(i), usual.Field(i))...)
		default:
			if value := short(now.Field(i).Interface()); value != short(usual.Field(i).Interface()) {
				lines = append(lines, clip(prefix+name+"="+value))
			}
		}
	}
	return lines
}

// short writes a value for a reader, on one line.
func short(value any) string {
	switch v := value.(type) {
	case string:
		return quoted(v)
	case []string:
		words := make([]string, len(v))
		for i, word := range v {
			words[i] = quoted(word)
		}
		return "[" + strings.Join(words, ", ") + "]"
	}
	return fmt.Sprint(value)
}

// quoted quotes a text that would not be one word without it.
func quoted(s string) string {
	q := fmt.Sprintf("%q", s)
	if s == "" || len(q) != len(s)+2 || strings.ContainsAny(s, " ,[]=") {
		return q
	}
	return s
}

// maxLine is how many characters of an option a box shows.
const maxLine = 48

func clip(line string) string {
	if runes := []rune(line); len(runes) > maxLine {
		return string(runes[:maxLine-1]) + "…"
	}
	return line
}
