package chat

import (
	"errors"
	"strings"
)

// scope is where names are found: in vars, or else further out. Loops, macros and blocks have scopes of their own; if
// has not.
type scope struct {
	vars  map[string]any
	outer *scope
}

func (s *scope) inner() *scope { return &scope{vars: map[string]any{}, outer: s} }

func (s *scope) get(name string) (any, bool) {
	for ; s != nil; s = s.outer {
		if v, ok := s.vars[name]; ok {
			return v, true
		}
	}
	return nil, false
}

// execute runs statements one after the other.
func (r *run) execute(body []statement, s *scope) error {
	if err := r.enter(); err != nil {
		return err
	}
	defer r.leave()
	for _, st := range body {
		if err := st.execute(r, s); err != nil {
			return err
		}
	}
	return nil
}

// eval is the value of an expression.
func (r *run) eval(e expression, s *scope) (any, error) {
	if err := r.enter(); err != nil {
		return nil, err
	}
	v, err := e.eval(r, s)
	r.leave()
	return v, err
}

// capture runs statements and returns what they write. What they assign is theirs.
func (r *run) capture(body []statement, s *scope) (string, error) {
	outer := r.out
	r.out = &strings.Builder{}
	err := r.execute(body, s)
	written := r.out.String()
	r.out = outer
	return written, err
}

func (t *text) execute(r *run, _ *scope) error { return r.write(t.text) }

func (o *output) execute(r *run, s *scope) error {
	v, err := r.eval(o.of, s)
	if err != nil {
		return at(err, o.line)
	}
	written, err := r.str(v)
	if err != nil {
		return at(err, o.line)
	}
	return at(r.write(written), o.line)
}

func (i *ifElse) execute(r *run, s *scope) error {
	for n, test := range i.tests {
		v, err := r.eval(test, s)
		if err != nil {
			return at(err, i.line)
		}
		if truth(v) {
			return r.execute(i.bodies[n], s)
		}
	}
	if len(i.bodies) > len(i.tests) {
		return r.execute(i.bodies[len(i.tests)], s)
	}
	return nil
}

func (f *forIn) execute(r *run, s *scope) error {
	v, err := r.eval(f.of, s)
	if err != nil {
		return at(err, f.line)
	}
	return f.loop(r, s, v, 0)
}

// loop runs the loop over v. depth is how many runs of the same loop are around it.
func (f *forIn) loop(r *run, s *scope, v any, depth int) error {
	items, err := r.iterate(v)
	if err != nil {
		return at(err, f.line)
	}
	if f.keep != nil {
		if items, err = f.kept(r, s, items); err != nil {
			return at(err, f.line)
		}
	}
	state := &loopState{items: items, depth: depth}
	if f.recursive {
		state.again = func(v any) (string, error) {
			outer := r.out
			r.out = &strings.Builder{}
			err := f.loop(r, s, v, depth+1)
			written := r.out.String()
			r.out = outer
			return written, err
		}
	}
	whole := false // an iteration came to its end
iterations:
	for i, item := range items {
		state.at = i
		body := s.inner()
		body.vars["loop"] = state
		if err := assign(r, body, f.targets, item); err != nil {
			return at(err, f.line)
		}
		switch err := r.execute(f.body, body); {
		case err == nil:
			whole = true
		case errors.Is(err, errBreak):
			break iterations
		case !errors.Is(err, errContinue):
			return err
		}
	}
	if whole || f.no == nil {
		return nil
	}
	// Jinja runs else too when every iteration ended in break or continue.
	return r.execute(f.no, s.inner())
}

// kept are the items for which the loop's own if is true.
func (f *forIn) kept(r *run, s *scope, items []any) (kept []any, err error) {
	for _, item := range items {
		inner := s.inner()
		if err := assign(r, inner, f.targets, item); err != nil {
			return nil, err
		}
		keep, err := r.eval(f.keep, inner)
		if err != nil {
			return nil, err
		}
		if truth(keep) {
			kept = append(kept, item)
		}
	}
	return kept, nil
}

// assign gives one name the value, or several names its items.
func assign(r *run, s *scope, to []string, v any) error {
	if len(to) == 1 {
		s.vars[to[0]] = v
		return nil
	}
	items, err := r.iterate(v)
	if err != nil {
		return err
	}
	if len(items) != len(to) {
		return failf("%d values for %d names (%s)", len(items), len(to), strings.Join(to, ", "))
	}
	for i, name := range to {
		s.vars[name] = items[i]
	}
	return nil
}

func (t target) assign(s *scope, v any) error {
	if t.attribute == "" {
		s.vars[t.name] = v
		return nil
	}
	found, _ := s.get(t.name)
	ns, ok := found.(*namespace)
	if !ok {
		return failf("set %s.%s: %s is %s; only a namespace has attributes that can be set", t.name, t.attribute, t.name, kindOf(found))
	}
	if strings.HasPrefix(t.attribute, "_") {
		return failf("set %s.%s: attributes of a namespace don't begin with _", t.name, t.attribute)
	}
	ns.vars.put(t.attribute, v)
	return nil
}

