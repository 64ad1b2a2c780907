package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"headinfer/eval"
	"headinfer/eval/report"
	"headinfer/kernels"
	"headinfer/plan"
)

// page is the report as --report has it.
func (r *benchReport) page(timelines []benchTimeline) *report.Page {
	model, device := "", ""
	for _, row := range r.Rows {
		if row.Model != "" {
			model, device = row.Model, row.Device
		}
	}
	title := "Prefill and decode"
	if model != "" {
		title += " of " + model
	}
	p := &report.Page{Title: title, Lead: r.lead(), Facts: pageFacts(r.Machine, model, device, r.Rates)}
	p.Sections = append(p.Sections, report.Section{Title: "Speed", Parts: r.speed()}, report.Section{Title: "Memory", Parts: r.memoryParts()})
	if picture, ok := rooflinePicture(r.Rates, r.Rows); ok {
		p.Sections = append(p.Sections, report.Section{Title: "Roofline", Parts: []report.Part{picture}})
	}
	if section, ok := timelineSection(timelines); ok {
		p.Sections = append(p.Sections, section)
	}
	return p
}

// lead says what the longest context came to, by the first method that was measured there.
func (r *benchReport) lead() string {
	var best *benchRow
	for i, row := range r.Rows {
		if row.Decode != nil && (best == nil || row.Context > best.Context) {
			best = &r.Rows[i]
		}
	}
	if best == nil {
		return "No row could be measured."
	}
	lead := fmt.Sprintf("At %s tokens %s ", eval.Tokens(best.Context), best.Pipeline)
	if best.Prefill != nil {
		lead += fmt.Sprintf("reads the prompt in %s and ", eval.Seconds(eval.Rounded(best.Prefill.Seconds)))
	}
	lead += fmt.Sprintf("decodes a token in %s, with %s of device memory at the peak", eval.Seconds(eval.Rounded(best.Decode.Seconds)), kernels.FormatBytes(best.Memory.Peak))
	if best.how.OnHost {
		standard := best.model.Memory(plan.Standard(), best.Context, best.Context)
		lead += fmt.Sprintf("; the standard method would take %s (computed)", kernels.FormatBytes(standard.Device()))
	}
	return lead + "."
}

// speed is the times, drawn and in a table.
func (r *benchReport) speed() (parts []report.Part) {
	if picture, ok := curvesPicture(r.curves()); ok {
		parts = append(parts, picture)
	}
	t := report.Table{Caption: "Times and limits", By: "context", Columns: []report.Column{
		{Name: "method", Text: true}, {Name: "context", Unit: "tokens"}, {Name: "chunk", Unit: "tokens"}, {Name: "tile", Unit: "heads × tokens"},
		{Group: "prefill", Name: "time", Unit: "s"}, {Group: "prefill", Name: "speed", Unit: "tokens/s"}, {Group: "prefill", Name: "of limit"}, {Group: "prefill", Name: "hidden"},
		{Group: "decode, a token", Name: "time", Unit: "ms"}, {Group: "decode, a token", Name: "host", Unit: "ms"}, {Group: "decode, a token", Name: "of limit"},
		{Group: "decode, a token", Name: "copied", Unit: "GB/s"}, {Group: "decode, a token", Name: "hidden"},
	}}
	t.Rows = r.times()[2:]
	return append(parts, t, report.List(r.notes()))
}

// notes say what the figures are, and why some are missing.
func (r *benchReport) notes() []string {
	notes := []string{
		"Times are medians. “of limit” is the share of the speed that this device's measured rates allow: of arithmetic or of the link in prefill, of device memory or of the link in decode.",
		"“hidden” is the share of copying between host and device that went on while the device computed; “host” is what enqueueing a step took.",
	}
	told := map[string]bool{}
	for _, row := range r.Rows {
		if len(row.Lossy) > 0 && !told[row.Pipeline] {
			told[row.Pipeline] = true
			notes = append(notes, fmt.Sprintf("%s is lossy: %s.", row.Pipeline, strings.Join(row.Lossy, "; ")))
		}
		if row.Filled && !told["filled"] {
			told["filled"] = true
			notes = append(notes, "Rows without a prefill have a cache filled with random keys and values; no prompt was read.")
		}
	}
	return append(notes, r.missing()...)
}

