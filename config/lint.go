package config

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// Lint checks the declarations of an options struct (or a pointer to one), for the tests of whoever writes a stage: every
// option has yaml, default, doc and example tags, the doc is one line, the bounds can be read, and the default and the
// example are values that the option takes. The error joins all that it found and names each field or option.
func Lint(options any) error {
	specs, err := specsOf(options)
	if err != nil {
		return err
	}
	t, err := structOf(options)
	if err != nil {
		return err
	}
	var found []error
	for i := range specs {
		s := &specs[i]
		bad := func(format string, args ...any) {
			found = append(found, fmt.Errorf("%s option %q: %w", t, s.name, fmt.Errorf(format, args...)))
		}
		if s.doc == "" || strings.Contains(s.doc, "\n") || s.doc != strings.TrimSpace(s.doc) {
			bad("the doc tag is %q; expected one line that says what it is", s.doc)
		}
		for _, tag := range []struct {
			name, text string
			present    bool
		}{{"default", s.defaultText, s.hasDefault}, {"example", s.example, s.hasExample}} {
			if !tag.present {
				bad("no %s tag; expected one, if only empty", tag.name)
				continue
			}
			if err := s.assignLiteral(reflect.New(t).Elem().FieldByIndex(s.index), tag.text); err != nil {
				bad("the %s %q: %w", tag.name, tag.text, err)
			}
		}
	}
	return errors.Join(found...)
}
