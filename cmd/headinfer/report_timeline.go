package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"headinfer/eval"
	"headinfer/eval/report"
	"headinfer/transfer"
)

// timelineSection has a picture for each time line that shows a layer.
func timelineSection(timelines []benchTimeline) (section report.Section, ok bool) {
	section = report.Section{Title: "Copies and computing", Parts: []report.Part{report.Text(
		"When each stream of the device worked during one layer, by the device's own clock. On a box, L is the layer, counted from 0, h its KV heads, t the tokens of the past. " +
			"A copy above or below computing costs no time; copies of the next layers' tiles run ahead.")}}
	for i, t := range timelines {
		if picture, shown := timelinePicture(fmt.Sprintf("timeline-%d", i+1), t.pipeline, t.record); shown {
			section.Parts, ok = append(section.Parts, picture), true
		}
	}
	return section, ok
}

// timelinePicture draws when the device's streams worked during one layer, the middle
// one, of the last prefill pass and of the last decode pass that were recorded.
func timelinePicture(name, method string, record *transfer.Record) (report.Picture, bool) {
	lanes := eval.Lanes{Title: "One layer of " + method + ", stream by stream"}
	if record != nil {
		for _, kind := range []transfer.PassKind{transfer.Prefill, transfer.Decode} {
			if p, ok := layerPanel(record, kind); ok {
				lanes.Panels = append(lanes.Panels, p)
			}
		}
	}
	if len(lanes.Panels) == 0 {
		return report.Picture{}, false
	}
	var parts []string
	for _, p := range lanes.Panels {
		parts = append(parts, fmt.Sprintf("%s takes %s µs", p.Title, figures(p.Length)))
	}
	caption := strings.Join(parts, "; ") + "."
	return report.Picture{Name: name, Draw: lanes, Caption: strings.ToUpper(caption[:1]) + caption[1:], Alt: lanes.Title + ": " + caption}, true
}

// layerPanel gathers the middle layer of the last pass of a kind.
func layerPanel(record *transfer.Record, kind transfer.PassKind) (panel eval.LanePanel, ok bool) {
	at := -1
	for i, p := range record.Passes {
		if p.Kind == kind {
			at = i
		}
	}
	if at < 0 {
		return panel, false
	}
	pass, layers := record.Passes[at], 0
	var spans []transfer.Span
	for _, s := range record.Spans {
		if s.Pass == pass.Number {
			spans = append(spans, s)
			layers = max(layers, layerOf(s)+1)
		}
	}
	if layers == 0 {
		return panel, false
	}
	// The layer's time is that of its computing.
	layer := layers / 2
	from, to := time.Duration(-1), time.Duration(0)
	for _, s := range spans {
		if s.Track != transfer.Compute || layerOf(s) != layer {
			continue
		}
		if from < 0 || s.Start < from {
			from = s.Start
		}
		to = max(to, s.End)
	}
	if from < 0 || to <= from {
		return panel, false
	}
	micro := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
	panel = eval.LanePanel{Title: fmt.Sprintf("layer %d of %d, %s", layer+1, layers, passName(pass)), Length: micro(to - from)}
	for _, track := range transfer.Tracks() {
		lane := eval.Lane{Name: string(track)}
		for _, s := range spans {
			if s.Track == track && s.End > from && s.Start < to {
				lane.Spans = append(lane.Spans, eval.LaneSpan{Name: s.Name, From: micro(s.Start - from), To: micro(s.End - from)})
			}
		}
		slices.SortFunc(lane.Spans, func(a, b eval.LaneSpan) int { return cmp.Compare(a.From, b.From) })
		panel.Lanes = append(panel.Lanes, lane)
	}
	return panel, true
}

// layerOf returns the layer that a span is part of, -1 if none; its name begins with it.
func layerOf(s transfer.Span) int {
	layer := -1
	if n, err := fmt.Sscanf(s.Name, "L%d ", &layer); n != 1 || err != nil {
		return -1
	}
	return layer
}

func passName(p transfer.Pass) string {
	if p.Kind == transfer.Decode {
		return fmt.Sprintf("a decode step after %d tokens", p.Tokens.From)
	}
	return fmt.Sprintf("prefill of tokens %d to %d", p.Tokens.From, p.Tokens.To)
}
