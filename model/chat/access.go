package chat

import (
	"strings"
	"unicode/utf8"
)

// named is an argument with its name.
type named struct {
	name  string
	value any
}

type arguments struct {
	positional []any
	named      []named
}

func (c callArguments) eval(r *run, s *scope) (args arguments, err error) {
	for _, e := range c.positional {
		v, err := r.eval(e, s)
		if err != nil {
			return args, err
		}
		args.positional = append(args.positional, v)
	}
	for i, e := range c.named {
		v, err := r.eval(e, s)
		if err != nil {
			return args, err
		}
		args.named = append(args.named, named{c.names[i], v})
	}
	if c.list != nil {
		v, err := r.eval(c.list, s)
		if err != nil {
			return args, err
		}
		items, err := r.iterate(v)
		if err != nil {
			return args, err
		}
		args.positional = append(args.positional, items...)
	}
	if c.dict != nil {
		v, err := r.eval(c.dict, s)
		if err != nil {
			return args, err
		}
		d, ok := v.(*dict)
		if !ok {
			return args, failf("** before %s; it takes a map", kindOf(v))
		}
		for i, key := range d.keys {
			name, ok := key.(string)
			if !ok {
				return args, failf("** before a map with a key that is %s", kindOf(key))
			}
			args.named = append(args.named, named{name, d.values[i]})
		}
	}
	return args, r.build(16 * (len(args.positional) + len(args.named)))
}

// missing is the value of a parameter that gets none.
type missing struct{}

// bind gives the arguments in the order of a function's parameters; those behind the first required ones may be missing.
func (a arguments) bind(function string, required int, params ...string) ([]any, error) {
	values := make([]any, len(params))
	for i := range values {
		values[i] = missing{}
	}
	if len(a.positional) > len(params) {
		return nil, failf("%s gets %d arguments and takes %d", function, len(a.positional), len(params))
	}
	copy(values, a.positional)
next:
	for _, n := range a.named {
		for i, param := range params {
			if param == n.name && values[i] == any(missing{}) {
				values[i] = n.value
				continue next
			}
		}
		return nil, failf("%s has no argument %s to give; it takes (%s)", function, n.name, strings.Join(params, ", "))
	}
	for i := range required {
		if values[i] == any(missing{}) {
			return nil, failf("%s needs the argument %s", function, params[i])
		}
	}
	return values, nil
}

func (r *run) call(of any, args arguments) (any, error) {
	if err := r.enter(); err != nil {
		return nil, err
	}
	defer r.leave()
	switch f := of.(type) {
	case *function:
		return f.call(r, args)
	case *loopState:
		if f.again == nil {
			return nil, failf("loop is called, but the loop isn't recursive")
		}
		v, err := args.bind("loop", 1, "iterable")
		if err != nil {
			return nil, err
		}
		return f.again(v[0])
	case undefined:
		return nil, failf("%s is undefined, and can't be called", f.name)
	}
	return nil, failf("%s can't be called", kindOf(of))
}

func (c *call) eval(r *run, s *scope) (any, error) {
	of, err := r.eval(c.of, s)
	if err != nil {
		return nil, err
	}
	args, err := c.args.eval(r, s)
	if err != nil {
		return nil, err
	}
	return r.call(of, args)
}

// eval of x.name is a method, or else an item.
func (a *attribute) eval(r *run, s *scope) (any, error) {
	of, err := r.eval(a.of, s)
	if err != nil {
		return nil, err
	}
	return getAttribute(of, a.name)
}

func getAttribute(of any, name string) (any, error) {
	switch of := of.(type) {
	case undefined:
		return nil, failf("%s is undefined, and has no %s", of.name, name)
	case *namespace:
		if v, ok := of.vars.get(name); ok {
			return v, nil
		}
	case *loopState:
		if v, ok := of.attribute(name); ok {
			return v, nil
		}
	}
	if m, ok := methodOf(of, name); ok {
		return m, nil
	}
	if d, ok := of.(*dict); ok {
		if v, ok := d.get(name); ok {
			return v, nil
		}
	}
	return undefined{name}, nil
}

// eval of x[key] is an item, or else a method.
func (i *index) eval(r *run, s *scope) (any, error) {
	of, err := r.eval(i.of, s)
	if err != nil {
		return nil, err
	}
	key, err := r.eval(i.key, s)
	if err != nil {
		return nil, err
	}
	return getItem(of, key)
}

