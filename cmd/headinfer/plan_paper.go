package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"headinfer/plan/paper"
)

// paperTable is a table of the paper with what stands beside it.
type paperTable struct{ paper.Table }

// MarshalJSON adds the differences to the cells.
func (p paperTable) MarshalJSON() ([]byte, error) {
	type cell struct {
		paper.Cell
		FollowsOff *float64 `json:"by_its_arithmetic_off,omitempty"` // as a part of the paper's
		OursOff    *float64 `json:"headinfer_off,omitempty"`
	}
	var cells []cell
	for _, c := range p.Cells {
		one := cell{Cell: c}
		if off, ok := c.Off(c.Follows); ok {
			one.FollowsOff = &off
		}
		if off, ok := c.Off(c.Ours); ok {
			one.OursOff = &off
		}
		cells = append(cells, one)
	}
	return json.Marshal(struct {
		paper.Table
		Cells []cell `json:"cells"`
	}{p.Table, cells})
}

// print writes each row as the paper has it and, below it, what follows from its
// arithmetic, headinfer's figures, and the differences of both.
func (p paperTable) print(out *strings.Builder, markdown bool) {
	title := fmt.Sprintf("Table %d of HeadInfer (arXiv 2502.12574): %s", p.Number, p.Title)
	if markdown {
		title = "**" + title + "**"
	}
	out.WriteString(title + "\n\n")
	t := table{append([]string{"", ""}, p.Columns...)}
	var reasons []string
	absent := !slices.ContainsFunc(p.Cells, func(c paper.Cell) bool { return c.Paper != nil })
	for _, row := range p.Rows {
		name := row
		line := func(what string, cell func(paper.Cell) string) {
			cells := []string{name, what}
			said := false
			for _, column := range p.Columns {
				text := ""
				if c, ok := p.Cell(row, column); ok {
					text = cell(c)
				}
				said = said || text != "" && text != none
				cells = append(cells, text)
			}
			if said {
				t = append(t, cells)
				name = ""
			}
		}
		line("paper", func(c paper.Cell) string {
			switch {
			case absent && c.Column == p.Columns[0]:
				return "not at hand" + noteMark(&reasons, c.Reason)
			case absent:
				return ""
			case c.Paper == nil || c.Reason == "":
				return c.Show(c.Paper)
			}
			return c.Show(c.Paper) + noteMark(&reasons, c.Reason)
		})
		line("by its arithmetic", func(c paper.Cell) string { return c.Show(c.Follows) })
		line("difference", func(c paper.Cell) string { return difference(c, c.Follows) })
		line("headinfer", func(c paper.Cell) string { return c.Show(c.Ours) })
		line("difference", func(c paper.Cell) string { return difference(c, c.Ours) })
	}
	t.render(out, markdown, 1)
	out.WriteByte('\n')
	for i, reason := range reasons {
		writeNote(out, markdown, footnote(i)+" "+capital(reason)+".")
	}
	for _, note := range p.Notes {
		writeNote(out, markdown, note)
	}
}

// superscripts are the digits of footnotes' marks.
var superscripts = []rune("⁰¹²³⁴⁵⁶⁷⁸⁹")

// footnote is a footnote's mark: its number, counted from 1.
func footnote(i int) string {
	var out strings.Builder
	for _, digit := range strconv.Itoa(i + 1) {
		out.WriteRune(superscripts[digit-'0'])
	}
	return out.String()
}

func noteMark(reasons *[]string, reason string) string {
	i := slices.Index(*reasons, reason)
	if i < 0 {
		i = len(*reasons)
		*reasons = append(*reasons, reason)
	}
	return footnote(i)
}

// difference is by how much a value differs from the paper's.
func difference(c paper.Cell, v *paper.Value) string {
	off, ok := c.Off(v)
	switch {
	case !ok:
		return none
	case c.Unit == paper.Word && off == 0:
		return "same"
	case c.Unit == paper.Word:
		return "other"
	}
	text := fmt.Sprintf("%+.1f%%", 100*off)
	if off >= 1 {
		text = fmt.Sprintf("×%.3g", 1+off)
	}
	return text
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
