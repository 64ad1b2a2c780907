package chat

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
)

// method is x.name(…) as Python has it, of a string, a list or a map.
type method struct {
	required int // of the parameters
	params   string
	run      func(r *run, of any, args []any) (any, error)
}

// changing are the methods that Jinja's sandbox refuses, because they would change what they are called on.
var changing = []string{"append", "clear", "extend", "insert", "pop", "popitem", "remove", "reverse", "setdefault", "sort", "update"}

func methodOf(of any, name string) (*function, bool) {
	var table map[string]method
	switch of.(type) {
	case string:
		table = stringMethods
	case *list:
		table = listMethods
	case *dict:
		table = dictMethods
	default:
		return nil, false
	}
	m, ok := table[name]
	if !ok {
		if _, isString := of.(string); !isString && slices.Contains(changing, name) {
			return &function{name, func(*run, arguments) (any, error) {
				return nil, failf("%s of %s: a template can't change lists and maps", name, kindOf(of))
			}}, true
		}
		return nil, false
	}
	return &function{name, func(r *run, args arguments) (any, error) {
		if s, ok := of.(string); ok && name == "format" {
			return r.format(s, args)
		}
		values, err := args.bind(name, m.required, strings.Fields(m.params)...)
		if err != nil {
			return nil, err
		}
		return m.run(r, of, values)
	}}, true
}

// onString makes a method of a function on strings. Arguments named in text have to be strings, or none where they may be.
func onString(required int, params string, f func(r *run, s string, args []any) (any, error)) method {
	return method{required, params, func(r *run, of any, args []any) (any, error) {
		s, _ := of.(string)
		return f(r, s, args)
	}}
}

// plain is a method without arguments that gives another string.
func plain(f func(string) string) method {
	return onString(0, "", func(r *run, s string, _ []any) (any, error) {
		if err := r.build(len(s)); err != nil {
			return nil, err
		}
		return f(s), nil
	})
}

// all is a method that asks something of every character; the empty string has none.
func all(f func(rune) bool) method {
	return onString(0, "", func(_ *run, s string, _ []any) (any, error) {
		return s != "" && strings.IndexFunc(s, func(c rune) bool { return !f(c) }) < 0, nil
	})
}

func strip(left, right bool) method {
	return onString(0, "chars", func(_ *run, s string, args []any) (any, error) {
		return stripped(s, orElse(args[0], nil), left, right)
	})
}

// stripped takes white space, or any of the characters of chars, from the ends of s.
func stripped(s string, chars any, left, right bool) (any, error) {
	drop := isSpace
	if chars != nil {
		set, ok := chars.(string)
		if !ok {
			return nil, failf("strip of %s; it takes the characters, as a string", kindOf(chars))
		}
		drop = func(c rune) bool { return strings.ContainsRune(set, c) }
	}
	if left {
		s = strings.TrimLeftFunc(s, drop)
	}
	if right {
		s = strings.TrimRightFunc(s, drop)
	}
	return s, nil
}

// affix is startswith or endswith, of one string or a tuple of them.
func affix(name string, has func(s, affix string) bool) method {
	return onString(1, "affix", func(_ *run, s string, args []any) (any, error) {
		choices := []any{args[0]}
		if l, ok := args[0].(*list); ok && l.tuple {
			choices = l.items
		}
		for _, c := range choices {
			a, ok := c.(string)
			if !ok {
				return nil, failf("%s of %s; it takes a string, or a tuple of strings", name, kindOf(c))
			}
			if has(s, a) {
				return true, nil
			}
		}
		return false, nil
	})
}

// search is find and its like: the place in characters, or -1.
func search(name string, find func(s, what string) int, must bool) method {
	return onString(1, "sub", func(_ *run, s string, args []any) (any, error) {
		what, ok := args[0].(string)
		if !ok {
			return nil, failf("%s of %s; it takes a string", name, kindOf(args[0]))
		}
		i := find(s, what)
		if i < 0 {
			if must {
				return nil, failf("%s: the string isn't there", name)
			}
			return -1, nil
		}
		return utf8.RuneCountInString(s[:i]), nil
	})
}

func cutAffix(name string, cut func(s, affix string) string) method {
	return onString(1, "affix", func(_ *run, s string, args []any) (any, error) {
		a, ok := args[0].(string)
		if !ok {
			return nil, failf("%s of %s; it takes a string", name, kindOf(args[0]))
		}
		return cut(s, a), nil
	})
}

func partition(find func(s, sep string) int, missing func(s string) []any) method {
	return onString(1, "sep", func(_ *run, s string, args []any) (any, error) {
		sep, ok := args[0].(string)
		if !ok || sep == "" {
			return nil, failf("partition takes a separator that isn't empty")
		}
		i := find(s, sep)
		if i < 0 {
			return &list{items: missing(s), tuple: true}, nil
		}
		return &list{items: []any{s[:i], sep, s[i+len(sep):]}, tuple: true}, nil
	})
}

