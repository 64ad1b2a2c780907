package chat

import (
	"math"
	"strings"
)

func (c *constant) eval(*run, *scope) (any, error) { return c.value, nil }

func (n *nameOf) eval(_ *run, s *scope) (any, error) {
	if v, ok := s.get(n.name); ok {
		return v, nil
	}
	return undefined{n.name}, nil
}

func (l *listDisplay) eval(r *run, s *scope) (any, error) {
	if err := r.build(16 * len(l.items)); err != nil {
		return nil, err
	}
	v := &list{items: make([]any, len(l.items)), tuple: l.tuple}
	for i, item := range l.items {
		var err error
		if v.items[i], err = r.eval(item, s); err != nil {
			return nil, err
		}
	}
	return v, nil
}

func (d *dictDisplay) eval(r *run, s *scope) (any, error) {
	if err := r.build(64 * len(d.keys)); err != nil {
		return nil, err
	}
	v := newDict()
	for i := range d.keys {
		key, err := r.eval(d.keys[i], s)
		if err != nil {
			return nil, err
		}
		value, err := r.eval(d.values[i], s)
		if err != nil {
			return nil, err
		}
		if !v.put(key, value) {
			return nil, failf("%s can't be a key", kindOf(key))
		}
	}
	return v, nil
}

func (c *conditional) eval(r *run, s *scope) (any, error) {
	test, err := r.eval(c.test, s)
	switch {
	case err != nil:
		return nil, err
	case truth(test):
		return r.eval(c.yes, s)
	case c.no == nil:
		return undefined{"the value of an if without else"}, nil
	}
	return r.eval(c.no, s)
}

func (l *logical) eval(r *run, s *scope) (any, error) {
	left, err := r.eval(l.left, s)
	if err != nil || truth(left) == l.or {
		return left, err
	}
	return r.eval(l.right, s)
}

func (n *negation) eval(r *run, s *scope) (any, error) {
	v, err := r.eval(n.of, s)
	return !truth(v), err
}

func (n *signed) eval(r *run, s *scope) (any, error) {
	v, err := r.eval(n.of, s)
	if err != nil {
		return nil, err
	}
	i, f, isInt, ok := numberOf(v)
	switch {
	case !ok:
		return nil, failf("- before %s", kindOf(v))
	case isInt:
		return -i, nil
	}
	return -f, nil
}

func (c *comparison) eval(r *run, s *scope) (any, error) {
	left, err := r.eval(c.first, s)
	if err != nil {
		return nil, err
	}
	for i, op := range c.ops {
		right, err := r.eval(c.rest[i], s)
		if err != nil {
			return nil, err
		}
		if holds, err := r.holds(op, left, right); err != nil || !holds {
			return false, err
		}
		left = right
	}
	return true, nil
}

func (r *run) holds(op string, left, right any) (bool, error) {
	switch op {
	case "==", "!=":
		same, err := r.equal(left, right)
		return same == (op == "=="), err
	case "in", "not in":
		in, err := r.contains(right, left)
		return in == (op == "in"), err
	}
	order, ordered, err := r.compare(left, right)
	switch op {
	case "<":
		return ordered && order < 0, err
	case "<=":
		return ordered && order <= 0, err
	case ">":
		return ordered && order > 0, err
	}
	return ordered && order >= 0, err
}

func (b *binary) eval(r *run, s *scope) (any, error) {
	left, err := r.eval(b.left, s)
	if err != nil {
		return nil, err
	}
	right, err := r.eval(b.right, s)
	if err != nil {
		return nil, err
	}
	if b.op == "~" {
		return r.join(left, right)
	}
	ai, af, aInt, aNumber := numberOf(left)
	bi, bf, bInt, bNumber := numberOf(right)
	switch {
	case aNumber && bNumber && aInt && bInt:
		return integers(b.op, ai, bi)
	case aNumber && bNumber:
		return floats(b.op, af, bf)
	}
	return r.sequences(b.op, left, right)
}

// join is ~.
func (r *run) join(left, right any) (any, error) {
	a, err := r.str(left)
	if err != nil {
		return nil, err
	}
	b, err := r.str(right)
	if err != nil {
		return nil, err
	}
	if err := r.build(len(a) + len(b)); err != nil {
		return nil, err
	}
	return a + b, nil
}

