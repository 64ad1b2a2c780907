package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// save writes ablation.json and ablation.md, whole, in place of earlier ones.
func (r *ablateReport) save(dir string) error {
	r.Files = []string{filepath.Join(dir, "ablation.md"), filepath.Join(dir, "ablation.json"), filepath.Join(dir, "samples.jsonl")}
	err := errors.Join(replaceFile(r.Files[0], r.markdown), replaceFile(r.Files[1], func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}))
	if err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	return nil
}

// replaceFile writes a file under another name and renames it.
func replaceFile(path string, write func(io.Writer) error) error {
	partial := path + ".partial"
	if err := writeFile(partial, write); err != nil {
		return err
	}
	return os.Rename(partial, path)
}

// markdown writes the tables for a page.
func (r *ablateReport) markdown(w io.Writer) error {
	var out strings.Builder
	fmt.Fprintf(&out, "# %s\n\nTimes are medians of a table's rounds; ± is the largest less the smallest, as a share of\n"+
		"the median. Under plan is by how much plan's figure is over the measured one, of memory without\n"+
		"operators' workspace. ×first compares with the first row.\n",
		strings.TrimSuffix(filepath.Base(strings.TrimPrefix(r.Matrix, carried)), ".yaml"))
	for _, s := range r.sheets(true) {
		fmt.Fprintf(&out, "\n## %s%s\n\n", s.title, s.ofRounds())
		s.markdown(&out)
	}
	if lines := r.claimLines(); len(lines) > 0 {
		out.WriteString("\n## What the figures show\n\n- " + strings.Join(lines, "\n- ") + "\n")
	}
	out.WriteString("\n## Measured\n\n- " + strings.Join(r.about(), "\n- ") + "\n")
	_, err := io.WriteString(w, out.String())
	return err
}

// ofRounds says for a heading of how many rounds the table's times are: filled caches
// may be measured in fewer than prompts.
func (s sheet) ofRounds() string {
	switch s.rounds {
	case 0:
		return ""
	case 1:
		return " (one round)"
	}
	return fmt.Sprintf(" (medians of %d rounds)", s.rounds)
}

// markdown writes the table with its notes.
func (s sheet) markdown(out *strings.Builder) {
	rows := append([][]string{s.head}, s.rows...)
	widths := make([]int, len(s.head))
	for _, row := range rows {
		for i := range row {
			row[i] = strings.ReplaceAll(row[i], "|", `\|`)
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	for i, row := range rows {
		for j, cell := range row {
			room := strings.Repeat(" ", widths[j]-utf8.RuneCountInString(cell))
			if j == 0 {
				out.WriteString("| " + cell + room + " |")
			} else {
				out.WriteString(" " + room + cell + " |")
			}
		}
		out.WriteByte('\n')
		if i > 0 {
			continue
		}
		for j, width := range widths {
			switch j {
			case 0:
				out.WriteString("|" + strings.Repeat("-", width+2) + "|")
			default:
				out.WriteString(strings.Repeat("-", width+1) + ":|")
			}
		}
		out.WriteByte('\n')
	}
	for _, note := range s.notes {
		out.WriteString("\n" + note + "\n")
	}
}
