package stages

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/template"
)

// documentFuncs are the functions of map's and filter's templates beside Go's
// own: none reads or writes anything.
var documentFuncs = template.FuncMap{
	"lower":     strings.ToLower,
	"upper":     strings.ToUpper,
	"trim":      strings.TrimSpace,
	"replace":   func(old, with, text string) string { return strings.ReplaceAll(text, old, with) },
	"contains":  func(part, text string) bool { return strings.Contains(text, part) },
	"hasPrefix": func(prefix, text string) bool { return strings.HasPrefix(text, prefix) },
	"hasSuffix": func(suffix, text string) bool { return strings.HasSuffix(text, suffix) },
	"first":     firstRunes,
	"words":     func(text string) int { return len(strings.Fields(text)) },
	"join":      joinTexts,
}

func firstRunes(n int, text string) string {
	for at := range text {
		if n--; n < 0 {
			return text[:at]
		}
	}
	return text
}

func joinTexts(separator string, list any) (string, error) {
	switch list := list.(type) {
	case []string:
		return strings.Join(list, separator), nil
	case []any:
		texts := make([]string, len(list))
		for i, v := range list {
			texts[i] = fmt.Sprint(v)
		}
		return strings.Join(texts, separator), nil
	}
	return "", fmt.Errorf("join takes a list, and not a %T", list)
}

// documentView is what such a template sees of a document.
type documentView struct {
	ID, Text, Question string
	Questions          []string
	Fields             map[string]any
}

// documentTemplate makes a text of a document.
type documentTemplate struct{ *template.Template }

func parseDocumentTemplate(text string) (documentTemplate, error) {
	t, err := template.New("template").Option("missingkey=error").Funcs(documentFuncs).Parse(text)
	return documentTemplate{t}, err
}

// checkDocumentTemplate says why a text is no template of documents, or "".
func checkDocumentTemplate(text string) string {
	t, err := parseDocumentTemplate(text)
	if err != nil {
		return "is no Go template: " + err.Error()
	}
	// Which Fields there are, only the documents know.
	if err := t.Execute(io.Discard, documentView{Fields: map[string]any{}}); err != nil && strings.Contains(err.Error(), "can't evaluate field") {
		return "names what no document has: " + err.Error()
	}
	return ""
}

// templateLimit is the longest text that a template may make, in bytes.
const templateLimit = 1 << 30

var errLongTemplate = errors.New("the template makes more than 1 GiB of text")

// limitedText is a text that grows up to templateLimit.
type limitedText struct{ strings.Builder }

func (l *limitedText) Write(p []byte) (int, error) {
	if l.Len()+len(p) > templateLimit {
		return 0, errLongTemplate
	}
	return l.Builder.Write(p)
}

func (t documentTemplate) of(d *Document) (string, error) {
	var text limitedText
	err := t.Execute(&text, documentView{d.ID, d.Text, d.Question, d.Questions, d.Fields})
	return text.String(), err
}
