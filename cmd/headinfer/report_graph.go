package main

import (
	"fmt"
	"slices"
	"time"

	"headinfer/eval"
	"headinfer/graph"
)

// flowPicture draws both levels of a pipeline and, after a run, what each stage did in
// the time that it took.
func flowPicture(p *pipeline, documents, heads []graph.Stats, took time.Duration) eval.Flow {
	var f eval.Flow
	for _, level := range []struct {
		graph *graph.Graph
		stats []graph.Stats
		note  string
	}{
		{p.documents, documents, "what each document goes through"},
		{p.heads, heads, "what each tile of a forward pass goes through: some KV heads of a layer × a span of tokens"},
	} {
		if level.graph == nil {
			continue
		}
		sketch := level.graph.Sketch()
		l := eval.FlowLevel{Name: string(sketch.Level), Note: level.note}
		for _, b := range sketch.Boxes {
			n := eval.FlowNode{Name: b.Lines[0], Options: b.Lines[1:], Open: b.Open}
			if i := slices.IndexFunc(level.stats, func(s graph.Stats) bool { return s.Name == b.ID }); i >= 0 && !b.Open && took > 0 {
				n.Figures, n.Busy = throughput(level.stats[i], took)
			}
			l.Nodes = append(l.Nodes, n)
		}
		for _, a := range sketch.Arrows {
			l.Edges = append(l.Edges, eval.FlowEdge{From: a.From, To: a.To, Label: a.Label})
		}
		f.Levels = append(f.Levels, l)
	}
	return f
}

// throughput says what a stage did: items, how many a second, and which share of the
// time it worked.
func throughput(s graph.Stats, took time.Duration) (lines []string, busy *float64) {
	// A source takes nothing. Others may give on more than they take, or less.
	items := s.In
	if items == 0 {
		items = s.Out
	}
	share := s.Busy.Seconds() / took.Seconds()
	lines = []string{
		fmt.Sprintf("%s, %s/s", counted(items, "item"), figures(float64(items)/took.Seconds())),
		fmt.Sprintf("busy %s, %.0f%%", shortTime(s.Busy), 100*share),
	}
	if s.Dead > 0 {
		lines = append(lines, fmt.Sprintf("%d to the dead letters", s.Dead))
	}
	return lines, &share
}
