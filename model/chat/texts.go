package chat

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// What methods and filters of strings have in common.

// upper and lower know the letters that become two (ß) and those that depend on their place (ς), as Python does.
func upper(s string) string { return cases.Upper(language.Und).String(s) }

func lower(s string) string { return cases.Lower(language.Und).String(s) }

func titleCase(c rune) string {
	return cases.Title(language.Und, cases.NoLower).String(string(c))
}

// title is Python's str.title: a letter is upper case where no letter stands before it.
func title(s string) string {
	var b strings.Builder
	inWord := false
	for _, c := range s {
		if inWord {
			b.WriteString(lower(string(c)))
		} else {
			b.WriteString(titleCase(c))
		}
		inWord = unicode.IsLetter(c)
	}
	return b.String()
}

func capitalize(s string) string {
	c, size := utf8.DecodeRuneInString(s)
	if size == 0 || c == utf8.RuneError {
		return lower(s)
	}
	return titleCase(c) + lower(s[size:])
}

func swapCase(s string) string {
	var b strings.Builder
	for _, c := range s {
		if unicode.IsUpper(c) {
			b.WriteString(lower(string(c)))
		} else {
			b.WriteString(upper(string(c)))
		}
	}
	return b.String()
}

// replace puts next in the place of old, count times, or always where count is negative or none.
func (r *run) replace(s string, old, next, count any) (any, error) {
	from, ok := old.(string)
	to, ok2 := next.(string)
	if !ok || !ok2 {
		return nil, failf("replace of %s by %s; it takes strings", kindOf(old), kindOf(next))
	}
	n := -1
	if count != nil {
		if n, ok = count.(int); !ok {
			return nil, failf("replace %s times; it takes a number", kindOf(count))
		}
	}
	found := strings.Count(s, from)
	if n >= 0 {
		found = min(n, found)
	}
	if len(to) > 0 && found > r.left/len(to) {
		return nil, r.build(-1)
	}
	if err := r.build(len(s) + found*len(to)); err != nil {
		return nil, err
	}
	return strings.Replace(s, from, to, n), nil
}

// joined writes items as text, with a separator between.
func (r *run) joined(items []any, separator string) (any, error) {
	if len(items) > 1 && len(separator) > r.left/len(items) {
		return nil, r.build(-1)
	}
	var b strings.Builder
	for i, item := range items {
		if i > 0 {
			b.WriteString(separator)
		}
		s, err := r.str(item)
		if err != nil {
			return nil, err
		}
		if err := r.build(len(s) + len(separator)); err != nil {
			return nil, err
		}
		b.WriteString(s)
	}
	return b.String(), nil
}

// partBytes is what a part of a text takes, while it is one of many.
const partBytes = 48

// split is str.split and str.rsplit, with args separator and how often.
func (r *run) split(s string, args []any, fromRight bool) (any, error) {
	limit, ok := orElse(args[1], -1).(int)
	if !ok {
		return nil, failf("split %s times; it takes a number", kindOf(args[1]))
	}
	if limit < 0 {
		limit = len(s) + 1
	}
	separator := orElse(args[0], nil)
	sep, ok := separator.(string)
	if separator != nil && (!ok || sep == "") {
		return nil, failf("split takes a separator, a string that isn't empty")
	}
	var parts []string
	cut := func(i, size int) string { // what stays
		if fromRight {
			parts = append(parts, s[i+size:])
			return s[:i]
		}
		parts = append(parts, s[:i])
		return s[i+size:]
	}
	trim := func(s string) string { return s }
	find := func() (int, int) { return strings.Index(s, sep), len(sep) }
	if fromRight {
		find = func() (int, int) { return strings.LastIndex(s, sep), len(sep) }
	}
	if separator == nil {
		trim, find = func(s string) string { return strings.TrimLeftFunc(s, isSpace) }, func() (int, int) {
			i := strings.IndexFunc(s, isSpace)
			return i, spaceAt(s, i)
		}
		if fromRight {
			trim, find = func(s string) string { return strings.TrimRightFunc(s, isSpace) }, func() (int, int) {
				i := strings.LastIndexFunc(s, isSpace)
				return i, spaceAt(s, i)
			}
		}
	}
	for s = trim(s); len(parts) < limit; s = trim(s) {
		i, size := find()
		if i < 0 {
			break
		}
		if err := r.build(partBytes); err != nil { // at once: a text of separators has as many parts
			return nil, err
		}
		s = cut(i, size)
	}
	if separator != nil || s != "" {
		parts = append(parts, s)
	}
	items := make([]any, len(parts))
	for i, part := range parts {
		if fromRight {
			i = len(parts) - 1 - i
		}
		items[i] = part
	}
	return &list{items: items}, nil
}

func spaceAt(s string, i int) int {
	if i < 0 {
		return 0
	}
	_, size := utf8.DecodeRuneInString(s[i:])
	return size
}

