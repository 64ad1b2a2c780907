package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
)

// evalGiven is what a cell has more if its task's texts are given, or its
// answers are in words.
type evalGiven struct {
	AtMost  bool        `json:"at_most,omitempty"` // Tokens is the most that a prompt may take
	Skipped int         `json:"skipped,omitempty"` // questions whose prompts take more
	F1      *float64    `json:"f1,omitempty"`      // mean, 0 to 1, of answers in words
	Groups  []evalGroup `json:"groups,omitempty"`  // parts of the samples, which may overlap
}

// evalGroup is the score of a part of a cell's samples.
type evalGroup struct {
	Name    string  `json:"name"`
	Samples int     `json:"samples"`
	Score   float64 `json:"score"` // mean, 0 to 1
}

// newEvalCell is the cell of a case that nothing has been asked of.
func newEvalCell(method string, c *evalCase, number int) evalCell {
	cell := evalCell{Method: method, Task: c.task.Name, Tokens: c.tokens, of: len(c.samples), number: number}
	cell.AtMost, cell.Skipped = c.task.Given(), c.skipped
	for _, name := range c.task.Groups {
		cell.Groups = append(cell.Groups, evalGroup{Name: name})
	}
	return cell
}

// count adds an answer to what the cell has beside its score; the cell's
// Samples count it already.
func (c *evalCell) count(r evalRecord, groups []string) {
	mean := func(before, with float64, n int) float64 { return before + (with-before)/float64(n) }
	if r.F1 != nil {
		if c.F1 == nil {
			c.F1 = new(float64)
		}
		*c.F1 = mean(*c.F1, *r.F1, c.Samples)
	}
	for i := range c.Groups {
		if g := &c.Groups[i]; slices.Contains(groups, g.Name) {
			g.Samples++
			g.Score = mean(g.Score, r.Score, g.Samples)
		}
	}
}

// length is the tokens of a cell's prompts as its row says them.
func (c *evalCell) length() string {
	if c.AtMost {
		return "≤" + strconv.Itoa(c.Tokens)
	}
	return strconv.Itoa(c.Tokens)
}

// partRows are the rows below a cell's: the scores of its groups, and F1.
func (r *evalReport) partRows(of evalCell) [][]string {
	var rows [][]string
	add := func(name string, part func(*evalCell) (samples int, score float64)) {
		row, most := []string{of.Task + ", " + name, of.length(), ""}, 0
		for _, m := range r.Methods {
			text := none
			if c := r.cell(m.Name, of.Task, of.Tokens); c != nil {
				if n, score := part(c); n > 0 {
					text, most = inPercent(score), max(most, n)
				}
			}
			row = append(row, text)
		}
		if row[2] = strconv.Itoa(most); most > 0 {
			rows = append(rows, row)
		}
	}
	add("F1", func(c *evalCell) (int, float64) {
		if c.F1 == nil {
			return 0, 0
		}
		return c.Samples, *c.F1
	})
	for i, g := range of.Groups {
		add(g.Name, func(c *evalCell) (int, float64) { return c.Groups[i].Samples, c.Groups[i].Score })
	}
	return rows
}

// skipped says how many questions were not asked, task by task.
func (r *evalReport) skipped(w io.Writer) {
	var said []string
	for _, c := range r.Cells {
		if c.Skipped > 0 && !slices.Contains(said, c.Task) {
			said = append(said, c.Task)
			fmt.Fprintf(w, "%s: %d of %d questions skipped, whose prompts take more than %d tokens\n", c.Task, c.Skipped, c.Skipped+c.of, c.Tokens)
		}
	}
}
