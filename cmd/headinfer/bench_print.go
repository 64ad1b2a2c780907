package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"headinfer/kernels"
)

// print writes the report for a person: times, memory, what they stand beside,
// and why rows have no figures.
func (r *benchReport) print(w io.Writer) error {
	var out strings.Builder
	r.times().write(&out)
	out.WriteByte('\n')
	r.memory().write(&out)
	out.WriteByte('\n')
	r.writeRead(&out)
	r.about(&out)
	told := map[string]bool{}
	for _, row := range r.Rows {
		if len(row.Lossy) > 0 && !told[row.Pipeline] {
			told[row.Pipeline] = true
			fmt.Fprintf(&out, "%s is lossy: %s\n", row.Pipeline, strings.Join(row.Lossy, "; "))
		}
	}
	for _, t := range r.Traces {
		t.print(func(name, format string, args ...any) {
			fmt.Fprintf(&out, t.Pipeline+", "+strings.TrimSpace(name)+": "+format+"\n", args...)
		})
	}
	for _, row := range r.Rows {
		if row.Error != "" {
			fmt.Fprintf(&out, "%s at %d tokens: %s\n", row.Pipeline, row.Context, row.Error)
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// times is the table of speeds, limits and copies.
func (r *benchReport) times() table {
	t := table{
		{"", "", "", "", "prefill", "", "of", "copies", "decode", "host", "of", "copied", "copies"},
		{"method", "context", "chunk", "tile", "s", "tokens/s", "limit", "hidden", "ms", "ms", "limit", "GB/s", "hidden"},
	}
	for _, row := range r.Rows {
		cells := []string{row.Pipeline, strconv.Itoa(row.Context)}
		if row.Decode == nil {
			t = append(t, fill(cells, len(t[0])))
			continue
		}
		if p := row.Prefill; p != nil {
			cells = append(cells, strconv.Itoa(row.Chunk), tileOf(row), number(p.Seconds), number(p.Tokens), reached(p.Limit), percent(p.Hidden))
		} else {
			cells = fill(append(cells, none, tileOf(row)), len(cells)+6)
		}
		d := row.Decode
		copied := none
		if d.In > 0 {
			copied = number(d.InRate / 1e9)
		}
		t = append(t, append(cells, number(1e3*d.Seconds), number(1e3*d.Host), reached(d.Limit), copied, percent(d.Hidden)))
	}
	return t
}

// memory is the table of what rows took.
func (r *benchReport) memory() table {
	t := table{
		{"", "", "device", "", "", "", "", "beside", "card", "card", "host"},
		{"method", "context", "peak", "weights", "kv", "activations", "workspace", "plan", "before", "with it", "kv"},
	}
	for _, row := range r.Rows {
		cells := []string{row.Pipeline, strconv.Itoa(row.Context)}
		if row.Memory == nil {
			t = append(t, fill(cells, len(t[0])))
			continue
		}
		cells = append(cells, kernels.FormatBytes(row.Memory.Peak))
		for _, p := range kernels.Purposes() {
			cells = append(cells, size(row.Memory.AtPeak[p]))
		}
		before, with := none, none
		if use := row.InUse; use != nil {
			before, with = size(use.Opened), size(max(use.Prefill, use.Decode))
		}
		beside := row.Memory.Peak - row.Memory.AtPeak[kernels.Workspace] - row.Planned.Device()
		t = append(t, append(cells, fmt.Sprintf("%+d B", beside), before, with, size(row.HostKV)))
	}
	return t
}

// about says what was measured, and on what.
func (r *benchReport) about(out io.Writer) {
	device, what, filled, read := "", "", false, false
	for _, row := range r.Rows {
		if row.Device != "" {
			device = row.Device
		}
		if row.Model != "" { // with --weights, rows differ in the encoding
			what = strings.Replace(row.Model, " in "+row.Weights+")", ")", 1)
		}
		filled, read = filled || row.Filled, read || !row.Filled
	}
	if what != "" {
		fmt.Fprintf(out, "model: %s\n", what)
	}
	switch {
	case filled && read:
		fmt.Fprintln(out, "cache: in rows without a prefill, filled with random keys and values; no prompt was read")
	case filled:
		fmt.Fprintln(out, "cache: filled with random keys and values; no prompt was read")
	}
	fmt.Fprintf(out, "machine: %s\n", r.Machine)
	if device != "" {
		fmt.Fprintf(out, "device: %s\n", device)
	}
	if m := r.Rates; m != nil {
		fmt.Fprintf(out, "rates: copies in %s GB/s, out %s; linear layers %s GFLOP/s, attention %s; reads %s GB/s\n",
			number(m.CopyIn/1e9), number(m.CopyOut/1e9), number(m.Linear/1e9), number(m.Attention/1e9), number(m.Read/1e9))
	}
}

// tileOf writes KV heads × tokens.
func tileOf(r benchRow) string {
	if r.Span == r.Context {
		return fmt.Sprintf("%d×all", r.Group)
	}
	return fmt.Sprintf("%d×%d", r.Group, r.Span)
}

// none stands for a figure that there is not.
const none = "—"

// fill adds to cells until there are n.
func fill(cells []string, n int) []string {
	for len(cells) < n {
		cells = append(cells, none)
	}
	return cells
}

// number writes a figure to three digits or more.
func number(v float64) string {
	if v >= 100 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return fmt.Sprintf("%#.3g", v)
}

func reached(l *benchLimit) string {
	if l == nil {
		return none
	}
	return fmt.Sprintf("%.0f%%", 100*l.Share)
}

func percent(share *float64) string {
	if share == nil {
		return none
	}
	return fmt.Sprintf("%.0f%%", 100**share)
}

func size(bytes int64) string {
	if bytes == 0 {
		return none
	}
	return kernels.FormatBytes(bytes)
}

// table is rows of equally many cells.
type table [][]string

// write sets the first column to the left and the others to the right.
func (t table) write(out *strings.Builder) {
	widths := make([]int, len(t[0]))
	for _, row := range t {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range t {
		var line strings.Builder
		for i, cell := range row {
			room := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				line.WriteString(cell + room)
			} else {
				line.WriteString("  " + room + cell)
			}
		}
		out.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
}
