package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/rs/zerolog"

	"headinfer/kernels"
	"headinfer/stages"
)

// longestReport is what bench --longest prints.
type longestReport struct {
	Machine benchMachine `json:"machine"`
	Model   string       `json:"model"`
	Device  string       `json:"device"`
	Budget  int64        `json:"device_memory_bytes"`
	Rows    []longestRow `json:"longest"`
}

// otherThanLongest are flags that a search for the longest context has no use for.
var otherThanLongest = []string{"context", "curve", "kv-fill", "kv-fill-above", "repeats", "decode-tokens", "trace", "report", "limits"}

// runLongest finds every pipeline's longest context. With an error, the report has the
// rows done before it; it is nil if nothing was begun.
func (o *benchOptions) runLongest(ctx context.Context, files []string, said func(string) bool, errOut io.Writer) (*longestReport, error) {
	if i := slices.IndexFunc(otherThanLongest, said); i >= 0 {
		return nil, usage(fmt.Errorf("--longest finds the context by itself, with one pass and one token; leave --%s out", otherThanLongest[i]))
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	all, err := o.pipelines(files)
	if err != nil {
		return nil, err
	}
	log := newLogger(errOut)
	for _, p := range all {
		if err := fetchModel(ctx, p.pipeline, log); err != nil {
			return nil, err
		}
	}
	report := &longestReport{Machine: thisMachine()}
	l := &lab{log: log}
	for _, p := range all {
		if err = o.longestOf(ctx, l, p, report, log); err != nil {
			break
		}
	}
	err = errors.Join(err, l.close())
	switch {
	case ctx.Err() != nil:
		what := "interrupted before any row was done"
		if len(report.Rows) > 0 {
			what = "interrupted; the rows that were done are printed"
		}
		err = &exitError{exitInterrupted, errors.New(what)}
	case err == nil && !slices.ContainsFunc(report.Rows, func(r longestRow) bool { return r.Error == "" }):
		err = errors.New("no row could be measured")
	}
	if len(report.Rows) == 0 {
		return nil, err
	}
	return report, err
}

// longestOf adds a pipeline's row.
func (o *benchOptions) longestOf(ctx context.Context, l *lab, p benchPipeline, report *longestReport, log zerolog.Logger) error {
	if err := l.open(p.Pipeline); err != nil {
		return err
	}
	report.Model, report.Device, report.Budget = l.checkpoint.Config.Name, l.device.Info().Name, l.device.Ledger().Usage().Budget
	row, err := l.longest(ctx, p.pipeline, p.name, o.chunk, l.room.of(p.Device))
	if err != nil {
		heads := (*stages.HeadsError)(nil)
		if ctx.Err() != nil || l.device == nil || l.device.Err() != nil || errors.As(err, new(*exitError)) || errors.As(err, &heads) {
			return usageOf(heads, err)
		}
		row = &longestRow{Pipeline: p.name, Error: err.Error()}
	}
	report.Rows = append(report.Rows, *row)
	e := log.Info().Str("pipeline", row.Pipeline)
	if row.Error != "" {
		e.Str("error", row.Error).Msg("not measured")
		return l.stop()
	}
	e.Int("longest", row.Tokens).Str("stopped_by", row.Stopped).Float64("s", row.Seconds).Msg("measured")
	return l.stop()
}

// usageOf makes an error of the heads level one of usage.
func usageOf(heads *stages.HeadsError, err error) error {
	if heads != nil {
		return usage(err)
	}
	return err
}

// print writes the report for a person.
func (r *longestReport) print(w io.Writer) error {
	var out strings.Builder
	longestTable(r.Rows).write(&out)
	fmt.Fprintf(&out, "\nmodel: %s\nmachine: %s\ndevice: %s, budget %s\n", r.Model, r.Machine, r.Device, kernels.FormatBytes(r.Budget))
	longestNotes(&out, r.Rows)
	_, err := io.WriteString(w, out.String())
	return err
}

// longestTable is a row for each pipeline.
func longestTable(rows []longestRow) table {
	t := table{
		{"", "longest", "stopped", "", "over", "group,", "device", "host", ""},
		{"method", "tokens", "by", "plan", "it", "heads", "peak", "kv", "s"},
	}
	for _, r := range rows {
		cells := []string{r.Pipeline}
		if r.Error != "" {
			t = append(t, fill(cells, len(t[0])))
			continue
		}
		peak, tile := none, none
		if r.Memory != nil {
			peak, tile = kernels.FormatBytes(r.Memory.Peak), strconv.Itoa(r.Group)
		}
		t = append(t, append(cells, strconv.Itoa(r.Tokens), r.Stopped, strconv.Itoa(r.Planned), apart(float64(r.Planned), float64(r.Tokens)), tile, peak, size(r.HostKV), number(r.Seconds)))
	}
	return t
}

// longestNotes says why there are rows without figures, and what loses something.
func longestNotes(out *strings.Builder, rows []longestRow) {
	for _, r := range rows {
		if len(r.Lossy) > 0 {
			fmt.Fprintf(out, "%s is lossy: %s\n", r.Pipeline, strings.Join(r.Lossy, "; "))
		}
	}
	for _, r := range rows {
		if r.Error != "" {
			fmt.Fprintf(out, "%s: %s\n", r.Pipeline, r.Error)
		}
	}
}

// apart says by how many percent a figure is over another.
func apart(figure, of float64) string {
	if of == 0 {
		return none
	}
	return fmt.Sprintf("%+.1f%%", 100*(figure/of-1))
}
