package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// mismatch is a value that an option does not take: what completes `option "x" …`.
type mismatch struct{ what, want, nearest string }

// assign puts the node's value into the field, or says why it cannot.
func (s *spec) assign(field reflect.Value, n *node) *mismatch {
	if s.kind == kindTexts {
		texts, bad := s.texts(n)
		if bad == nil {
			field.Set(reflect.ValueOf(texts).Convert(field.Type()))
		}
		return bad
	}
	if n.kind != scalar {
		return &mismatch{what: "is " + n.describe(), want: s.want()}
	}
	if s.kind == kindText {
		if s.words != nil && !slices.Contains(s.words, n.text) {
			return &mismatch{"is " + n.describe(), s.want(), Nearest(n.text, s.words)}
		}
		field.SetString(n.text)
		return nil
	}
	if n.verbatim && s.kind != kindBytes && s.kind != kindCount && s.kind != kindChoice {
		return &mismatch{what: "is the quoted text " + n.describe(), want: s.want() + ", without quotes"}
	}
	switch s.kind {
	case kindBool:
		if n.text != "true" && n.text != "false" {
			return &mismatch{"is " + n.describe(), s.want(), ""}
		}
		field.SetBool(n.text == "true")
	case kindFloat:
		f, err := parseFloat(n.text)
		if err != nil || f < s.lowFloat || f > s.highFloat {
			return s.refuse(n, err)
		}
		field.SetFloat(f)
	case kindChoice:
		if slices.Contains(s.words, n.text) {
			field.Set(reflect.ValueOf(Choice{Word: n.text}))
			return nil
		}
		count, err := s.parseWhole(n.text)
		if err != nil || count < s.low || count > s.high {
			bad := s.refuse(n, err)
			bad.nearest = Nearest(n.text, s.words)
			return bad
		}
		field.Set(reflect.ValueOf(Choice{N: int(count)}))
	default:
		whole, err := s.parseWhole(n.text)
		if err != nil || whole < s.low || whole > s.high {
			return s.refuse(n, err)
		}
		field.SetInt(whole)
	}
	return nil
}

// refuse says why a number is not taken; err is nil when only a bound is against it.
func (s *spec) refuse(n *node, err error) *mismatch {
	what := "is " + n.describe()
	if err != nil && !errors.Is(err, errNotNumber) {
		what += ", " + err.Error()
	}
	return &mismatch{what: what, want: s.want()}
}

// texts reads a list of texts; one text is a list of one.
func (s *spec) texts(n *node) ([]string, *mismatch) {
	switch n.kind {
	case scalar:
		return []string{n.text}, nil
	case list:
		texts := make([]string, 0, len(n.items))
		for i, item := range n.items {
			if item.kind != scalar && item.kind != unusable {
				return nil, &mismatch{what: fmt.Sprintf("has an item, number %d, that is %s", i+1, item.describe()), want: s.want()}
			}
			texts = append(texts, item.text)
		}
		return texts, nil
	}
	return nil, &mismatch{what: "is " + n.describe(), want: s.want()}
}

// literal reads the text of a default or example tag: as it stands for a text, as an override's value for the rest.
func (s *spec) literal(text string) (*node, error) {
	switch {
	case s.kind == kindText:
		return &node{kind: scalar, text: text, verbatim: true}, nil
	case s.kind == kindTexts && text == "":
		return &node{kind: list}, nil
	}
	n, problems := inlineValue("", text, func(string) (string, bool) { return "", false })
	if len(problems) > 0 {
		return nil, problems
	}
	return n, nil
}

// assignLiteral puts a tag's text into the field.
func (s *spec) assignLiteral(field reflect.Value, text string) error {
	n, err := s.literal(text)
	if err != nil {
		return err
	}
	if bad := s.assign(field, n); bad != nil {
		return fmt.Errorf("it %s; expected %s", bad.what, bad.want)
	}
	return nil
}