func (t *set) execute(r *run, s *scope) error {
	v, err := r.eval(t.of, s)
	if err != nil {
		return at(err, t.line)
	}
	items := []any{v}
	if len(t.targets) > 1 {
		if items, err = r.iterate(v); err != nil {
			return at(err, t.line)
		}
		if len(items) != len(t.targets) {
			return at(failf("%d values for %d names", len(items), len(t.targets)), t.line)
		}
	}
	for i, to := range t.targets {
		if err := to.assign(s, items[i]); err != nil {
			return at(err, t.line)
		}
	}
	return nil
}

// blockText is the name under which the filters of a block find its text. It can't be written in a template.
const blockText = "text of the block"

func (b *setBlock) execute(r *run, s *scope) error {
	v, err := filteredBlock(r, s, b.body, b.filter)
	if err != nil {
		return at(err, b.line)
	}
	return at(b.to.assign(s, v), b.line)
}

func (f *filterBlock) execute(r *run, s *scope) error {
	v, err := filteredBlock(r, s, f.body, f.filter)
	if err != nil {
		return at(err, f.line)
	}
	written, err := r.str(v)
	if err != nil {
		return at(err, f.line)
	}
	return at(r.write(written), f.line)
}

func filteredBlock(r *run, s *scope, body []statement, filter expression) (any, error) {
	inner := s.inner()
	written, err := r.capture(body, inner)
	if err != nil || filter == nil {
		return written, err
	}
	inner.vars[blockText] = written
	return r.eval(filter, inner)
}

func (w *with) execute(r *run, s *scope) error {
	inner := s.inner()
	for i, name := range w.names {
		v, err := r.eval(w.values[i], s)
		if err != nil {
			return at(err, w.line)
		}
		inner.vars[name] = v
	}
	return r.execute(w.body, inner)
}

func (b *block) execute(r *run, s *scope) error { return r.execute(b.body, s.inner()) }

func (c *control) execute(*run, *scope) error { return c.signal }

func (m *macro) execute(_ *run, s *scope) error {
	s.vars[m.name] = m.function(s)
	return nil
}

func (c *callBlock) execute(r *run, s *scope) error {
	of, err := r.eval(c.of.of, s)
	if err != nil {
		return at(err, c.line)
	}
	args, err := c.of.args.eval(r, s)
	if err != nil {
		return at(err, c.line)
	}
	args.named = append(args.named, named{"caller", c.caller.function(s)})
	v, err := r.call(of, args)
	if err != nil {
		return at(err, c.line)
	}
	written, err := r.str(v)
	if err != nil {
		return at(err, c.line)
	}
	return at(r.write(written), c.line)
}

// function is the macro as a value. It sees the names of the place where it stands.
func (m *macro) function(s *scope) *function {
	return &function{name: m.name, call: func(r *run, args arguments) (any, error) {
		inner := s.inner()
		if err := m.bind(r, inner, args); err != nil {
			return nil, err
		}
		return r.capture(m.body, inner)
	}}
}

// bind gives the macro's parameters their values.
func (m *macro) bind(r *run, inner *scope, args arguments) error {
	extra := &list{tuple: true}
	kwargs := newDict()
	for i, v := range args.positional {
		if i < len(m.params) {
			inner.vars[m.params[i]] = v
		} else {
			extra.items = append(extra.items, v)
		}
	}
	for _, n := range args.named {
		isParam := false
		for _, param := range m.params {
			isParam = isParam || param == n.name
		}
		_, bound := inner.vars[n.name]
		switch {
		case isParam && bound:
			return failf("macro %s gets %s twice", m.name, n.name)
		case isParam || n.name == "caller" && m.uses["caller"]:
			inner.vars[n.name] = n.value
		case m.uses["kwargs"]:
			kwargs.put(n.name, n.value)
		default:
			return failf("macro %s has no parameter %s", m.name, n.name)
		}
	}
	if len(extra.items) > 0 && !m.uses["varargs"] {
		return failf("macro %s gets %d arguments and takes %d", m.name, len(args.positional), len(m.params))
	}
	inner.vars["varargs"], inner.vars["kwargs"] = extra, kwargs
	if _, ok := inner.vars["caller"]; !ok && m.uses["caller"] {
		inner.vars["caller"] = undefined{"caller"}
	}
	for i, param := range m.params {
		if _, ok := inner.vars[param]; ok {
			continue
		}
		inner.vars[param] = undefined{param}
		if d := i - (len(m.params) - len(m.defaults)); d >= 0 {
			v, err := r.eval(m.defaults[d], inner)
			if err != nil {
				return at(err, m.line)
			}
			inner.vars[param] = v
		}
	}
	return nil
}
