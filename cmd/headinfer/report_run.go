package main

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"headinfer/eval"
	"headinfer/eval/report"
	"headinfer/kernels"
	"headinfer/transfer"
)

// runFacts are what a run's page has beside its summary.
type runFacts struct {
	machine benchMachine
	record  *transfer.Record // of --trace
	dead    []deadLetter     // the first of them
}

// deadLetter is a document that could not be processed.
type deadLetter struct{ id, stage, reason string }

// deadShown is how many dead letters a page lists at most.
const deadShown = 20

// page is a run's summary as --report has it.
func (s *summary) page(p *pipeline, beside *runFacts) *report.Page {
	page := &report.Page{
		Title: "Run of " + filepath.Base(p.File),
		Lead: fmt.Sprintf("%s in %s, %d in the dead letters; %s of device memory at the peak, where the standard method would take %s (computed).",
			counted(s.Answers, "answer"), shortTime(s.Took), s.DeadLetters, kernels.FormatBytes(s.Memory.Peak), kernels.FormatBytes(s.StandardDevice())),
		Facts: pageFacts(beside.machine, s.Model, s.Device, nil),
	}
	flow := flowPicture(p, s.Stages, s.Heads, s.Took)
	page.Sections = append(page.Sections,
		report.Section{Title: "Dataflow", Parts: []report.Part{s.flow(flow)}},
		report.Section{Title: "Work", Parts: s.work(beside.dead)},
		report.Section{Title: "Memory", Parts: s.memory()},
	)
	if section, ok := timelineSection([]benchTimeline{{filepath.Base(p.File), beside.record}}); ok {
		page.Sections = append(page.Sections, section)
	}
	return page
}

// flow is the pipeline's graph with what its stages did.
func (s *summary) flow(f eval.Flow) report.Picture {
	var words []string
	for _, l := range f.Levels {
		for _, n := range l.Nodes {
			if !n.Open {
				words = append(words, l.Name+", "+n.Name+": "+strings.Join(n.Figures, ", "))
			}
		}
	}
	return report.Picture{
		Name: "pipeline", Draw: f,
		Caption: "Items are what a stage took in or, of a source, gave on; the bar is the share of the run's time in the stage's own code. " +
			"Stages of the heads level only enqueue work, which the device does meanwhile.",
		Alt: "The pipeline's stages. " + strings.Join(words, ". "),
	}
}

// work is what was read and written, and what could not be.
func (s *summary) work(dead []deadLetter) (parts []report.Part) {
	t := report.Table{Columns: []report.Column{{Name: "phase", Text: true}, {Name: "tokens"}, {Name: "time", Unit: "s"}, {Name: "speed", Unit: "tokens/s"}}}
	for _, row := range []struct {
		name   string
		tokens int64
		took   time.Duration
	}{{"prefill", s.PromptTokens, s.Prefill}, {"decode", s.DecodeSteps, s.Decode}} {
		speed := none
		if row.tokens > 0 && row.took > 0 {
			speed = figures(float64(row.tokens) / row.took.Seconds())
		}
		t.Rows = append(t.Rows, []string{row.name, strconv.FormatInt(row.tokens, 10), figures(row.took.Seconds()), speed})
	}
	notes := report.List{
		fmt.Sprintf("%s of %d tokens; the longest text had %d.", counted(s.Answers, "answer"), s.AnswerTokens, s.Longest),
		fmt.Sprintf("%s of keys and values were moved to the device and %s to the host.", kernels.FormatBytes(s.MovedIn), kernels.FormatBytes(s.MovedOut)),
	}
	if s.Copying > 0 {
		notes = append(notes, fmt.Sprintf("Copying took %s, %.0f%% of it hidden behind computing.", shortTime(s.Copying), 100*s.HiddenShare))
	}
	if s.RandomWeights {
		notes = append(notes, "The model's weights are random, so that its answers mean nothing; times and sizes do.")
	}
	for _, why := range s.Lossy {
		notes = append(notes, "Lossy: "+why+".")
	}
	for _, c := range s.Auto {
		notes = append(notes, "Chosen for auto: "+c.String()+".")
	}
	for _, o := range s.Outputs {
		if o.Session.Before > 0 {
			notes = append(notes, fmt.Sprintf("%s has %d records, %d of them by earlier runs.", o.Path, o.Records, o.Session.Before))
		}
	}
	parts = append(parts, t, notes)
	if len(dead) > 0 {
		caption := "Dead letters"
		if s.DeadLetters > len(dead) {
			caption = fmt.Sprintf("Dead letters, the first %d of %d", len(dead), s.DeadLetters)
		}
		letters := report.Table{Caption: caption, Columns: []report.Column{{Name: "document", Text: true}, {Name: "stage", Text: true}, {Name: "reason", Text: true}}}
		for _, d := range dead {
			letters.Rows = append(letters.Rows, []string{d.id, d.stage, d.reason})
		}
		parts = append(parts, letters)
	}
	return parts
}

// memory is the device's memory at its peak beside what the standard method would take.
func (s *summary) memory() []report.Part {
	unit := unitFor(max(s.Memory.Peak, s.StandardDevice()))
	run, standard := eval.Stack{Name: "this run"}, eval.Stack{Name: "standard, computed", Planned: true}
	t := report.Table{Columns: []report.Column{{Name: "purpose", Text: true}, {Name: "this run", Unit: unit.name}, {Name: "standard, computed", Unit: unit.name}}}
	names, of := purposeNames(), map[kernels.Purpose]int64{
		// Operators need some workspace whatever the method.
		kernels.Weights: s.Standard.Weights, kernels.KVCache: s.Standard.KV, kernels.Activations: s.Standard.Activations, kernels.Workspace: s.Memory.AtPeak[kernels.Workspace],
	}
	for i, p := range kernels.Purposes() {
		run.Parts, standard.Parts = append(run.Parts, unit.of(s.Memory.AtPeak[p])), append(standard.Parts, unit.of(of[p]))
		t.Rows = append(t.Rows, []string{names[i], unit.cell(s.Memory.AtPeak[p]), unit.cell(of[p])})
	}
	t.Rows = append(t.Rows, []string{"together", unit.cell(s.Memory.Peak), unit.cell(s.StandardDevice())})
	stacks := eval.Stacks{Title: "Device memory by purpose, at its peak", Unit: unit.name, Parts: names, Groups: []eval.StackGroup{{Bars: []eval.Stack{run, standard}}}}
	if s.Memory.Budget > 0 && s.Memory.Budget < 2*max(s.Memory.Peak, s.StandardDevice()) {
		stacks.Limit, stacks.LimitName = unit.of(s.Memory.Budget), "budget, "+kernels.FormatBytes(s.Memory.Budget)
	}
	return []report.Part{report.Picture{
		Name: "memory", Draw: stacks,
		Caption: fmt.Sprintf("As the ledger counted it when it was highest, beside what the standard method would take for the longest text of %d tokens, the whole cache on the device and the prompt read in one piece.", s.Longest),
		Alt: fmt.Sprintf("Peak device memory: this run %s, of a budget of %s; the standard method would take %s", kernels.FormatBytes(s.Memory.Peak),
			kernels.FormatBytes(s.Memory.Budget), kernels.FormatBytes(s.StandardDevice())),
	}, t}
}

// shortTime writes a time without more digits than it has.
func shortTime(d time.Duration) string {
	if d >= time.Minute {
		return d.Round(time.Second).String()
	}
	return eval.Seconds(eval.Rounded(max(d.Round(time.Microsecond), 0).Seconds()))
}
