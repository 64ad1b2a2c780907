package matrix

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"headinfer/config"
)

// mostRows bounds what a few long axes multiply to.
const mostRows = 500

// loader gathers the problems of one Load.
type loader struct {
	host     Host
	m        *Matrix
	root     config.Node
	common   []config.Override // of set
	problems config.Problems
}

func (l *loader) add(p config.Problem) {
	if !slices.Contains(l.problems, p) { // rows that share a mistake say it once
		l.problems = append(l.problems, p)
	}
}

// Load checks src, a matrix that errors call file. The error is [config.Problems] with everything that is wrong.
func Load(file string, src []byte, host Host) (*Matrix, error) {
	root, problems := config.ParseNode(file, src, host.Env)
	if len(problems) > 0 {
		return nil, problems
	}
	if _, ok := root.Pairs(); !ok {
		return nil, config.Problems{root.Problem("the file is "+root.Describe(), "a mapping with base, axes or rows, and contexts", "")}
	}
	l := &loader{host: host, m: &Matrix{File: file}, root: root}
	l.problems = root.Decode(&l.m.Options, "a matrix", keySet, keyAxes, keyRows)
	l.counts()
	l.measures()
	drafts := l.drafts()
	for _, d := range drafts {
		l.row(d)
	}
	if len(l.problems) == 0 {
		l.distinct(drafts)
	}
	if len(l.problems) > 0 {
		l.problems.Sort()
		return nil, l.problems
	}
	return l.m, nil
}

// items returns what a list of texts holds: a single text is a list of one.
func items(n config.Node) []config.Node {
	if list, ok := n.Items(); ok {
		return list
	}
	if n.Is() {
		return []config.Node{n}
	}
	return nil
}

// given returns the items of a key, which must not be an empty list.
func (l *loader) given(key, want string) []config.Node {
	n := l.root.Get(key)
	all := items(n)
	if _, isList := n.Items(); isList && len(all) == 0 {
		l.add(n.Problem(fmt.Sprintf("option %q is an empty list", key), want, ""))
	}
	return all
}

// counts reads contexts and fill.
func (l *loader) counts() {
	for _, part := range []struct {
		key string
		to  *[]int
	}{{"contexts", &l.m.Contexts}, {"fill", &l.m.Fill}} {
		for _, item := range l.given(part.key, "one length or more, such as [8Ki, 128Ki], or no "+part.key) {
			text, ok := item.Text()
			if !ok {
				continue // said already
			}
			n, err := config.ParseCount(text)
			switch {
			case err != nil:
				l.add(item.Problem(fmt.Sprintf("%s: %v", part.key, err), "", ""))
			case n < 1:
				l.add(item.Problem(fmt.Sprintf("%s has a context of %d tokens", part.key, n), "1 or more", ""))
			case slices.Contains(*part.to, int(n)):
				l.add(item.Problem(fmt.Sprintf("%s has %s twice", part.key, n), "each length once", ""))
			default:
				*part.to = append(*part.to, int(n))
			}
		}
	}
	if l.m.Times() && len(l.m.Contexts)+len(l.m.Fill) == 0 && len(l.problems) == 0 {
		l.add(l.root.Problem("nothing says at which contexts rows are measured", "contexts: [8Ki, 128Ki], or fill", ""))
	}
}

// measures checks those that are asked for, and what they need.
func (l *loader) measures() {
	all := Measures()
	var seen []string
	for _, item := range l.given("measures", "some of "+strings.Join(all, ", ")) {
		name, ok := item.Text()
		switch {
		case !ok:
		case !slices.Contains(all, name):
			l.add(item.Problem(fmt.Sprintf("unknown measure %q", name), "one of "+strings.Join(all, ", "), config.Nearest(name, all)))
		case slices.Contains(seen, name):
			l.add(item.Problem(fmt.Sprintf("the measure %s is here twice", name), "each once", ""))
		}
		seen = append(seen, name)
	}
	if task := l.root.Get("accuracy").Get("task"); l.host.Tasks != nil && task.Is() && !slices.Contains(l.host.Tasks, l.m.Accuracy.Task) {
		l.add(task.Problem(fmt.Sprintf("no task %q", l.m.Accuracy.Task), "one of "+strings.Join(l.host.Tasks, ", "), config.Nearest(l.m.Accuracy.Task, l.host.Tasks)))
	}
}

// row reads a row's pipeline.
func (l *loader) row(d draft) {
	file, src, err := l.host.Base(l.m.File, d.base)
	if err != nil {
		at := d.baseAt
		if !at.Is() {
			at = d.at
		}
		l.add(at.Problem(err.Error(), "", ""))
		return
	}
	own, host := slices.Concat(l.common, d.overrides), l.host
	read := func(sets []string) (*config.Pipeline, error) {
		return config.LoadWith(file, src, host.Vocabulary, own, slices.Concat(sets, host.Sets), host.Env)
	}
	p, err := read(nil)
	if err == nil {
		err = l.host.Check(p)
	}
	if err != nil {
		l.explain(d, err)
		return
	}
	l.m.Rows = append(l.m.Rows, Row{Name: d.name, Base: d.base, Axes: d.axes, Set: d.set, Pipeline: p, Key: l.host.Key(p), Line: d.at.Line(), read: read})
}

// explain adds what is wrong with a row's pipeline: where the matrix has it, or else at the row.
func (l *loader) explain(d draft, err error) {
	var all config.Problems
	if !errors.As(err, &all) {
		all = config.Problems{{What: err.Error()}}
	}
	for _, p := range all {
		switch {
		case p.File == l.m.File:
			l.add(d.narrow(p))
		case strings.HasPrefix(p.File, "--set"):
			l.add(p)
		case slices.ContainsFunc(l.problems, func(q config.Problem) bool { return strings.HasSuffix(q.What, p.Error()) }):
			// Of the base, and said of a row before.
		default:
			l.add(d.at.Problem(fmt.Sprintf("row %q: %s", d.name, p.Error()), "", ""))
		}
	}
}

// narrow moves what is wrong with the value of an axis from the axis to the value.
func (d draft) narrow(p config.Problem) config.Problem {
	for _, of := range []string{"unknown ", "no stage ", "names no option"} {
		if strings.Contains(p.What, of) {
			return p // it is the path
		}
	}
	for i, at := range d.keys {
		if p.Position == at {
			p.Position = d.values[i].Problem("", "", "").Position
		}
	}
	return p
}

// distinct refuses two rows of one name, or that measure the same.
func (l *loader) distinct(drafts []draft) {
	for i, r := range l.m.Rows {
		for _, before := range l.m.Rows[:i] {
			if r.Name == before.Name {
				l.add(drafts[i].at.Problem(fmt.Sprintf("two rows have the name %q, the first on line %d", r.Name, before.Line), "a name of its own", ""))
				break
			}
			if r.Key == before.Key {
				l.add(drafts[i].at.Problem(fmt.Sprintf("row %q is the same pipeline as row %q on line %d", r.Name, before.Name, before.Line), "rows that differ", ""))
				break
			}
		}
	}
}
