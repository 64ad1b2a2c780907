package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// json writes the figures for programs.
func (f *curveFile) json(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(f)
}

// markdown writes the figures as a table beside their limits.
func (f *curveFile) markdown(w io.Writer) error {
	var out strings.Builder
	fmt.Fprintf(&out, "%s. %s, on %s: %s.\n\n```console\n$ %s\n```\n\n",
		f.Machine.Date.Format(time.DateOnly), f.Model, f.Device, f.Machine, f.Machine.Command)
	if r := f.Rates; r != nil {
		fmt.Fprintf(&out, "Limits are of rates measured in the same run: linear layers %s and attention %s GFLOP/s, copies to the device %s GB/s, its memory read at %s GB/s.\n\n",
			number(r.Linear/1e9), number(r.Attention/1e9), number(r.CopyIn/1e9), number(r.Read/1e9))
	}
	row := func(cells ...string) { fmt.Fprintf(&out, "| %s |\n", strings.Join(cells, " | ")) }
	row("method", "context", "chunk", "cache on", "prefill s", "limit s", "of the limit", "bound by", "decode ms", "limit ms", "of the limit", "bound by")
	row(strings.Split("---"+strings.Repeat(",---:", 2)+",---"+",---:,---:,---:,---"+",---:,---:,---:,---", ",")...)
	var missing []string
	for _, m := range f.Methods {
		name := m.Name
		if len(m.Lossy) > 0 {
			name += " (**lossy**)"
		}
		for _, p := range m.Points {
			if p.Error != "" {
				missing = append(missing, fmt.Sprintf("- %s at %d tokens: %s\n", m.Name, p.Context, p.Error))
				continue
			}
			chunk, place := none, "device"
			if p.Chunk > 0 {
				chunk = strconv.Itoa(p.Chunk)
			}
			if p.OnHost {
				place = "host"
			}
			cells := append([]string{name, strconv.Itoa(p.Context), chunk, place}, p.Prefill.cells(1)...)
			row(append(cells, p.Decode.cells(1e3)...)...)
		}
	}
	if len(missing) > 0 {
		out.WriteString("\nNot measured:\n\n" + strings.Join(missing, ""))
	}
	_, err := io.WriteString(w, out.String())
	return err
}

// cells are a time, its limit, its share of that and what bounds it, in parts of a
// second.
func (t *curveTime) cells(parts float64) []string {
	if t == nil {
		return fill(nil, 4)
	}
	if t.Limit == 0 {
		return fill([]string{number(parts * t.Seconds)}, 4)
	}
	return []string{number(parts * t.Seconds), number(parts * t.Limit), percent(&t.Share), t.Bound}
}