func getItem(of, key any) (any, error) {
	n, _, isInt, _ := numberOf(key)
	name, isName := key.(string)
	switch of := of.(type) {
	case undefined:
		return nil, failf("%s is undefined, and has no items", of.name)
	case *dict:
		if v, ok := of.get(key); ok {
			return v, nil
		}
	case *list:
		if isInt && !of.generator {
			if n < 0 {
				n += len(of.items)
			}
			if n >= 0 && n < len(of.items) {
				return of.items[n], nil
			}
		}
	case string:
		if isInt {
			if c, ok := character(of, n); ok {
				return c, nil
			}
		}
	}
	if isName {
		return getAttribute(of, name)
	}
	return undefined{"an item that isn't there"}, nil
}

// character is the n-th of a string, from its end where n is negative.
func character(s string, n int) (string, bool) {
	if n >= 0 {
		for i, c := range s {
			if n == 0 {
				return s[i : i+runeLen(s[i:], c)], true
			}
			n--
		}
		return "", false
	}
	for len(s) > 0 {
		_, size := utf8.DecodeLastRuneInString(s)
		if n++; n == 0 {
			return s[len(s)-size:], true
		}
		s = s[:len(s)-size]
	}
	return "", false
}

func (l *slicing) eval(r *run, s *scope) (any, error) {
	of, err := r.eval(l.of, s)
	if err != nil {
		return nil, err
	}
	var bounds [3]*int
	for i, e := range []expression{l.start, l.stop, l.step} {
		if e == nil {
			continue
		}
		v, err := r.eval(e, s)
		if err != nil {
			return nil, err
		}
		n, _, isInt, _ := numberOf(v)
		switch {
		case isInt:
			bounds[i] = &n
		case v != nil:
			return nil, failf("a slice with %s as a bound", kindOf(v))
		}
	}
	if bounds[2] != nil && *bounds[2] == 0 {
		return nil, failf("a slice with a step of 0")
	}
	switch of := of.(type) {
	case undefined:
		return nil, failf("%s is undefined, and has no items", of.name)
	case string:
		return r.sliceString(of, bounds)
	case *list:
		if of.generator {
			break
		}
		start, stop, step := resolve(bounds, len(of.items))
		count := steps(start, stop, step)
		if err := r.build(16 * count); err != nil {
			return nil, err
		}
		items := make([]any, count)
		for i := range items {
			items[i] = of.items[start+i*step]
		}
		return &list{items: items, tuple: of.tuple}, nil
	}
	return nil, failf("a slice of %s", kindOf(of))
}

func (r *run) sliceString(s string, bounds [3]*int) (any, error) {
	start, stop, step := resolve(bounds, utf8.RuneCountInString(s))
	if step == 1 {
		// Without a copy: the texts are long.
		from, n := len(s), 0
		for i := range s {
			if n == start {
				from = i
			}
			if n == stop {
				return s[min(from, i):i], nil
			}
			n++
		}
		return s[from:], nil
	}
	if err := r.build(5 * len(s)); err != nil {
		return nil, err
	}
	runes := []rune(s)
	out := make([]rune, steps(start, stop, step))
	for i := range out {
		out[i] = runes[start+i*step]
	}
	return string(out), nil
}

// resolve gives Python's slice.indices.
func resolve(bounds [3]*int, n int) (start, stop, step int) {
	step = 1
	if bounds[2] != nil {
		step = min(max(*bounds[2], -n-1), n+1) // further is nowhere, and could overflow
		if step == 0 {
			step = 1
		}
	}
	low, high := 0, n
	if step < 0 {
		low, high = -1, n-1
	}
	clamp := func(v *int, otherwise int) int {
		if v == nil {
			return otherwise
		}
		i := *v
		if i < 0 {
			i += n
		}
		return min(max(i, low), high)
	}
	if step < 0 {
		return clamp(bounds[0], high), clamp(bounds[1], low), step
	}
	return clamp(bounds[0], low), clamp(bounds[1], high), step
}

func steps(start, stop, step int) int {
	if step > 0 {
		return max(0, (stop-start+step-1)/step)
	}
	return max(0, (start-stop-step-1)/-step)
}

func (f *filtered) eval(r *run, s *scope) (any, error) {
	var of any
	var err error
	if f.of == nil {
		of, _ = s.get(blockText)
	} else if of, err = r.eval(f.of, s); err != nil {
		return nil, err
	}
	args, err := f.args.eval(r, s)
	if err != nil {
		return nil, err
	}
	apply, ok := filters[f.name]
	if !ok {
		return nil, failf("no filter is named %s; known are %s", f.name, names(filters))
	}
	return apply(r, of, args)
}

func (t *tested) eval(r *run, s *scope) (any, error) {
	of, err := r.eval(t.of, s)
	if err != nil {
		return nil, err
	}
	args, err := t.args.eval(r, s)
	if err != nil {
		return nil, err
	}
	test, ok := tests[t.name]
	if !ok {
		return nil, failf("no test is named %s; known are %s", t.name, names(tests))
	}
	holds, err := test(r, of, args)
	return holds != t.negate, err
}
