package main

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"headinfer/eval"
	"headinfer/eval/report"
)

// checkReport is the function of that name, for what has a page.
func (o *evalOptions) checkReport(f *pflag.FlagSet) error {
	if o.report != "" && (o.findHeads != "" || o.wantsPerplexity()) {
		return usage(errors.New("--report: a page is of tasks with answers; leave it out with --find-heads and --task perplexity, whose --json has all figures"))
	}
	return checkReport(f, o.report)
}

// page is the report as --report has it.
func (r *evalReport) page(out *evalOutput) *report.Page {
	var names []string
	for _, m := range r.Methods {
		names = append(names, m.Name)
	}
	p := &report.Page{Title: "Long-context answers of " + r.Model, Lead: r.lead(), Facts: pageFacts(r.Machine, r.Model, r.Device, nil)}
	t := r.table()
	columns := []report.Column{{Name: "task", Text: true}, {Name: "context", Unit: "tokens"}, {Name: "samples"}}
	for _, name := range t[0][len(columns):] {
		columns = append(columns, report.Column{Group: "score", Name: name, Unit: "%"})
	}
	p.Sections = append(p.Sections, report.Section{Title: "Scores", Parts: []report.Part{
		report.Table{Caption: "Mean score of each task", By: "task", Columns: columns, Rows: t[1:]}, report.List(r.notes()),
	}})
	maps := report.Section{Title: "Scores by depth", Parts: []report.Part{report.Text(
		"How well a fact is found at each depth of the text, from its beginning (0%) to its end (100%). Figures in the cells are mean scores in percent.")}}
	for _, method := range names {
		for _, task := range tasksWithDepth() {
			heat, any := out.heatMap(r, method, task)
			if !any {
				continue
			}
			heat.Title = task + ", " + method
			maps.Parts = append(maps.Parts, heatPicture(task+"-"+method, heat))
		}
	}
	if len(maps.Parts) > 1 {
		p.Sections = append(p.Sections, maps)
	}
	return p
}

// lead says how the methods did over all that they were asked.
func (r *evalReport) lead() string {
	var parts []string
	for _, m := range r.Methods {
		sum, n := 0.0, 0
		for _, c := range r.Cells {
			if c.Method == m.Name {
				sum += c.Score * float64(c.Samples)
				n += c.Samples
			}
		}
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%s %s%% (of %d)", m.Name, inPercent(sum/float64(n)), n))
		}
	}
	if len(parts) == 0 {
		return "No question could be answered."
	}
	text := "Mean score: " + strings.Join(parts, ", ")
	if r.Identical.Of > 0 {
		text += fmt.Sprintf(". The exact methods gave the same answer to %d of %d questions", r.Identical.Same, r.Identical.Of)
	}
	return text + "."
}

// notes are what is lossy, and why cells have no score.
func (r *evalReport) notes() (notes []string) {
	for _, m := range r.Methods {
		for _, what := range m.Lossy {
			notes = append(notes, fmt.Sprintf("%s is lossy: %s.", m.Name, what))
		}
	}
	if r.Random {
		notes = append(notes, "The model's weights are random, so that its answers mean nothing.")
	}
	for _, c := range r.Cells {
		if c.Error != "" {
			notes = append(notes, fmt.Sprintf("%s, %s at %d tokens: %s.", c.Method, c.Task, c.Tokens, c.Error))
		}
	}
	return append(notes, fmt.Sprintf("Questions and texts follow from the seed %d: the same command asks the same.", r.Seed))
}

// heatPicture puts a map on the page.
func heatPicture(name string, heat eval.HeatMap) report.Picture {
	var lengths []string
	for j, n := range heat.Lengths {
		sum, cells := 0.0, 0
		for i := range heat.Depths {
			if score := heat.Scores[i][j]; !math.IsNaN(score) {
				sum += score
				cells++
			}
		}
		if cells > 0 {
			lengths = append(lengths, fmt.Sprintf("%s%% at %s tokens", inPercent(sum/float64(cells)), eval.Tokens(n)))
		}
	}
	caption := "Mean score over depths: " + strings.Join(lengths, ", ") + "."
	return report.Picture{Name: pictureName(name), Draw: heat, Small: len(heat.Lengths) <= 6, Caption: caption, Alt: heat.Title + ". " + caption}
}

// pictureName makes a name for files of one that may have other letters.
func pictureName(name string) string {
	allowed := []rune("abcdefghijklmnopqrstuvwxyz0123456789._-")
	return strings.Map(func(c rune) rune {
		if slices.Contains(allowed, c) {
			return c
		}
		return '-'
	}, strings.ToLower(name))
}
