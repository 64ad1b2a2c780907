package graph

import (
	"fmt"
	"reflect"
	"strings"

	"headinfer/config"
)

// Ends says what a graph is joined to. In is the type of the items that [Run.Send] or [WithFeed] gives to the first stage,
// nil when the first stage is a source. Out is the type of the items that [WithDrain] takes from the one stage that nothing
// reads, nil when every such stage is a sink.
type Ends struct{ In, Out reflect.Type }

// A Graph is one level of a pipeline that has been checked: every edge joins an output to an input that takes it.
type Graph struct {
	level config.Level
	file  string
	ends  Ends
	boxes []box // in the file's order: each reads from one before it
}

// A box is one stage of a graph.
type box struct {
	entry   config.Entry
	spec    Spec
	from    int   // the box that it reads from; -1 for the first
	readers []int // the boxes that read from it
}

// Check makes a graph of one level of p. The error is [config.Problems], with everything that does not fit, in the file's
// order: entries that the registry does not know, edges whose types differ, ends that are left open or joined to nothing.
func (r *Registry) Check(p *config.Pipeline, level config.Level, ends Ends) (*Graph, error) {
	c := &checker{registry: r, graph: &Graph{level: level, file: p.File, ends: ends}}
	entries := p.Documents
	if level == config.Heads {
		entries = p.Heads
	}
	c.readEntries(entries)
	if len(c.problems) == 0 {
		for i := range c.graph.boxes {
			c.checkInput(i)
			c.checkOutput(i)
		}
		c.checkOpenEnd()
	}
	if len(c.problems) > 0 {
		c.problems.Sort()
		return nil, c.problems
	}
	return c.graph, nil
}

type checker struct {
	registry *Registry
	graph    *Graph
	problems config.Problems
}

func (c *checker) add(at config.Position, want, what string, args ...any) {
	c.problems = append(c.problems, config.Problem{
		File: c.graph.file, Position: at, What: fmt.Sprintf(what, args...), Want: want,
	})
}

// readEntries finds each entry's spec and what it reads from. config has reported unknown names with more detail; a
// pipeline that a program put together comes here first.
func (c *checker) readEntries(entries []config.Entry) {
	g := c.graph
	if len(entries) == 0 {
		c.add(config.Position{}, "a list of stages under "+string(g.level)+":", "the pipeline has no %s", g.level)
		return
	}
	index := map[string]int{}
	for i, e := range entries {
		spec, ok := c.registry.Spec(g.level, e.Stage)
		if !ok {
			names := c.registry.Stages(g.level)
			c.add(e.Pos, oneOf(names), "unknown stage %q", e.Stage)
			c.problems[len(c.problems)-1].Nearest = config.Nearest(e.Stage, names)
		}
		from := i - 1
		if e.From != "" {
			above, ok := index[e.From]
			if !ok {
				c.add(e.FromPos, "the id of an entry above", "%q reads from %q, which is not above it", e.ID, e.From)
			}
			from = above
		}
		if _, taken := index[e.ID]; taken {
			c.add(e.Pos, "an id of its own", "two entries have the id %q", e.ID)
		}
		index[e.ID] = i
		g.boxes = append(g.boxes, box{entry: e, spec: spec, from: from})
	}
	if len(c.problems) > 0 {
		return
	}
	for i, b := range g.boxes {
		if b.from >= 0 {
			g.boxes[b.from].readers = append(g.boxes[b.from].readers, i)
		}
	}
}

// checkInput checks the edge that leads to a box, or its lack.
func (c *checker) checkInput(i int) {
	g := c.graph
	b := &g.boxes[i]
	in, given, giver := b.spec.In, g.ends.In, "the input of "+string(g.level)
	if b.from >= 0 {
		source := g.boxes[b.from]
		given, giver = source.spec.Out, fmt.Sprintf("%q", source.entry.ID)
	}
	switch {
	case in == nil && b.from >= 0:
		c.add(b.entry.FromPos, fmt.Sprintf("%q as the first of %s, or another stage here", b.entry.ID, g.level),
			"%q is a source, which reads from nothing, but stands after %s", b.entry.ID, giver)
	case in == nil && given != nil:
		c.add(b.entry.Pos, "a first stage that takes "+typeName(given),
			"%q is a source, but %s get their items from elsewhere", b.entry.ID, g.level)
	case in == nil:
	case b.from < 0 && given == nil:
		sources := c.registry.names(g.level, func(s Spec) bool { return s.In == nil })
		c.add(b.entry.Pos, "a source before it: "+oneOf(sources),
			"stage %q takes %s, but nothing comes before it", b.entry.ID, typeName(in))
	case given == nil:
		c.add(b.entry.FromPos, "another from, the id of a stage that gives "+typeName(in),
			"%q reads from %s, which is a sink and gives nothing", b.entry.ID, giver)
	case !takes(in, given):
		c.add(b.entry.FromPos, c.fix("between them", given, in, "another from, the id of"),
			"stage %q takes %s but %s gives %s", b.entry.ID, c.name(in, given), giver, c.name(given, in))
	}
}

