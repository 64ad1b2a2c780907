package chat

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// A template's values are nil (None), undefined, bool, int, float64, string, *list, *dict, *namespace, *loopState and
// *function. What operations on them do is what Python does.

// undefined is the value of a name or an index that isn't there. It is false, empty and writes nothing; anything else done
// with it is an error.
type undefined struct{ name string }

// list is a list, a tuple, or (once) what map, select and the like give: it can be gone through only once.
type list struct {
	items     []any
	tuple     bool
	generator bool
}

// dict keeps its order.
type dict struct {
	keys, values []any
	at           map[any]int
}

type namespace struct{ vars *dict }

// function is anything that can be called.
type function struct {
	name string
	call func(r *run, args arguments) (any, error)
}

func newDict() *dict { return &dict{at: map[any]int{}} }

// hashed is a key as the map has it: equal numbers are one key, as in Python.
func hashed(key any) (any, bool) {
	switch k := key.(type) {
	case nil, string, int:
		return k, true
	case bool:
		if k {
			return 1, true
		}
		return 0, true
	case float64:
		if k == math.Trunc(k) && math.Abs(k) < 1<<53 {
			return int(k), true
		}
		return k, true
	case *list:
		if !k.tuple {
			break
		}
		all := ""
		for _, item := range k.items {
			if isA[*list](item) {
				return nil, false // not implemented: tuples in tuples
			}
			h, ok := hashed(item)
			if !ok {
				return nil, false
			}
			all += fmt.Sprintf("%T %q ", h, fmt.Sprint(h))
		}
		return tupleKey(all), true
	}
	return nil, false
}

// tupleKey is a tuple as a map has it.
type tupleKey string

// put sets a value; it reports false for a key that can't be one.
func (d *dict) put(key, value any) bool {
	h, ok := hashed(key)
	if !ok {
		return false
	}
	if i, ok := d.at[h]; ok {
		d.values[i] = value
		return true
	}
	d.at[h] = len(d.keys)
	d.keys, d.values = append(d.keys, key), append(d.values, value)
	return true
}

func (d *dict) get(key any) (any, bool) {
	if h, ok := hashed(key); ok {
		if i, ok := d.at[h]; ok {
			return d.values[i], true
		}
	}
	return nil, false
}

// pairs are the dict's (key, value) tuples.
func (d *dict) pairs() []any {
	pairs := make([]any, len(d.keys))
	for i := range d.keys {
		pairs[i] = &list{items: []any{d.keys[i], d.values[i]}, tuple: true}
	}
	return pairs
}

// names lists the keys of a map in order, for errors.
func names[V any](m map[string]V) string {
	return strings.Join(slices.Sorted(maps.Keys(m)), ", ")
}

// kindOf names a value's type, for errors.
func kindOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "none"
	case undefined:
		return "undefined"
	case bool:
		return "a boolean"
	case int, float64:
		return "a number"
	case string:
		return "a string"
	case *list:
		if v.tuple {
			return "a tuple"
		}
		return "a list"
	case *dict:
		return "a map"
	case *namespace:
		return "a namespace"
	case *loopState:
		return "a loop"
	}
	return "a function"
}

func truth(v any) bool {
	switch v := v.(type) {
	case nil, undefined:
		return false
	case bool:
		return v
	case int:
		return v != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	case *list:
		return v.generator || len(v.items) > 0
	case *dict:
		return len(v.keys) > 0
	}
	return true
}

// length is what len gives.
func length(v any) (int, error) {
	switch v := v.(type) {
	case undefined:
		return 0, nil
	case string:
		return utf8.RuneCountInString(v), nil
	case *list:
		if !v.generator {
			return len(v.items), nil
		}
	case *dict:
		return len(v.keys), nil
	}
	return 0, failf("%s has no length", kindOf(v))
}

// iterate gives the items that a loop over v goes through.
func (r *run) iterate(v any) ([]any, error) {
	switch v := v.(type) {
	case undefined:
		return nil, nil
	case string:
		if err := r.build(16 * len(v)); err != nil {
			return nil, err
		}
		items := make([]any, 0, len(v))
		for i, c := range v {
			items = append(items, v[i:i+max(1, runeLen(v[i:], c))])
		}
		return items, nil
	case *list:
		items := v.items
		if v.generator {
			v.items = nil
		}
		return items, nil
	case *dict:
		return v.keys, nil
	}
	return nil, failf("%s can't be gone through", kindOf(v))
}

