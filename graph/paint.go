package graph

import (
	"fmt"
	"strings"
)

// mermaid writes a flowchart.
type mermaid struct{ b strings.Builder }

func (m *mermaid) begin() { m.b.WriteString("flowchart LR\n") }

func (m *mermaid) beginLevel(name string) {
	fmt.Fprintf(&m.b, "  subgraph %s\n    direction LR\n", name)
}

func (m *mermaid) node(name string, kind shape, lines []string) {
	open, end := "[", "]"
	switch kind {
	case sourceShape:
		open, end = "([", "])"
	case sinkShape:
		open, end = "[[", "]]"
	case openShape:
		open, end = "((", "))"
	}
	escaped := make([]string, len(lines))
	for i, line := range lines {
		escaped[i] = mermaidEscaper.Replace(line)
	}
	fmt.Fprintf(&m.b, "    %s%s\"%s\"%s\n", name, open, strings.Join(escaped, "<br/>"), end)
}

func (m *mermaid) edge(from, to, label string) {
	fmt.Fprintf(&m.b, "    %s -->|\"%s\"| %s\n", from, mermaidEscaper.Replace(label), to)
}

func (m *mermaid) endLevel() { m.b.WriteString("  end\n") }

func (m *mermaid) end() string { return m.b.String() }

// mermaidEscaper writes what would end a quoted label, or be read as HTML or Markdown in it, as Mermaid's entities.
var mermaidEscaper = strings.NewReplacer(
	`"`, "#quot;", "#", "#35;", "&", "#amp;", "<", "#lt;", ">", "#gt;", "`", "#96;", "*", "#42;",
	`\`, "#92;", "\n", " ",
)

// dot writes a directed graph with a cluster for each level.
type dot struct{ b strings.Builder }

func (d *dot) begin() {
	d.b.WriteString("digraph pipeline {\n  rankdir=LR;\n  node [shape=box, fontname=\"Helvetica\"];\n" +
		"  edge [fontname=\"Helvetica\", fontsize=10];\n")
}

func (d *dot) beginLevel(name string) {
	fmt.Fprintf(&d.b, "  subgraph cluster_%s {\n    label=\"%s\";\n", name, dotEscaper.Replace(name))
}

func (d *dot) node(name string, kind shape, lines []string) {
	style := ""
	switch kind {
	case sourceShape:
		style = ", style=rounded"
	case sinkShape:
		style = ", peripheries=2"
	case openShape:
		style = ", shape=circle"
	}
	escaped := make([]string, len(lines))
	for i, line := range lines {
		escaped[i] = dotEscaper.Replace(line)
	}
	fmt.Fprintf(&d.b, "    %s [label=\"%s\"%s];\n", name, strings.Join(escaped, `\n`), style)
}

func (d *dot) edge(from, to, label string) {
	fmt.Fprintf(&d.b, "    %s -> %s [label=\"%s\"];\n", from, to, dotEscaper.Replace(label))
}

func (d *dot) endLevel() { d.b.WriteString("  }\n") }

func (d *dot) end() string { return d.b.String() + "}\n" }

// dotEscaper writes what would end a quoted string or be read as an escape in it.
var dotEscaper = strings.NewReplacer(`"`, `\"`, `\`, `\\`, "\n", " ")
