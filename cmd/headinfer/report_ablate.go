package main

import (
	"path/filepath"
	"slices"
	"strings"

	"headinfer/eval/report"
	"headinfer/kernels"
)

// page is the report as --report has it: what was expected and whether it holds, the
// tables, and bench's pictures of all rows.
func (r *ablateReport) page() *report.Page {
	bench := &benchReport{Machine: r.Machine, Rates: r.Rates, Rows: r.benchRows()}
	name := strings.TrimSuffix(filepath.Base(r.Matrix), filepath.Ext(r.Matrix))
	p := &report.Page{Title: "Ablation: " + name, Lead: bench.lead(), Facts: pageFacts(r.Machine, r.Model, r.Device, r.Rates)}
	if claims := r.claimLines(); len(claims) > 0 {
		p.Sections = append(p.Sections, report.Section{Title: "What was expected", Parts: []report.Part{report.List(claims)}})
	}
	tables := report.Section{Title: "Measured"}
	for _, s := range r.sheets(false) {
		t := report.Table{Caption: s.title, Rows: s.rows}
		for i, head := range s.head {
			t.Columns = append(t.Columns, report.Column{Name: head, Text: i == 0})
		}
		tables.Parts = append(tables.Parts, t)
		if len(s.notes) > 0 {
			tables.Parts = append(tables.Parts, report.List(s.notes))
		}
	}
	notes := report.List{"Times are medians; ± is the largest less the smallest, as a share of the median. “×first” compares with the first row that has figures; “plan” is by how much what was planned is over what was measured."}
	if most := r.workspace(); most > 0 {
		notes = append(notes, "Device memory is without the workspace of operators, which rows share: up to "+kernels.FormatBytes(most)+".")
	}
	for _, row := range r.Rows {
		if len(row.Lossy) > 0 {
			notes = append(notes, row.Name+" is lossy: "+strings.Join(row.Lossy, "; ")+".")
		}
	}
	tables.Parts = append(tables.Parts, notes)
	p.Sections = append(p.Sections, tables)
	for _, section := range []struct {
		title string
		draw  func() (report.Picture, bool)
	}{
		{"Speed", func() (report.Picture, bool) { return curvesPicture(bench.curves()) }},
		{"Memory", func() (report.Picture, bool) { return memoryPicture(bench.Rows) }},
		{"Roofline", func() (report.Picture, bool) { return rooflinePicture(bench.Rates, bench.Rows) }},
	} {
		if picture, ok := section.draw(); ok {
			p.Sections = append(p.Sections, report.Section{Title: section.title, Parts: []report.Part{picture}})
		}
	}
	return p
}

// benchRows are all cells, by context.
func (r *ablateReport) benchRows() (rows []benchRow) {
	for _, row := range r.Rows {
		for _, c := range row.Cells {
			rows = append(rows, c.benchRow)
		}
	}
	slices.SortStableFunc(rows, func(a, b benchRow) int { return a.Context - b.Context })
	return rows
}