// sequences are the operators on strings and lists.
func (r *run) sequences(op string, left, right any) (any, error) {
	mismatch := failf("%s %s %s", kindOf(left), op, kindOf(right))
	if format, ok := left.(string); ok && op == "%" {
		return r.percent(format, right)
	}
	for _, v := range []any{left, right} {
		if u, ok := v.(undefined); ok {
			return nil, failf("%s is undefined", u.name)
		}
	}
	switch op {
	case "+":
		if a, ok := left.(string); ok {
			b, ok := right.(string)
			if !ok {
				return nil, mismatch
			}
			if err := r.build(len(a) + len(b)); err != nil {
				return nil, err
			}
			return a + b, nil
		}
		a, ok := left.(*list)
		b, ok2 := right.(*list)
		if !ok || !ok2 || a.tuple != b.tuple || a.generator || b.generator {
			return nil, mismatch
		}
		if err := r.build(16 * (len(a.items) + len(b.items))); err != nil {
			return nil, err
		}
		return &list{items: append(append([]any{}, a.items...), b.items...), tuple: a.tuple}, nil
	case "*":
		if _, _, isInt, _ := numberOf(left); isInt {
			left, right = right, left
		}
		n, _, isInt, _ := numberOf(right)
		if !isInt {
			return nil, mismatch
		}
		return r.repeat(left, max(n, 0), mismatch)
	}
	return nil, mismatch
}

func (r *run) repeat(v any, n int, mismatch error) (any, error) {
	fits := func(size int) error {
		if size > 0 && n > r.left/size {
			return r.build(-1)
		}
		return r.build(size * n)
	}
	switch v := v.(type) {
	case string:
		if err := fits(len(v)); err != nil {
			return nil, err
		}
		return strings.Repeat(v, n), nil
	case *list:
		if v.generator {
			break
		}
		if err := fits(16 * len(v.items)); err != nil {
			return nil, err
		}
		all := &list{tuple: v.tuple, items: make([]any, 0, n*len(v.items))}
		for range n {
			if len(v.items) == 0 {
				break
			}
			all.items = append(all.items, v.items...)
		}
		return all, nil
	}
	return nil, mismatch
}

func integers(op string, a, b int) (any, error) {
	large := func() (any, error) { return nil, boundf("a number has more than 64 bits") }
	switch op {
	case "+":
		if c := a + b; (c > a) == (b > 0) {
			return c, nil
		}
		return large()
	case "-":
		if c := a - b; (c < a) == (b > 0) {
			return c, nil
		}
		return large()
	case "*":
		if a == 0 || b == 0 {
			return 0, nil
		}
		if c := a * b; c/b == a && !(a == -1 && b == math.MinInt) && !(b == -1 && a == math.MinInt) {
			return c, nil
		}
		return large()
	case "**":
		return power(a, b)
	}
	if b == 0 {
		return nil, failf("%d %s 0", a, op)
	}
	switch op {
	case "/":
		return float64(a) / float64(b), nil
	case "//":
		if b == -1 && a == math.MinInt {
			return large()
		}
		q := a / b
		if a%b != 0 && (a < 0) != (b < 0) {
			q--
		}
		return q, nil
	}
	m := a % b
	if m != 0 && (m < 0) != (b < 0) {
		m += b
	}
	return m, nil
}

func power(a, b int) (any, error) {
	if b < 0 {
		if a == 0 {
			return nil, failf("0 ** %d", b)
		}
		return math.Pow(float64(a), float64(b)), nil
	}
	if a == 0 || a == 1 || a == -1 {
		if a == -1 && b%2 == 0 || b == 0 {
			return 1, nil
		}
		return a, nil
	}
	result := any(1)
	for range b { // at most 63 steps go well
		var err error
		n, _ := result.(int)
		if result, err = integers("*", n, a); err != nil {
			return nil, err
		}
	}
	return result, nil
}

func floats(op string, a, b float64) (any, error) {
	switch op {
	case "+":
		return a + b, nil
	case "-":
		return a - b, nil
	case "*":
		return a * b, nil
	case "**":
		return math.Pow(a, b), nil
	}
	if b == 0 {
		return nil, failf("%s %s 0.0", floatText(a), op)
	}
	switch op {
	case "/":
		return a / b, nil
	case "//":
		return math.Floor(a / b), nil
	}
	m := math.Mod(a, b)
	if m == 0 {
		return math.Copysign(0, b), nil
	}
	if (m < 0) != (b < 0) {
		m += b
	}
	return m, nil
}
