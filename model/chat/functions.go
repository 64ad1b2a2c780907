package chat

import "strings"

// globals are the functions that every template has.
var globals = map[string]any{
	"range":           &function{"range", rangeOf},
	"namespace":       &function{"namespace", newNamespace},
	"dict":            &function{"dict", dictOf},
	"joiner":          &function{"joiner", joiner},
	"cycler":          &function{"cycler", cycler},
	"raise_exception": &function{"raise_exception", raise},
	"strftime_now":    &function{"strftime_now", strftimeNow},
}

// rangeOf is Python's range, as a list.
func rangeOf(r *run, args arguments) (any, error) {
	if len(args.named) > 0 || len(args.positional) < 1 || len(args.positional) > 3 {
		return nil, failf("range with %d arguments; it takes 1 to 3, without names", len(args.positional)+len(args.named))
	}
	bounds := [3]int{0, 0, 1}
	for i, v := range args.positional {
		n, _, isInt, _ := numberOf(v)
		if !isInt {
			return nil, failf("range of %s: its arguments are whole numbers", kindOf(v))
		}
		bounds[i] = n
	}
	if len(args.positional) == 1 {
		bounds[0], bounds[1] = 0, bounds[0]
	}
	start, stop, step := bounds[0], bounds[1], bounds[2]
	if step == 0 {
		return nil, failf("range with a step of 0")
	}
	l := &list{}
	for i := start; step > 0 && i < stop || step < 0 && i > stop; i += step {
		if len(l.items) == MaxRange {
			return nil, boundf("range(%d, %d, %d) has more than %d numbers", start, stop, step, MaxRange)
		}
		l.items = append(l.items, i)
		if next := i + step; (next > i) != (step > 0) {
			break
		}
	}
	return l, r.build(16 * len(l.items))
}

func newNamespace(r *run, args arguments) (any, error) {
	v, err := dictOf(r, args)
	if err != nil {
		return nil, err
	}
	d, ok := v.(*dict)
	if !ok {
		return nil, failf("namespace of %s", kindOf(v))
	}
	for _, key := range d.keys {
		if name, ok := key.(string); ok && strings.HasPrefix(name, "_") {
			return nil, failf("namespace(%s=…): attributes of a namespace don't begin with _", name)
		}
	}
	return &namespace{d}, nil
}

// dictOf is dict(pairs, name=value).
func dictOf(r *run, args arguments) (any, error) {
	d := newDict()
	if len(args.positional) > 1 {
		return nil, failf("dict with %d arguments; it takes one, and others by name", len(args.positional))
	}
	if err := r.build(64 * (1 + len(args.named))); err != nil {
		return nil, err
	}
	for _, from := range args.positional {
		items, err := r.iterate(from)
		if err != nil {
			return nil, err
		}
		if other, ok := from.(*dict); ok {
			items = other.pairs()
		}
		if err := r.build(64 * len(items)); err != nil {
			return nil, err
		}
		for _, item := range items {
			pair, err := r.iterate(item)
			if err != nil {
				return nil, err
			}
			if len(pair) != 2 || !d.put(pair[0], pair[1]) {
				return nil, failf("dict of a list whose items aren't pairs of a key and a value")
			}
		}
	}
	for _, n := range args.named {
		d.put(n.name, n.value)
	}
	return d, nil
}

// joiner writes nothing the first time, and its separator from then on.
func joiner(_ *run, args arguments) (any, error) {
	v, err := args.bind("joiner", 0, "sep")
	if err != nil {
		return nil, err
	}
	separator := orElse(v[0], ", ")
	used := false
	return &function{"joiner", func(*run, arguments) (any, error) {
		if used {
			return separator, nil
		}
		used = true
		return "", nil
	}}, nil
}

// cycler has next(), reset() and current.
func cycler(_ *run, args arguments) (any, error) {
	if len(args.positional) == 0 || len(args.named) > 0 {
		return nil, failf("cycler needs values")
	}
	items := args.positional
	n := 0
	vars := newDict()
	vars.put("current", items[0])
	move := func(name string, to func() int) {
		vars.put(name, &function{name, func(*run, arguments) (any, error) {
			now := items[n]
			n = to()
			vars.put("current", items[n])
			return now, nil
		}})
	}
	move("next", func() int { return (n + 1) % len(items) })
	move("reset", func() int { return 0 })
	return &namespace{vars}, nil
}

// raise is how a template refuses a conversation.
func raise(r *run, args arguments) (any, error) {
	v, err := args.bind("raise_exception", 1, "message")
	if err != nil {
		return nil, err
	}
	message, err := r.str(v[0])
	if err != nil {
		return nil, err
	}
	return nil, &fault{kind: ErrRaised, what: message}
}

// orElse is v, or what a missing argument stands for.
func orElse(v, otherwise any) any {
	if _, ok := v.(missing); ok {
		return otherwise
	}
	return v
}