// fix says which stages turn what one stage gives into what another takes, or else, after instead, which give it.
func (c *checker) fix(where string, out, in reflect.Type, instead string) string {
	from, to := c.name(out, in), c.name(in, out)
	switch names, chain := c.registry.between(c.graph.level, out, in); {
	case chain:
		return fmt.Sprintf("%s stages that turn %s into %s: %s", where, from, to, strings.Join(names, ", then "))
	case names != nil:
		return fmt.Sprintf("%s a stage that turns %s into %s: %s", where, from, to, oneOf(names))
	}
	givers := c.registry.names(c.graph.level, func(s Spec) bool { return s.Out != nil && takes(in, s.Out) })
	if givers == nil {
		return fmt.Sprintf("%s a stage that turns %s into %s, but there is none", where, from, to)
	}
	return fmt.Sprintf("%s a stage that gives %s: %s", instead, to, oneOf(givers))
}

// owned reports whether items of a type must be released once, and cannot count their readers.
func owned(t reflect.Type) bool {
	return t.Implements(reflect.TypeFor[Releaser]()) && !t.Implements(reflect.TypeFor[Retainer]())
}

// name is typeName, with the package where two types have the same short name.
func (c *checker) name(t, other reflect.Type) string {
	if t != other && typeName(t) == typeName(other) {
		return t.String()
	}
	return typeName(t)
}

// checkOutput checks that something takes what a box gives, where nothing is joined to the end of the graph, and that no
// more than one stage takes what can have one owner only.
func (c *checker) checkOutput(i int) {
	g := c.graph
	b := &g.boxes[i]
	if len(b.readers) > 1 && owned(b.spec.Out) {
		second := g.boxes[b.readers[1]].entry
		c.add(second.FromPos, "one reader; branch after it", "%q also reads from %q, but %s can have one reader only",
			second.ID, b.entry.ID, typeName(b.spec.Out))
	}
	if b.spec.Out == nil || len(b.readers) > 0 || g.ends.Out != nil {
		return
	}
	sinks := c.registry.names(g.level, func(s Spec) bool { return s.Out == nil && s.In != nil && takes(s.In, b.spec.Out) })
	want := "a stage after it that takes " + typeName(b.spec.Out)
	if sinks != nil {
		want = "a sink after it: " + oneOf(sinks)
	}
	c.add(b.entry.Pos, want, "stage %q gives %s, but nothing reads it", b.entry.ID, typeName(b.spec.Out))
}

// checkOpenEnd checks that exactly one box gives what the graph's end takes.
func (c *checker) checkOpenEnd() {
	g := c.graph
	if g.ends.Out == nil {
		return
	}
	var open []int
	for i, b := range g.boxes {
		if b.spec.Out != nil && len(b.readers) == 0 {
			open = append(open, i)
		}
	}
	if len(open) == 0 {
		last := g.boxes[len(g.boxes)-1]
		c.add(last.entry.Pos, "one stage that gives "+typeName(g.ends.Out)+" and that nothing reads",
			"every stage of %s ends in a sink", g.level)
		return
	}
	first := g.boxes[open[0]]
	for _, i := range open[1:] {
		b := g.boxes[i]
		c.add(b.entry.Pos, "exactly one stage that nothing reads: its items are what "+string(g.level)+" give",
			"nothing reads %q, and nothing reads %q either", b.entry.ID, first.entry.ID)
	}
	if !takes(g.ends.Out, first.spec.Out) {
		c.add(first.entry.Pos, c.fix("after it", first.spec.Out, g.ends.Out, "at the end"),
			"%s end with %q, which gives %s and not %s", g.level, first.entry.ID, c.name(first.spec.Out, g.ends.Out),
			c.name(g.ends.Out, first.spec.Out))
	}
}

// oneOf lists words for "expected …".
func oneOf(words []string) string {
	switch len(words) {
	case 0:
		return "none there is"
	case 1:
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}
