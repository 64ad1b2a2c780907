package chat

import (
	"html"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// filter is what stands behind |.
type filter func(r *run, of any, args arguments) (any, error)

// bound makes a filter of a function whose arguments have names.
func bound(name, params string, required int, f func(r *run, of any, args []any) (any, error)) filter {
	list := strings.Fields(params)
	return func(r *run, of any, args arguments) (any, error) {
		values, err := args.bind(name, required, list...)
		if err != nil {
			return nil, err
		}
		return f(r, of, values)
	}
}

// textFilter is a filter without arguments on the value as text.
func textFilter(name string, f func(string) string) filter {
	return bound(name, "", 0, func(r *run, of any, _ []any) (any, error) {
		s, err := r.str(of)
		if err != nil {
			return nil, err
		}
		return f(s), r.build(2 * len(s))
	})
}

var filters = map[string]filter{
	"upper": textFilter("upper", upper), "lower": textFilter("lower", lower),
	"capitalize": textFilter("capitalize", capitalize), "title": textFilter("title", titleFilter),
	"string": textFilter("string", func(s string) string { return s }), "safe": textFilter("safe", func(s string) string { return s }),
	"escape": textFilter("escape", escape), "e": textFilter("e", escape), "forceescape": textFilter("forceescape", escape),
	"wordcount": bound("wordcount", "", 0, func(r *run, of any, _ []any) (any, error) {
		s, err := r.str(of)
		return len(words.FindAllString(s, -1)), err
	}),
	"trim": bound("trim", "chars", 0, func(r *run, of any, args []any) (any, error) {
		s, err := r.str(of)
		if err != nil {
			return nil, err
		}
		return stripped(s, orElse(args[0], nil), true, true)
	}),
	"replace": bound("replace", "old new count", 2, func(r *run, of any, args []any) (any, error) {
		s, err := r.str(of)
		if err != nil {
			return nil, err
		}
		return r.replace(s, args[0], args[1], orElse(args[2], nil))
	}),
	"indent": bound("indent", "width first blank", 0, indent),
	"format": func(r *run, of any, args arguments) (any, error) {
		s, err := r.str(of)
		if err != nil {
			return nil, err
		}
		if len(args.named) > 0 {
			return nil, failf("format with named arguments is not implemented")
		}
		return r.percent(s, &list{items: args.positional, tuple: true})
	},
	"length": bound("length", "", 0, lengthFilter), "count": bound("count", "", 0, lengthFilter),
	"default": bound("default", "default_value boolean", 0, defaultFilter), "d": bound("d", "default_value boolean", 0, defaultFilter),
	"tojson": toJSON,
	"abs": bound("abs", "", 0, func(_ *run, of any, _ []any) (any, error) {
		i, f, isInt, ok := numberOf(of)
		switch {
		case !ok:
			return nil, failf("abs of %s", kindOf(of))
		case isInt:
			return max(i, -i), nil
		}
		return math.Abs(f), nil
	}),
	"int": bound("int", "default base", 0, intFilter),
	"float": bound("float", "default", 0, func(_ *run, of any, args []any) (any, error) {
		if u, ok := of.(undefined); ok {
			return nil, failf("%s is undefined, and no number", u.name)
		}
		if _, f, _, ok := numberOf(of); ok {
			return f, nil
		}
		if s, ok := of.(string); ok {
			if f, err := strconv.ParseFloat(strings.TrimFunc(s, isSpace), 64); err == nil {
				return f, nil
			}
		}
		return orElse(args[0], 0.0), nil
	}),
	"round": bound("round", "precision method", 0, round),
	"first": bound("first", "", 0, func(r *run, of any, _ []any) (any, error) { return r.end(of, true) }),
	"last":  bound("last", "", 0, func(r *run, of any, _ []any) (any, error) { return r.end(of, false) }),
	"list": bound("list", "", 0, func(r *run, of any, _ []any) (any, error) {
		items, err := r.iterate(of)
		return &list{items: items}, err
	}),
	"items":  bound("items", "", 0, itemsFilter),
	"join":   bound("join", "d attribute", 0, joinFilter),
	"map":    mapFilter,
	"select": chooser(false, true), "reject": chooser(false, false), "selectattr": chooser(true, true), "rejectattr": chooser(true, false),
	"sort": bound("sort", "reverse case_sensitive attribute", 0, sortFilter), "dictsort": bound("dictsort", "case_sensitive by reverse", 0, dictSort),
	"unique": bound("unique", "case_sensitive attribute", 0, uniqueFilter), "reverse": bound("reverse", "", 0, reverseFilter),
	"min": bound("min", "case_sensitive attribute", 0, extreme(-1)), "max": bound("max", "case_sensitive attribute", 0, extreme(1)),
	"sum": bound("sum", "attribute start", 0, sumFilter), "batch": bound("batch", "linecount fill_with", 1, batchFilter),
	"attr": bound("attr", "name", 1, func(_ *run, of any, args []any) (any, error) {
		name, _ := args[0].(string)
		if _, isDict := of.(*dict); isDict {
			if m, ok := methodOf(of, name); ok {
				return m, nil
			}
			return undefined{name}, nil
		}
		return getAttribute(of, name)
	}),
}

var (
	words     = regexp.MustCompile(`[\pL\pN_]+`)
	wordStart = regexp.MustCompile(`[-\s({\[<]+|[^-\s({\[<]+`)
)

// titleFilter differs from title: only white space, hyphens and opening brackets divide words.
func titleFilter(s string) string { return wordStart.ReplaceAllStringFunc(s, capitalize) }

func escape(s string) string { return html.EscapeString(s) }

func lengthFilter(_ *run, of any, _ []any) (any, error) { return length(of) }

func defaultFilter(_ *run, of any, args []any) (any, error) {
	_, missing := of.(undefined)
	if missing || truth(orElse(args[1], false)) && !truth(of) {
		return orElse(args[0], ""), nil
	}
	return of, nil
}

func indent(r *run, of any, args []any) (any, error) {
	s, ok := of.(string)
	if !ok {
		return nil, failf("indent of %s; it takes a string", kindOf(of))
	}
	var by string
	switch width := orElse(args[0], 4).(type) {
	case int:
		if err := r.build(max(width, 0)); err != nil {
			return nil, err
		}
		by = strings.Repeat(" ", max(width, 0))
	case string:
		by = width
	default:
		return nil, failf("indent by %s; it takes a number or a string", kindOf(width))
	}
	first, blank := truth(orElse(args[1], false)), truth(orElse(args[2], false))
	lines, err := r.splitLines(s+"\n", false) // Jinja adds it too, so that a last empty line counts
	if err != nil {
		return nil, err
	}
	l, _ := lines.(*list)
	if len(by) > 0 && len(l.items) > r.left/len(by) {
		return nil, r.build(-1)
	}
	if err := r.build(2*len(s) + len(l.items)*(len(by)+1)); err != nil {
		return nil, err
	}
	var b strings.Builder
	for i, item := range l.items {
		line, _ := item.(string)
		if i > 0 {
			b.WriteByte('\n')
		}
		if i == 0 && first || i > 0 && (blank || line != "") {
			b.WriteString(by)
		}
		b.WriteString(line)
	}
	return b.String(), nil
}

func intFilter(_ *run, of any, args []any) (any, error) {
	if u, ok := of.(undefined); ok {
		return nil, failf("%s is undefined, and no number", u.name)
	}
	otherwise := orElse(args[0], 0)
	base, ok := orElse(args[1], 10).(int)
	if !ok || base != 0 && (base < 2 || base > 36) {
		return nil, failf("int with a base that isn't 0 or from 2 to 36")
	}
	i, f, isInt, ok := numberOf(of)
	if s, isString := of.(string); isString {
		s = strings.TrimFunc(s, isSpace)
		if n, err := strconv.ParseInt(s, base, 64); err == nil {
			return int(n), nil
		}
		var err error
		if f, err = strconv.ParseFloat(s, 64); err != nil {
			return otherwise, nil
		}
		ok = true
	}
	switch {
	case isInt:
		return i, nil
	case !ok || math.IsNaN(f) || math.Abs(f) >= 1<<63:
		return otherwise, nil
	}
	return int(f), nil
}

func round(_ *run, of any, args []any) (any, error) {
	i, f, isInt, ok := numberOf(of)
	precision, ok2 := orElse(args[0], 0).(int)
	if !ok || !ok2 || precision < -20 || precision > 20 {
		return nil, failf("round of %s to %v places", kindOf(of), args[0])
	}
	scale := math.Pow10(precision)
	switch how := orElse(args[1], "common"); how {
	case "common":
		if isInt && precision >= 0 {
			return i, nil
		}
		if isInt {
			return int(math.RoundToEven(f*scale) / scale), nil
		}
		if precision >= 0 {
			f, _ = strconv.ParseFloat(strconv.FormatFloat(f, 'f', precision, 64), 64)
			return f, nil
		}
		return math.RoundToEven(f*scale) / scale, nil
	case "ceil":
		return math.Ceil(f*scale) / scale, nil
	case "floor":
		return math.Floor(f*scale) / scale, nil
	}
	return nil, failf("round by another method than common, ceil or floor")
}

// end is the first or the last item.
func (r *run) end(of any, first bool) (any, error) {
	if s, ok := of.(string); ok {
		n := -1
		if first {
			n = 0
		}
		if c, ok := character(s, n); ok {
			return c, nil
		}
		return undefined{"the end of an empty string"}, nil
	}
	if l, ok := of.(*list); ok && l.generator && !first {
		return nil, failf("last of what map, select or the like give; make it a list first")
	}
	items, err := r.iterate(of)
	switch {
	case err != nil:
		return nil, err
	case len(items) == 0:
		return undefined{"an item of an empty list"}, nil
	case first:
		return items[0], nil
	}
	return items[len(items)-1], nil
}

func reverseFilter(r *run, of any, _ []any) (any, error) {
	if s, ok := of.(string); ok {
		if err := r.build(5 * len(s)); err != nil {
			return nil, err
		}
		runes := make([]rune, 0, utf8.RuneCountInString(s))
		for _, c := range s {
			runes = append(runes, c)
		}
		slices.Reverse(runes)
		return string(runes), nil
	}
	items, err := r.iterate(of)
	if err != nil {
		return nil, err
	}
	items = slices.Clone(items)
	slices.Reverse(items)
	return &list{items: items, generator: true}, r.build(16 * len(items))
}
