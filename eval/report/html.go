package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"

	"headinfer/eval"
)

//go:embed page.html
var pageSource string

//go:embed page.css
var styleSource string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"is":     isPart,
	"groups": groups,
	"begins": Table.begins,
	"wide":   func(p Picture) (template.HTML, error) { return drawn(p.Draw) },
	"narrow": func(p Picture) (template.HTML, error) { return drawn(p.Draw.Narrow()) },
	"style":  style,
	"id":     func(i int) string { return fmt.Sprintf("section-%d", i+1) },
}).Parse(pageSource))

// HTML writes the page: a whole document that refers to nothing outside itself but its
// pictures' files, by links.
func (p *Page) HTML(w io.Writer) error {
	if err := p.check(); err != nil {
		return err
	}
	var out bytes.Buffer
	if err := page.Execute(&out, p); err != nil {
		return err
	}
	_, err := w.Write(out.Bytes())
	return err
}

// isPart says what a part is, for the template.
func isPart(p Part) string {
	switch p.(type) {
	case Text:
		return "text"
	case List:
		return "list"
	case Table:
		return "table"
	}
	return "picture"
}

// drawn returns a picture as a part of the page.
func drawn(p eval.Picture) (template.HTML, error) {
	var out strings.Builder
	if err := p.SVG(&out); err != nil {
		return "", err
	}
	return template.HTML(out.String()), nil //nolint:gosec // it is our own, and texts in it are escaped
}

// group is columns under one heading.
type group struct {
	Name string
	Span int
}

// groups joins columns side by side that have the same group; nil if none has one.
func groups(columns []Column) (all []group) {
	any := false
	for _, c := range columns {
		any = any || c.Group != ""
		if n := len(all); n > 0 && all[n-1].Name == c.Group && c.Group != "" {
			all[n-1].Span++
			continue
		}
		all = append(all, group{c.Group, 1})
	}
	if !any {
		return nil
	}
	return all
}

// style is the style sheet, with the pictures' colours for light and dark screens.
func style() template.CSS {
	var light, dark, rules strings.Builder
	for _, t := range eval.Tones() {
		fmt.Fprintf(&light, "--t-%s:%s;", t.Name, t.Light)
		fmt.Fprintf(&dark, "--t-%s:%s;", t.Name, t.Dark)
		fmt.Fprintf(&rules, ".f-%s{fill:var(--t-%[1]s)}.s-%[1]s{stroke:var(--t-%[1]s)}", t.Name)
	}
	return template.CSS(fmt.Sprintf(":root{%s}\n@media screen and (prefers-color-scheme: dark){:root{%s}}\n%s\n%s", &light, &dark, &rules, styleSource)) //nolint:gosec // no part of it comes from outside
}
