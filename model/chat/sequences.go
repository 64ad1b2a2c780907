package chat

import (
	"slices"
	"strconv"
	"strings"
)

// Filters of lists and maps.

func itemsFilter(r *run, of any, _ []any) (any, error) {
	switch of := of.(type) {
	case undefined:
		return &list{generator: true}, nil
	case *dict:
		return &list{items: of.pairs(), generator: true}, r.build(64 * len(of.keys))
	}
	return nil, failf("items of %s; it takes a map", kindOf(of))
}

// dig is x's attribute "a.b.0".
func dig(x any, path any) (any, error) {
	if n, _, isInt, _ := numberOf(path); isInt {
		return getItem(x, n)
	}
	name, ok := path.(string)
	if !ok {
		return nil, failf("an attribute that is %s; it is a string or a number", kindOf(path))
	}
	for part := range strings.SplitSeq(name, ".") {
		var key any = part
		if n, err := strconv.Atoi(part); err == nil {
			key = n
		}
		var err error
		if x, err = getItem(x, key); err != nil {
			return nil, err
		}
	}
	return x, nil
}

// each is the items, or an attribute of each.
func (r *run) each(of, attribute any) ([]any, error) {
	items, err := r.iterate(of)
	if err != nil || attribute == nil {
		return items, err
	}
	values := make([]any, len(items))
	for i, item := range items {
		if values[i], err = dig(item, attribute); err != nil {
			return nil, err
		}
	}
	return values, r.build(16 * len(items))
}

func joinFilter(r *run, of any, args []any) (any, error) {
	items, err := r.each(of, orElse(args[1], nil))
	if err != nil {
		return nil, err
	}
	separator, err := r.str(orElse(args[0], ""))
	if err != nil {
		return nil, err
	}
	return r.joined(items, separator)
}

// mapFilter is map(attribute=…, default=…), or map("filter", its arguments).
func mapFilter(r *run, of any, args arguments) (any, error) {
	if !truth(of) {
		return &list{generator: true}, nil // also of none
	}
	items, err := r.iterate(of)
	if err != nil {
		return nil, err
	}
	result := &list{items: make([]any, len(items)), generator: true}
	if err := r.build(16 * len(items)); err != nil {
		return nil, err
	}
	var one func(item any) (any, error)
	if len(args.positional) == 0 {
		v, err := args.bind("map", 1, "attribute", "default")
		if err != nil {
			return nil, err
		}
		one = func(item any) (any, error) {
			value, err := dig(item, v[0])
			if _, isUndefined := value.(undefined); err == nil && isUndefined {
				value = orElse(v[1], value)
			}
			return value, err
		}
	} else {
		name, _ := args.positional[0].(string)
		f, ok := r.filters[name]
		if !ok {
			return nil, failf("map: no filter is named %q", name)
		}
		rest := arguments{args.positional[1:], args.named}
		one = func(item any) (any, error) { return f(r, item, rest) }
	}
	for i, item := range items {
		if err := r.enter(); err != nil {
			return nil, err
		}
		result.items[i], err = one(item)
		r.leave()
		if err != nil {
			return nil, err
		}
	}
	return result, nil
}

// chooser is select, reject, selectattr or rejectattr: ([attribute,] ["test", its arguments]).
func chooser(attribute, keep bool) filter {
	return func(r *run, of any, args arguments) (any, error) {
		if !truth(of) {
			return &list{generator: true}, nil // also of none
		}
		items, err := r.iterate(of)
		if err != nil {
			return nil, err
		}
		positional := args.positional
		var path any
		if attribute {
			if len(positional) == 0 {
				return nil, failf("selectattr and rejectattr need the name of an attribute")
			}
			path, positional = positional[0], positional[1:]
		}
		holds := func(v any) (bool, error) { return truth(v), nil }
		if len(positional) > 0 {
			name, _ := positional[0].(string)
			t, ok := r.tests[name]
			if !ok {
				return nil, failf("select: no test is named %q", name)
			}
			rest := arguments{positional[1:], args.named}
			holds = func(v any) (bool, error) { return t(r, v, rest) }
		}
		result := &list{generator: true}
		for _, item := range items {
			v := item
			if attribute {
				if v, err = dig(item, path); err != nil {
					return nil, err
				}
			}
			yes, err := holds(v)
			if err != nil {
				return nil, err
			}
			if yes == keep {
				result.items = append(result.items, item)
			}
		}
		return result, r.build(16 * len(result.items))
	}
}

// folded is a value as sorting sees it, where upper and lower case are the same.
func folded(v any, caseSensitive bool) any {
	if s, ok := v.(string); ok && !caseSensitive {
		return lower(s)
	}
	return v
}