// runeLen is how many bytes c has at the beginning of s; a byte that is no UTF-8 counts as one character.
func runeLen(s string, c rune) int {
	if c == utf8.RuneError {
		_, size := utf8.DecodeRuneInString(s)
		return size
	}
	return utf8.RuneLen(c)
}

// number gives a number, or a boolean as one. isInt says which of the two results counts.
func numberOf(v any) (i int, f float64, isInt, ok bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return 1, 1, true, true
		}
		return 0, 0, true, true
	case int:
		return v, float64(v), true, true
	case float64:
		return 0, v, false, true
	}
	return 0, 0, false, false
}

// equal is ==.
func (r *run) equal(a, b any) (bool, error) {
	if err := r.enter(); err != nil {
		return false, err
	}
	defer r.leave()
	ai, af, aInt, aNumber := numberOf(a)
	bi, bf, bInt, bNumber := numberOf(b)
	if aNumber && bNumber {
		if aInt && bInt {
			return ai == bi, nil
		}
		return af == bf, nil
	}
	switch a := a.(type) {
	case nil:
		return b == nil, nil
	case string:
		s, ok := b.(string)
		return ok && a == s, nil
	case undefined:
		_, ok := b.(undefined)
		return ok, nil
	case *list:
		l, ok := b.(*list)
		if !ok || a.generator || l.generator || a.tuple != l.tuple || len(a.items) != len(l.items) {
			return ok && a == l, nil
		}
		for i := range a.items {
			if same, err := r.equal(a.items[i], l.items[i]); err != nil || !same {
				return false, err
			}
		}
		return true, nil
	case *dict:
		d, ok := b.(*dict)
		if !ok || len(a.keys) != len(d.keys) {
			return false, nil
		}
		for i, key := range a.keys {
			other, ok := d.get(key)
			if !ok {
				return false, nil
			}
			if same, err := r.equal(a.values[i], other); err != nil || !same {
				return false, err
			}
		}
		return true, nil
	}
	switch b.(type) {
	case *namespace, *loopState, *function:
		return a == b, nil // pointers
	}
	return false, nil
}

// compare is negative, 0 or positive; NaN is false for every operator, so ordered says whether there is an order.
func (r *run) compare(a, b any) (order int, ordered bool, err error) {
	ai, af, aInt, aNumber := numberOf(a)
	bi, bf, bInt, bNumber := numberOf(b)
	switch {
	case aNumber && bNumber && aInt && bInt:
		return compareInts(ai, bi), true, nil
	case aNumber && bNumber:
		switch {
		case af < bf:
			return -1, true, nil
		case af > bf:
			return 1, true, nil
		}
		return 0, af == bf, nil
	}
	if s, ok := a.(string); ok {
		if t, ok := b.(string); ok {
			return strings.Compare(s, t), true, nil
		}
	}
	la, ok := a.(*list)
	lb, ok2 := b.(*list)
	if !ok || !ok2 || la.tuple != lb.tuple || la.generator || lb.generator {
		return 0, false, failf("%s and %s have no order", kindOf(a), kindOf(b))
	}
	for i := range min(len(la.items), len(lb.items)) {
		same, err := r.equal(la.items[i], lb.items[i])
		if err != nil {
			return 0, false, err
		}
		if !same {
			if err := r.enter(); err != nil {
				return 0, false, err
			}
			defer r.leave()
			return r.compare(la.items[i], lb.items[i])
		}
	}
	return compareInts(len(la.items), len(lb.items)), true, nil
}

func compareInts(a, b int) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// contains is "item in container".
func (r *run) contains(container, item any) (bool, error) {
	switch c := container.(type) {
	case string:
		s, ok := item.(string)
		if !ok {
			return false, failf("%s in a string: only a string can be in one", kindOf(item))
		}
		return strings.Contains(c, s), nil
	case *dict:
		l, isList := item.(*list)
		if _, isDict := item.(*dict); isDict || isList && !l.tuple {
			return false, failf("%s can't be a key", kindOf(item))
		}
		_, ok := c.get(item)
		return ok, nil
	}
	items, err := r.iterate(container)
	if err != nil {
		return false, err
	}
	for _, other := range items {
		if same, err := r.equal(other, item); err != nil || same {
			return same, err
		}
	}
	return false, nil
}