// missing says why rows have no figures: of each method, at the first context, and at
// which others there are none either.
func (r *benchReport) missing() (notes []string) {
	var names []string
	first, others := map[string]benchRow{}, map[string][]string{}
	for _, row := range r.Rows {
		if row.Error == "" {
			continue
		}
		if slices.Contains(names, row.Pipeline) {
			others[row.Pipeline] = append(others[row.Pipeline], eval.Tokens(row.Context))
			continue
		}
		names, first[row.Pipeline] = append(names, row.Pipeline), row
	}
	for _, name := range names {
		text := fmt.Sprintf("%s at %s tokens: %s.", name, eval.Tokens(first[name].Context), first[name].Error)
		if len(others[name]) > 0 {
			text += " Nor at " + strings.Join(others[name], ", ") + "."
		}
		notes = append(notes, text)
	}
	return notes
}

// curvesPicture draws times against the context, if there are several.
func curvesPicture(f *curveFile) (report.Picture, bool) {
	var contexts []int
	var best []string
	for _, m := range f.Methods {
		for _, p := range m.Points {
			if !slices.Contains(contexts, p.Context) && (p.Prefill != nil || p.Decode != nil) {
				contexts = append(contexts, p.Context)
			}
			if p.Decode != nil {
				best = append(best, fmt.Sprintf("%s at %d tokens decodes in %s ms", m.Name, p.Context, figures(1e3*p.Decode.Seconds)))
			}
		}
	}
	c := f.drawing()
	if len(contexts) < 2 || len(c.Panels) == 0 {
		return report.Picture{}, false
	}
	c.Title, c.Note = "Time against the context", ""
	caption := "Both axes are of decades."
	if len(f.Limits) > 0 {
		caption += " Broken lines are limits: the least time that the measured rates allow."
	}
	return report.Picture{
		Name: "curves", Draw: c,
		Caption: caption,
		Alt:     "Prefill and decode times against the context: " + strings.Join(best, "; "),
	}, true
}

// memoryParts are the device's memory by purpose, drawn and in a table.
func (r *benchReport) memoryParts() (parts []report.Part) {
	if picture, ok := memoryPicture(r.Rows); ok {
		parts = append(parts, picture)
	}
	largest := int64(0)
	for _, row := range r.Rows {
		largest = max(largest, row.HostKV)
		if row.Memory != nil {
			largest = max(largest, row.Memory.Peak)
		}
	}
	unit := unitFor(largest)
	t := report.Table{Caption: "Peak memory by purpose", By: "context", Columns: []report.Column{{Name: "method", Text: true}, {Name: "context", Unit: "tokens"}, {Group: "device", Name: "peak", Unit: unit.name}}}
	for _, name := range purposeNames() {
		t.Columns = append(t.Columns, report.Column{Group: "device", Name: name, Unit: unit.name})
	}
	t.Columns = append(t.Columns, report.Column{Group: "device", Name: "planned", Unit: unit.name}, report.Column{Group: "host", Name: "keys and values", Unit: unit.name})
	for _, row := range r.Rows {
		cells := []string{row.Pipeline, strconv.Itoa(row.Context)}
		if row.Memory != nil {
			cells = append(cells, unit.cell(row.Memory.Peak))
			for _, p := range kernels.Purposes() {
				cells = append(cells, unit.cell(row.Memory.AtPeak[p]))
			}
			cells = append(cells, unit.cell(row.Planned.Device()), unit.cell(row.HostKV))
		}
		t.Rows = append(t.Rows, fill(cells, len(t.Columns)))
	}
	return append(parts, t, report.Text("“planned” is computed, and leaves operators' workspace out."))
}