// applyDefaults sets every option of the struct to its default.
func applyDefaults(target reflect.Value, specs []spec) error {
	for i := range specs {
		s := &specs[i]
		if err := s.assignLiteral(target.FieldByIndex(s.index), s.defaultText); err != nil {
			return fmt.Errorf("option %q: the default %q: %w", s.name, s.defaultText, err)
		}
	}
	return nil
}

// Defaults sets every option of the struct that options points to to the default its tags declare. The error names the
// option whose declaration cannot be used.
func Defaults(options any) error {
	specs, err := specsOf(options)
	if err != nil || options == nil {
		return err
	}
	target := reflect.ValueOf(options)
	if target.Kind() != reflect.Pointer || target.IsNil() {
		return fmt.Errorf("options are a %T; expected a pointer to a struct", options)
	}
	return applyDefaults(target.Elem(), specs)
}

// decodeOptions sets the struct that options points to: defaults first, then the mapping's values. owner is for errors, as in
// `stage "decode"`; reserved are keys that the caller has read. It returns where each option was written.
func (l *loader) decodeOptions(options any, owner string, n *node, at place, reserved ...string) map[string]place {
	places := map[string]place{}
	specs, err := specsOf(options)
	if err == nil {
		err = Defaults(options)
	}
	if err != nil {
		l.add(at, fmt.Sprintf("%s declares its options wrongly: %v", owner, err), "a correct program: this is not the file's fault", "")
		return places
	}
	if n == nil || n.kind == nothing {
		n = &node{kind: mapping, at: at}
	}
	if n.kind == unusable {
		return places
	}
	if n.kind != mapping {
		l.add(n.at, fmt.Sprintf("%s is given %s", owner, n.describe()), "its options as a mapping, name: value", "")
		return places
	}
	before := len(l.problems)
	var target reflect.Value
	if options != nil {
		target = reflect.ValueOf(options).Elem()
	}
	l.decodeMapping(target, specs, "", owner, n, places, reserved)
	if checker, ok := options.(Checker); ok && len(l.problems) == before {
		for _, bad := range checker.Check() {
			where, ok := places[bad.Option]
			if !ok {
				where = at
			}
			l.add(where, fmt.Sprintf("option %q %s", bad.Option, bad.What), bad.Want, "")
		}
	}
	return places
}

// decodeMapping reads one level of options: those whose names follow prefix.
func (l *loader) decodeMapping(target reflect.Value, specs []spec, prefix, owner string, n *node, places map[string]place, reserved []string) {
	var names []string
	for i := range specs {
		if rest, ok := strings.CutPrefix(specs[i].name, prefix); ok {
			first, _, _ := strings.Cut(rest, ".")
			if !slices.Contains(names, first) {
				names = append(names, first)
			}
		}
	}
	for _, p := range n.pairs {
		name := prefix + p.key
		if p.value.kind == unusable {
			continue
		}
		at := slices.IndexFunc(specs, func(s spec) bool { return s.name == name })
		switch {
		case prefix == "" && slices.Contains(reserved, p.key):
			places[p.key] = p.at
		case at >= 0:
			places[name] = p.at
			s := &specs[at]
			if bad := s.assign(target.FieldByIndex(s.index), p.value); bad != nil {
				l.add(p.value.at, fmt.Sprintf("option %q %s", name, bad.what), bad.want, bad.nearest)
			}
		case prefix == "" && slices.Contains(names, p.key):
			places[name] = p.at
			if p.value.kind != mapping {
				l.add(p.value.at, fmt.Sprintf("option %q is %s", name, p.value.describe()), "a mapping, name: value", "")
				continue
			}
			l.decodeMapping(target, specs, name+".", fmt.Sprintf("option %q", name), p.value, places, nil)
		default:
			known := append(slices.Clone(names), reserved...)
			l.add(p.at, fmt.Sprintf("unknown option %q of %s", clip(name), owner), oneOf(known), Nearest(p.key, known))
		}
	}
}

// oneOf lists words for "expected …".
func oneOf(words []string) string {
	switch len(words) {
	case 0:
		return "none: there is none to choose from"
	case 1:
		return words[0]
	}
	return "one of " + strings.Join(words, ", ")
}