// sorted are the items in the order of keys.
func (r *run) sorted(items, keys []any, reverse bool) ([]any, error) {
	order := make([]int, len(items))
	for i := range order {
		order[i] = i
	}
	var failed error
	slices.SortStableFunc(order, func(a, b int) int {
		if failed != nil {
			return 0
		}
		if err := r.enter(); err != nil {
			failed = err
			return 0
		}
		defer r.leave()
		c, _, err := r.compare(keys[a], keys[b])
		if err != nil {
			failed = err
		}
		if reverse {
			c = -c
		}
		return c
	})
	result := make([]any, len(items))
	for i, n := range order {
		result[i] = items[n]
	}
	if failed == nil {
		failed = r.build(32 * len(items))
	}
	return result, failed
}

func sortFilter(r *run, of any, args []any) (any, error) {
	items, err := r.iterate(of)
	if err != nil {
		return nil, err
	}
	keys, err := r.each(&list{items: items}, orElse(args[2], nil))
	if err != nil {
		return nil, err
	}
	keys = slices.Clone(keys)
	for i := range keys {
		keys[i] = folded(keys[i], truth(orElse(args[1], false)))
	}
	result, err := r.sorted(items, keys, truth(orElse(args[0], false)))
	return &list{items: result}, err
}

func dictSort(r *run, of any, args []any) (any, error) {
	d, ok := of.(*dict)
	if !ok {
		return nil, failf("dictsort of %s; it takes a map", kindOf(of))
	}
	by := orElse(args[1], "key")
	if by != "key" && by != "value" {
		return nil, failf("dictsort: by is key or value")
	}
	keys := make([]any, len(d.keys))
	for i := range keys {
		keys[i] = d.keys[i]
		if by == "value" {
			keys[i] = d.values[i]
		}
		keys[i] = folded(keys[i], truth(orElse(args[0], false)))
	}
	result, err := r.sorted(d.pairs(), keys, truth(orElse(args[2], false)))
	return &list{items: result}, err
}

func uniqueFilter(r *run, of any, args []any) (any, error) {
	items, err := r.iterate(of)
	if err != nil {
		return nil, err
	}
	keys, err := r.each(&list{items: items}, orElse(args[1], nil))
	if err != nil {
		return nil, err
	}
	seen := newDict()
	result := &list{generator: true}
	for i, item := range items {
		key := folded(keys[i], truth(orElse(args[0], false)))
		if _, ok := seen.get(key); ok {
			continue
		}
		if !seen.put(key, nil) {
			return nil, failf("unique of a list with %s in it", kindOf(key))
		}
		result.items = append(result.items, item)
	}
	return result, r.build(64 * len(items))
}

// extreme is min or max.
func extreme(sign int) func(r *run, of any, args []any) (any, error) {
	return func(r *run, of any, args []any) (any, error) {
		items, err := r.iterate(of)
		if err != nil {
			return nil, err
		}
		keys, err := r.each(&list{items: items}, orElse(args[1], nil))
		if err != nil {
			return nil, err
		}
		if len(items) == 0 {
			return undefined{"the largest or smallest of nothing"}, nil
		}
		best := 0
		sensitive := truth(orElse(args[0], false))
		for i := 1; i < len(items); i++ {
			order, _, err := r.compare(folded(keys[i], sensitive), folded(keys[best], sensitive))
			if err != nil {
				return nil, err
			}
			if order*sign > 0 {
				best = i
			}
		}
		return items[best], nil
	}
}

func sumFilter(r *run, of any, args []any) (any, error) {
	items, err := r.each(of, orElse(args[0], nil))
	if err != nil {
		return nil, err
	}
	total := &scope{vars: map[string]any{"sum": orElse(args[1], 0)}}
	for _, item := range items {
		total.vars["item"] = item
		add := &binary{"+", &nameOf{"sum"}, &nameOf{"item"}}
		if total.vars["sum"], err = add.eval(r, total); err != nil {
			return nil, err
		}
	}
	return total.vars["sum"], nil
}

func batchFilter(r *run, of any, args []any) (any, error) {
	n, ok := args[0].(int)
	if !ok || n < 1 || n > MaxRange {
		return nil, failf("batch takes a number from 1 to %d", MaxRange)
	}
	items, err := r.iterate(of)
	if err != nil {
		return nil, err
	}
	if err := r.build(16 * (len(items) + n)); err != nil {
		return nil, err
	}
	result := &list{generator: true}
	for batch := range slices.Chunk(items, n) {
		batch = slices.Clip(batch)
		if fill := orElse(args[1], nil); fill != nil {
			for len(batch) < n {
				batch = append(batch, fill)
			}
		}
		result.items = append(result.items, &list{items: batch})
	}
	return result, nil
}