// memoryPicture draws the device's memory by purpose for each method at each context, of
// rows sorted by that:
// as measured or, where a row has no figures, as computed; and, if it is not among
// the methods, what the standard one would take.
func memoryPicture(rows []benchRow) (report.Picture, bool) {
	var largest int64
	type source struct {
		pipeline string
		filled   bool
	}
	known := map[source]*benchRow{} // a row that was measured
	var model *plan.Model
	for i, row := range rows {
		if row.Memory == nil {
			continue
		}
		known[source{row.Pipeline, row.Filled}], model = &rows[i], &rows[i].model
		largest = max(largest, row.Memory.Peak, model.Memory(plan.Standard(), row.Context, row.Context).Device())
	}
	if model == nil {
		return report.Picture{}, false
	}
	unit := unitFor(largest)
	s := eval.Stacks{Title: "Device memory by purpose, at its peak", Unit: unit.name, Parts: purposeNames()}
	name := func(row benchRow) string {
		both := slices.ContainsFunc(rows, func(other benchRow) bool {
			return other.Pipeline == row.Pipeline && other.Context == row.Context && other.Filled != row.Filled
		})
		if row.Filled && both {
			return row.Pipeline + ", filled"
		}
		return row.Pipeline
	}
	computed := func(name string, m plan.Memory) eval.Stack {
		return eval.Stack{Name: name + ", computed", Parts: []float64{unit.of(m.Weights), unit.of(m.KV), unit.of(m.Activations), 0}, Planned: true}
	}
	var words []string
	var contexts []int // of the groups
	for _, row := range rows {
		if n := len(contexts); n == 0 || contexts[n-1] != row.Context {
			contexts = append(contexts, row.Context)
			s.Groups = append(s.Groups, eval.StackGroup{Title: eval.Tokens(row.Context) + " tokens"})
		}
		g := &s.Groups[len(s.Groups)-1]
		like := known[source{row.Pipeline, row.Filled}]
		if like == nil && (row.Filled || row.Chunk > 0) { // else nobody knows a prompt's passes
			like = known[source{row.Pipeline, !row.Filled}]
		}
		switch {
		case row.Memory != nil:
			bar := eval.Stack{Name: name(row)}
			for _, p := range kernels.Purposes() {
				bar.Parts = append(bar.Parts, unit.of(row.Memory.AtPeak[p]))
			}
			g.Bars = append(g.Bars, bar)
			words = append(words, fmt.Sprintf("%s at %d tokens %s %s", name(row), row.Context, figures(unit.of(row.Memory.Peak)), unit.name))
		case like != nil:
			how := like.how
			switch {
			case row.Filled:
				how.Chunk = 1 // no prompt is read
			case row.Chunk > 0:
				how.Chunk = row.Chunk
			}
			g.Bars = append(g.Bars, computed(name(row), like.model.Memory(how, row.Context, row.Context)))
		default:
			g.Bars = append(g.Bars, eval.Stack{Name: name(row), Missing: row.Error})
		}
	}
	if known[source{"standard", false}] == nil && known[source{"standard", true}] == nil {
		for i, context := range contexts {
			s.Groups[i].Bars = append(s.Groups[i].Bars, computed("standard", model.Memory(plan.Standard(), context, context)))
		}
	}
	if largest, least := longestBars(s.Groups); largest > 3*least {
		s.OwnScales, s.Note = true, "each context on a scale of its own"
	}
	return report.Picture{
		Name: "memory", Draw: s,
		Caption: "As the ledger counted it when it was highest. Thinner bars are computed and not measured, without operators' workspace.",
		Alt:     "Peak device memory by purpose: " + strings.Join(words, "; "),
	}, true
}

// longestBars returns the largest and the least of the groups' longest bars.
func longestBars(groups []eval.StackGroup) (largest, least float64) {
	least = math.Inf(1)
	for _, g := range groups {
		longest := 0.0
		for _, b := range g.Bars {
			sum := 0.0
			for _, v := range b.Parts {
				sum += v
			}
			longest = max(longest, sum)
		}
		largest, least = max(largest, longest), min(least, longest)
	}
	return largest, least
}
