package matrix

import (
	"fmt"
	"strings"

	"headinfer/config"
)

// draft is a row whose pipeline is not read yet.
type draft struct {
	name, base string
	baseAt     config.Node // zero where it is left to its default
	at         config.Node
	axes, set  []Setting
	overrides  []config.Override
	keys       []config.Position // of the axes
	values     []config.Node     // of these, for this combination
}

// rowOptions are the keys of a row by name, beside set.
type rowOptions struct {
	Name string `yaml:"name" default:"" doc:"What the tables call the row." example:"no overlap"`
	Base string `yaml:"base" default:"" doc:"What the row starts from; empty: the matrix's base." example:"standard"`
}

// drafts reads set, axes and rows.
func (l *loader) drafts() []draft {
	var common []Setting
	l.common, common = l.settings(l.root.Get(keySet), "set")
	drafts := l.combinations(common)
	rows := l.root.Get(keyRows)
	list, ok := rows.Items()
	switch {
	case !ok && rows.Is():
		l.add(rows.Problem("rows is "+rows.Describe(), "a list of rows, each - { name: …, set: { PATH: VALUE } }", ""))
	case ok && len(list) == 0:
		l.add(rows.Problem("rows is an empty list", "one row or more, as in - { name: standard, base: standard }", ""))
	}
	for _, item := range list {
		if d, ok := l.named(item); ok {
			drafts = append(drafts, d)
		}
	}
	if len(drafts) == 0 && len(l.problems) == 0 {
		l.add(l.root.Problem("the file names no row", "axes, rows or both", ""))
	}
	return drafts
}

// settings reads a mapping of options' paths to values.
func (l *loader) settings(n config.Node, what string) (overrides []config.Override, texts []Setting) {
	if !n.Is() {
		return nil, nil
	}
	pairs, ok := n.Pairs()
	if !ok {
		l.add(n.Problem(what+" is "+n.Describe(), "a mapping of options' paths to values, as in { device.memory: 24GiB }", ""))
	}
	for _, p := range pairs {
		overrides = append(overrides, p.Override(p.Value))
		texts = append(texts, Setting{p.Key, textOf(p.Value)})
	}
	return overrides, texts
}

// textOf is a value in a line.
func textOf(n config.Node) string {
	if text, ok := n.Text(); ok {
		return text
	}
	var parts []string
	list, ok := n.Items()
	for _, item := range list {
		parts = append(parts, textOf(item))
	}
	if !ok {
		return n.Describe()
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// named reads one of rows.
func (l *loader) named(item config.Node) (d draft, ok bool) {
	if _, ok := item.Pairs(); !ok {
		l.add(describeRow(item))
		return d, false
	}
	var o rowOptions
	if problems := item.Decode(&o, "a row", keySet); len(problems) > 0 {
		l.problems = append(l.problems, problems...)
		return d, false
	}
	if o.Name == "" {
		l.add(item.Problem("a row without a name", "name: what the tables call it", ""))
		return d, false
	}
	d = draft{name: o.Name, base: o.Base, baseAt: item.Get("base"), at: item}
	if d.base == "" {
		d.base, d.baseAt = l.m.Base, l.root.Get("base")
	}
	d.overrides, d.set = l.settings(item.Get(keySet), "set")
	return d, true
}

func describeRow(item config.Node) config.Problem {
	return item.Problem("a row is "+item.Describe(), "- { name: …, set: { PATH: VALUE } }", "")
}

// combinations makes a row of every combination of the axes' values.
func (l *loader) combinations(common []Setting) []draft {
	axes := l.root.Get(keyAxes)
	if !axes.Is() {
		return nil
	}
	pairs, ok := axes.Pairs()
	if !ok || len(pairs) == 0 {
		l.add(axes.Problem("axes is "+describe(axes), "a mapping of options' paths to lists, as in { heads.attention.group: [8, 4, 2, 1] }", ""))
		return nil
	}
	names := shortNames(pairs)
	all := []draft{{base: l.m.Base, baseAt: l.root.Get("base")}}
	bad := false
	for i, p := range pairs {
		values, ok := p.Value.Items()
		switch {
		case !ok:
			l.add(at(p).Problem(fmt.Sprintf("axis %q is %s", p.Key, p.Value.Describe()), "a list of values, as in [8, 4]", ""))
			bad = true
			continue
		case len(values) == 0:
			l.add(p.Value.Problem(fmt.Sprintf("axis %q is an empty list", p.Key), "one value or more", ""))
			bad = true
			continue
		case len(all)*len(values) > mostRows:
			l.add(p.Problem(fmt.Sprintf("the axes up to %q make %d rows", p.Key, len(all)*len(values)), fmt.Sprintf("at most %d", mostRows), ""))
			return nil
		}
		for _, s := range common {
			if s.Path == p.Key {
				l.add(p.Problem(fmt.Sprintf("%q is an axis and in set", p.Key), "it in one of the two", ""))
			}
		}
		var next []draft
		for _, d := range all {
			for _, v := range values {
				next = append(next, d.with(p, v, names[i]))
			}
		}
		all = next
	}
	if bad {
		return nil // without an axis's value, rows would have mistakes that the file has not
	}
	return all
}

// with adds an axis's value to a combination.
func (d draft) with(axis config.Pair, value config.Node, name string) draft {
	text := textOf(value)
	if d.name != "" {
		d.name += ", "
	}
	d.name += name + "=" + text
	d.at = value
	d.axes = append(d.axes[:len(d.axes):len(d.axes)], Setting{axis.Key, text})
	d.overrides = append(d.overrides[:len(d.overrides):len(d.overrides)], axis.Override(value))
	d.keys = append(d.keys[:len(d.keys):len(d.keys)], axis.Problem("", "", "").Position)
	d.values = append(d.values[:len(d.values):len(d.values)], value)
	return d
}

// at is where a pair's value is, or its key where there is none.
func at(p config.Pair) interface {
	Problem(what, want, nearest string) config.Problem
} {
	if p.Value.Is() {
		return p.Value
	}
	return p
}

func describe(n config.Node) string {
	if pairs, ok := n.Pairs(); ok && len(pairs) == 0 {
		return "empty"
	}
	return n.Describe()
}

// shortNames are the last words of the axes' paths, or the whole paths where these are the same.
func shortNames(pairs []config.Pair) []string {
	times := map[string]int{}
	last := func(path string) string { return path[strings.LastIndex(path, ".")+1:] }
	for _, p := range pairs {
		times[last(p.Key)]++
	}
	names := make([]string, len(pairs))
	for i, p := range pairs {
		names[i] = p.Key
		if times[last(p.Key)] == 1 {
			names[i] = last(p.Key)
		}
	}
	return names
}
