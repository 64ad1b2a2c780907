package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"headinfer/config"
	"headinfer/config/matrix"
	"headinfer/kernels"
)

// sheet is a table with what stands over and under it.
type sheet struct {
	title  string
	rounds int        // that its times are of; 0: it has none
	head   []string   // of the columns; the first's rows are words
	rows   [][]string // as many cells as columns
	notes  []string
}

// column is one of a table of times.
type column struct {
	head string
	cell func(*ablateCell) string
}

// print writes the report for a person.
func (r *ablateReport) print(w io.Writer) error {
	var out strings.Builder
	for _, s := range r.sheets(false) {
		out.WriteString(s.title + "\n")
		table(append([][]string{s.head}, s.rows...)).write(&out)
		for _, note := range s.notes {
			out.WriteString(note + "\n")
		}
		out.WriteByte('\n')
	}
	for _, line := range slices.Concat(r.claimLines(), r.about()) {
		out.WriteString(line + "\n")
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// claimLines say which of what was expected holds.
func (r *ablateReport) claimLines() (lines []string) {
	for _, c := range r.Claims {
		lines = append(lines, c.String())
	}
	return lines
}

// about says what was measured, and on what.
func (r *ablateReport) about() (lines []string) {
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	if most := r.workspace(); most > 0 && r.wants(matrix.Memory) {
		add("device memory is without the workspace of operators, which rows share: up to %s", kernels.FormatBytes(most))
	}
	if r.Model != "" {
		add("model: %s", r.Model)
	}
	add("machine: %s", r.Machine)
	add("device: %s", r.Device)
	if m := r.Rates; m != nil {
		add("rates: copies in %s GB/s, out %s; linear layers %s GFLOP/s, attention %s; reads %s GB/s",
			number(m.CopyIn/1e9), number(m.CopyOut/1e9), number(m.Linear/1e9), number(m.Attention/1e9), number(m.Read/1e9))
	}
	add("command: %s", r.Machine.Command)
	for _, row := range r.Rows {
		if len(row.Lossy) > 0 {
			add("%s is lossy: %s", row.Name, strings.Join(row.Lossy, "; "))
		}
	}
	for _, file := range r.Files {
		add("written: %s", file)
	}
	return lines
}

// workspace is the most that operators had.
func (r *ablateReport) workspace() (most int64) {
	for _, row := range r.Rows {
		for _, c := range row.Cells {
			if c.Memory != nil {
				most = max(most, c.Memory.AtPeak[kernels.Workspace])
			}
		}
	}
	return most
}

// sheets are the report's tables; wide ones are no terminal's.
func (r *ablateReport) sheets(wide bool) (all []sheet) {
	for _, at := range r.contexts() {
		all = append(all, r.times(at, wide))
	}
	for _, s := range []sheet{r.longest(), r.accuracies(), r.distances()} {
		if len(s.rows) > 0 {
			all = append(all, s)
		}
	}
	return all
}

// times is the table of a context.
func (r *ablateReport) times(at cellAt, wide bool) sheet {
	s := sheet{title: fmt.Sprintf("%s tokens, a prompt that is read", config.Count(at.tokens))}
	if at.filled {
		s.title = fmt.Sprintf("%s tokens, a cache that is filled", config.Count(at.tokens))
	}
	first := (*ablateCell)(nil)
	for i := range r.Rows {
		if c := r.Rows[i].cell(at.tokens, at.filled); c != nil && c.Error == "" {
			first = c
			break
		}
	}
	columns := r.columns(at, first, wide)
	s.head = []string{"row"}
	for _, c := range columns {
		s.head = append(s.head, c.head)
	}
	for i := range r.Rows {
		c := r.Rows[i].cell(at.tokens, at.filled)
		if c == nil {
			continue
		}
		cells := []string{r.Rows[i].Name}
		if c.Error != "" {
			s.notes = append(s.notes, fmt.Sprintf("[%d] %s: %s", len(s.notes)+1, c.Pipeline, c.Error))
			s.rows = append(s.rows, fill(append(cells, fmt.Sprintf("%s [%d]", none, len(s.notes))), len(s.head)))
			continue
		}
		if c.Note != "" {
			s.notes = append(s.notes, fmt.Sprintf("[%d] %s: %s", len(s.notes)+1, c.Pipeline, c.Note))
			cells[0] += fmt.Sprintf(" [%d]", len(s.notes))
		}
		s.rounds = max(s.rounds, c.Repeats)
		for _, column := range columns {
			cells = append(cells, column.cell(c))
		}
		s.rows = append(s.rows, cells)
	}
	return s
}

// columns are those that the measures ask for. first is the row that others are
// compared with; nil if none has figures.
func (r *ablateReport) columns(at cellAt, first *ablateCell, wide bool) (all []column) {
	predicted := r.Rates != nil
	if r.wants(matrix.Prefill) && !at.filled {
		all = append(all,
			column{"prefill s", func(c *ablateCell) string { return number(c.Prefill.Seconds) + plusMinus(c.PrefillSpread) }},
			column{"×first", func(c *ablateCell) string { return ratio(c.Prefill.Seconds, first.Prefill.Seconds) }})
		if predicted {
			all = append(all, column{"plan", func(c *ablateCell) string { return c.besidePlan(c.Prefill, 1, wide) }})
		}
	}
	if r.wants(matrix.Decode) {
		all = append(all,
			column{"decode ms", func(c *ablateCell) string { return number(1e3*c.Decode.Seconds) + plusMinus(c.DecodeSpread) }},
			column{"×first", func(c *ablateCell) string { return ratio(c.Decode.Seconds, first.Decode.Seconds) }})
		if predicted {
			all = append(all, column{"plan", func(c *ablateCell) string { return c.besidePlan(c.Decode, 1e3, wide) }})
		}
	}
	if r.wants(matrix.Memory) {
		all = append(all,
			column{"device", func(c *ablateCell) string { return kernels.FormatBytes(c.ownPeak()) }},
			column{"kv", func(c *ablateCell) string { return size(c.Memory.AtPeak[kernels.KVCache]) }},
			column{"activations", func(c *ablateCell) string { return size(c.Memory.AtPeak[kernels.Activations]) }},
			column{"plan", func(c *ablateCell) string {
				return apart(float64(c.Planned.Device()), float64(c.ownPeak()))
			}})
		if wide {
			all = append(all,
				column{"weights", func(c *ablateCell) string { return size(c.Memory.AtPeak[kernels.Weights]) }},
				column{"workspace", func(c *ablateCell) string { return size(c.Memory.AtPeak[kernels.Workspace]) }},
				column{"host kv", func(c *ablateCell) string { return size(c.HostKV) }})
		}
	}
	if r.wants(matrix.Moved) {
		if !at.filled {
			all = append(all,
				column{"read in", func(c *ablateCell) string { return size(c.Prefill.In) }},
				column{"out", func(c *ablateCell) string { return size(c.Prefill.Out) }})
		}
		all = append(all, column{"a token in", func(c *ablateCell) string { return size(c.Decode.In) }})
	}
	if r.wants(matrix.Hidden) {
		if !at.filled {
			all = append(all, column{"hidden", func(c *ablateCell) string { return percent(c.Prefill.Hidden) }})
		}
		all = append(all, column{"decoding", func(c *ablateCell) string { return percent(c.Decode.Hidden) }})
	}
	return all
}

// ownPeak is the device's memory at its peak without operators' workspace: what that
// is, rows measured before have a part in.
func (c *ablateCell) ownPeak() int64 { return c.Memory.Peak - c.Memory.AtPeak[kernels.Workspace] }

// plusMinus is a spread behind a figure.
func plusMinus(spread *float64) string {
	if spread == nil {
		return ""
	}
	return fmt.Sprintf(" ±%.0f%%", 100**spread)
}

func ratio(figure, of float64) string { return fmt.Sprintf("%.2f", figure/of) }

// besidePlan is by how much plan's time for a phase is over the measured one; where
// there is room, behind that time itself, in the unit of so many to the second.
func (c *ablateCell) besidePlan(p *benchPhase, unit float64, wide bool) string {
	if c.Predicted == nil {
		return none
	}
	seconds := c.Predicted.Decode.Seconds
	if p == c.Prefill {
		seconds = c.Predicted.Prefill.Seconds
	}
	text := fmt.Sprintf("%+.0f%%", 100*(seconds/p.Seconds-1))
	if wide {
		text = number(unit*seconds) + " " + text
	}
	return text
}

// longest is the table of the longest contexts.
func (r *ablateReport) longest() sheet {
	measured := r.wants(matrix.Longest)
	s := sheet{title: "longest context, tokens", head: []string{"row", "by plan"}}
	if measured {
		s.head = append(s.head, "measured", "plan", "stopped by", "device peak", "host kv", "s")
	}
	if !measured && !r.wants(matrix.Memory) {
		return s
	}
	for _, row := range r.Rows {
		cells := []string{row.Name, none}
		if row.Planned != nil {
			cells[1] = plannedTokens(*row.Planned)
		}
		switch l := row.Longest; {
		case !measured:
		case l != nil:
			cells[1] = plannedTokens(l.Planned)
			peak := none
			if l.Memory != nil {
				peak = kernels.FormatBytes(l.Memory.Peak)
			}
			cells = append(cells, strconv.Itoa(l.Tokens), apart(float64(l.Planned), float64(l.Tokens)), l.Stopped, peak, size(l.HostKV), number(l.Seconds))
		case row.Errors[matrix.Longest] != "":
			s.note(row, matrix.Longest, &cells)
		}
		if cells[1] != none || len(cells) > 2 {
			s.rows = append(s.rows, fill(cells, len(s.head)))
		}
	}
	return s
}

// plannedTokens is plan's longest context.
func plannedTokens(tokens int) string {
	if tokens >= mostPlanned {
		return "any"
	}
	return strconv.Itoa(tokens)
}

// note adds why a row has no figure.
func (s *sheet) note(row ablateRow, measure string, cells *[]string) {
	s.notes = append(s.notes, fmt.Sprintf("[%d] %s: %s", len(s.notes)+1, row.Name, row.Errors[measure]))
	*cells = append(*cells, fmt.Sprintf("%s [%d]", none, len(s.notes)))
}

// accuracies is the table of scores.
func (r *ablateReport) accuracies() sheet {
	s := sheet{title: "accuracy", head: []string{"row", "task", "tokens", "questions", "score %"}}
	for _, row := range r.Rows {
		cells := []string{row.Name}
		switch f := row.Accuracy; {
		case f != nil:
			s.rows = append(s.rows, append(cells, f.Task, strconv.Itoa(f.Tokens), strconv.Itoa(f.Questions), inPercent(f.Score)))
		case row.Errors[matrix.Accuracy] != "":
			s.note(row, matrix.Accuracy, &cells)
			s.rows = append(s.rows, fill(cells, len(s.head)))
		}
	}
	return s
}

// distances is the table of logits beside standard's.
func (r *ablateReport) distances() sheet {
	s := sheet{title: "distance of logits from those of standard", head: []string{"row", "tokens", "compared", "largest", "KL, nats", "same token"}}
	for _, row := range r.Rows {
		cells := []string{row.Name}
		switch f := row.Distance; {
		case f != nil:
			s.rows = append(s.rows, append(cells, strconv.Itoa(f.Tokens), strconv.Itoa(f.Compared), fmt.Sprintf("%.2e", f.Largest), fmt.Sprintf("%.2e", f.KL), inPercent(f.SameToken)+"%"))
		case row.Errors[matrix.Distance] != "":
			s.note(row, matrix.Distance, &cells)
			s.rows = append(s.rows, fill(cells, len(s.head)))
		}
	}
	return s
}