var stringMethods = map[string]method{
	"upper": plain(upper), "lower": plain(lower), "title": plain(title), "capitalize": plain(capitalize),
	"casefold": plain(func(s string) string { return cases.Fold().String(s) }), "swapcase": plain(swapCase),
	"strip": strip(true, true), "lstrip": strip(true, false), "rstrip": strip(false, true),
	"startswith": affix("startswith", strings.HasPrefix), "endswith": affix("endswith", strings.HasSuffix),
	"find": search("find", strings.Index, false), "rfind": search("rfind", strings.LastIndex, false),
	"index": search("index", strings.Index, true), "rindex": search("rindex", strings.LastIndex, true),
	"removeprefix": cutAffix("removeprefix", strings.TrimPrefix), "removesuffix": cutAffix("removesuffix", strings.TrimSuffix),
	"partition":  partition(strings.Index, func(s string) []any { return []any{s, "", ""} }),
	"rpartition": partition(strings.LastIndex, func(s string) []any { return []any{"", "", s} }),
	"isdigit":    all(unicode.IsDigit), "isnumeric": all(unicode.IsNumber), "isdecimal": all(unicode.IsDigit), "isalpha": all(unicode.IsLetter),
	"isalnum": all(func(c rune) bool { return unicode.IsLetter(c) || unicode.IsNumber(c) }), "isspace": all(isSpace),
	"isupper": plainTest(unicode.IsUpper, unicode.IsLower), "islower": plainTest(unicode.IsLower, unicode.IsUpper),
	"format": {}, // see methodOf: it has any number of arguments
	"count": onString(1, "sub", func(_ *run, s string, args []any) (any, error) {
		sub, ok := args[0].(string)
		if !ok {
			return nil, failf("count of %s; it takes a string", kindOf(args[0]))
		}
		return strings.Count(s, sub), nil
	}),
	"replace": onString(2, "old new count", func(r *run, s string, args []any) (any, error) {
		return r.replace(s, args[0], args[1], orElse(args[2], -1))
	}),
	"join": onString(1, "iterable", func(r *run, s string, args []any) (any, error) {
		items, err := r.iterate(args[0])
		if err != nil {
			return nil, err
		}
		for _, item := range items {
			if _, ok := item.(string); !ok {
				return nil, failf("join of a list with %s in it; it takes strings", kindOf(item))
			}
		}
		return r.joined(items, s)
	}),
	"split": onString(0, "sep maxsplit", func(r *run, s string, args []any) (any, error) { return r.split(s, args, false) }),
	"rsplit": onString(0, "sep maxsplit", func(r *run, s string, args []any) (any, error) {
		return r.split(s, args, true)
	}),
	"splitlines": onString(0, "keepends", func(r *run, s string, args []any) (any, error) {
		return r.splitLines(s, truth(orElse(args[0], false)))
	}),
	"zfill": onString(1, "width", func(r *run, s string, args []any) (any, error) {
		width, ok := args[0].(int)
		if !ok {
			return nil, failf("zfill of %s; it takes a number", kindOf(args[0]))
		}
		zeros := max(0, width-utf8.RuneCountInString(s))
		if err := r.build(zeros); err != nil {
			return nil, err
		}
		sign := ""
		if strings.HasPrefix(s, "-") || strings.HasPrefix(s, "+") {
			sign, s = s[:1], s[1:]
		}
		return sign + strings.Repeat("0", zeros) + s, nil
	}),
}

// plainTest is isupper or islower: some letter is of the kind, and none of the other.
func plainTest(is, isOther func(rune) bool) method {
	return onString(0, "", func(_ *run, s string, _ []any) (any, error) {
		return strings.IndexFunc(s, is) >= 0 && strings.IndexFunc(s, isOther) < 0, nil
	})
}

var listMethods = map[string]method{
	"index": {1, "value", func(r *run, of any, args []any) (any, error) {
		l, _ := of.(*list)
		for i, item := range l.items {
			if same, err := r.equal(item, args[0]); err != nil || same {
				return i, err
			}
		}
		return nil, failf("index: the value isn't in the list")
	}},
	"count": {1, "value", func(r *run, of any, args []any) (any, error) {
		l, _ := of.(*list)
		n := 0
		for _, item := range l.items {
			same, err := r.equal(item, args[0])
			if err != nil {
				return nil, err
			}
			if same {
				n++
			}
		}
		return n, nil
	}},
	"copy": {0, "", func(_ *run, of any, _ []any) (any, error) { return of, nil }}, // nothing changes a list
}

var dictMethods = map[string]method{
	"items": {0, "", func(r *run, of any, _ []any) (any, error) {
		d, _ := of.(*dict)
		return &list{items: d.pairs()}, r.build(64 * len(d.keys))
	}},
	"keys": {0, "", func(_ *run, of any, _ []any) (any, error) {
		d, _ := of.(*dict)
		return &list{items: d.keys}, nil
	}},
	"values": {0, "", func(_ *run, of any, _ []any) (any, error) {
		d, _ := of.(*dict)
		return &list{items: d.values}, nil
	}},
	"get": {1, "key default", func(_ *run, of any, args []any) (any, error) {
		d, _ := of.(*dict)
		if v, ok := d.get(args[0]); ok {
			return v, nil
		}
		return orElse(args[1], nil), nil
	}},
	"copy": {0, "", func(_ *run, of any, _ []any) (any, error) { return of, nil }},
}