// splitLines is str.splitlines.
func (r *run) splitLines(s string, keepEnds bool) (any, error) {
	l := &list{}
	for s != "" {
		if err := r.build(partBytes); err != nil {
			return nil, err
		}
		end := strings.IndexAny(s, "\n\r\v\f\x1c\x1d\x1e\u0085\u2028\u2029")
		size := 0
		if end < 0 {
			end = len(s)
		} else if size = spaceAt(s, end); strings.HasPrefix(s[end:], "\r\n") {
			size = 2
		}
		if keepEnds {
			l.items = append(l.items, s[:end+size])
		} else {
			l.items = append(l.items, s[:end])
		}
		s = s[end+size:]
	}
	return l, nil
}

// format is str.format with {}, {0} and {name}, without formats behind a colon.
func (r *run) format(s string, args arguments) (any, error) {
	var b strings.Builder
	next := 0
	for s != "" {
		i := strings.IndexAny(s, "{}")
		if i < 0 {
			break
		}
		b.WriteString(s[:i])
		if strings.HasPrefix(s[i:], "{{") || strings.HasPrefix(s[i:], "}}") {
			b.WriteByte(s[i])
			s = s[i+2:]
			continue
		}
		end := strings.IndexByte(s[i:], '}')
		if s[i] == '}' || end < 0 {
			return nil, failf("format: a single { or }")
		}
		field := s[i+1 : i+end]
		s = s[i+end+1:]
		v, err := args.field(field, &next)
		if err != nil {
			return nil, err
		}
		text, err := r.str(v)
		if err != nil {
			return nil, err
		}
		if err := r.build(len(text)); err != nil {
			return nil, err
		}
		b.WriteString(text)
	}
	b.WriteString(s)
	return b.String(), r.build(b.Len())
}

// field is the argument that a name between { and } means. next counts those without a name.
func (a arguments) field(name string, next *int) (any, error) {
	n, err := strconv.Atoi(name)
	if name == "" {
		n, err = *next, nil
		*next++
	}
	if err == nil {
		if n < 0 || n >= len(a.positional) {
			return nil, failf("format: there is no argument %d", n)
		}
		return a.positional[n], nil
	}
	for _, arg := range a.named {
		if arg.name == name {
			return arg.value, nil
		}
	}
	return nil, failf("format: there is no argument {%s}; {}, {0} and {name} are implemented", name)
}

// percent is format % values, with %s, %r, %d, %i, %f, %.2f, %x and %%.
func (r *run) percent(format string, values any) (any, error) {
	args := []any{values}
	mayBeLeft := false // Python takes whatever has items for a map, and a map need not be used
	switch v := values.(type) {
	case *dict, undefined:
		mayBeLeft = true
	case *list:
		if v.tuple {
			args = v.items
		} else {
			mayBeLeft = true
		}
	}
	var b strings.Builder
	for {
		i := strings.IndexByte(format, '%')
		if i < 0 {
			break
		}
		b.WriteString(format[:i])
		verb := strings.TrimLeft(format[i+1:], "0123456789.-+ ")
		if verb == "" {
			return nil, failf("%%: the format ends in a lone %%")
		}
		flags := format[i+1 : len(format)-len(verb)]
		format = verb[1:]
		if verb[0] == '%' {
			b.WriteByte('%')
			continue
		}
		if len(args) == 0 {
			return nil, failf("%%: the format has more places than there are values")
		}
		text, err := r.percentOne(flags, verb[0], args[0])
		if err != nil {
			return nil, err
		}
		if err := r.build(len(text)); err != nil {
			return nil, err
		}
		b.WriteString(text)
		args = args[1:]
	}
	if len(args) > 0 && !mayBeLeft {
		return nil, failf("%%: the format has fewer places than there are values")
	}
	b.WriteString(format)
	return b.String(), r.build(b.Len())
}

func (r *run) percentOne(flags string, verb byte, v any) (string, error) {
	if len(flags) > 6 {
		return "", failf("%%%s%c asks for a width that is too large", flags, verb)
	}
	i, f, isInt, isNumber := numberOf(v)
	switch {
	case verb == 's' || verb == 'r':
		s, err := r.str(v)
		if _, isString := v.(string); verb == 'r' && isString {
			var b strings.Builder
			quote(&b, s)
			s = b.String()
		}
		return fmt.Sprintf("%"+flags+"s", s), err
	case !isNumber:
		return "", failf("%%%c of %s", verb, kindOf(v))
	case verb == 'd' || verb == 'i':
		if !isInt {
			i = int(f)
		}
		return fmt.Sprintf("%"+flags+"d", i), nil
	case verb == 'f' || verb == 'e' || verb == 'g':
		return fmt.Sprintf("%"+flags+string(verb), f), nil
	case (verb == 'x' || verb == 'X' || verb == 'o') && isInt:
		return fmt.Sprintf("%"+flags+string(verb), i), nil
	}
	return "", failf("%%%s%c is not implemented", flags, verb)
}
