package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"headinfer/config"
	"headinfer/config/matrix"
	"headinfer/pipelines"
	"headinfer/stages"
)

// ablateOptions are the flags of ablate.
type ablateOptions struct {
	report string // folder; empty: no page
	overrides
	model    string
	memory   string
	texts    []string // of --context
	repeats  int
	out      string
	restart  bool
	limits   bool
	asJSON   bool
	contexts []int // in tokens; empty: the matrix's
}

func newAblate() *cobra.Command {
	var o ablateOptions
	c := &cobra.Command{
		Use:   "ablate MATRIX",
		Short: "Measure a matrix of pipelines beside each other",
		Long: `Measure rows of pipelines that differ in a few options, at the same contexts.
MATRIX is a file, or the name of a matrix that the program carries:
` + strings.Join(pipelines.Ablations(), ", ") + `.

The rows are a base pipeline with options set: one row for every combination of
the axes' values, and those that are listed by name. Rows are measured in rounds,
each row once a round, and figures are medians; ± is the largest less the
smallest, as a share of the median. A row that does not fit in memory has no
figures at that context, with the reason below the table.

The weights of a model, and host memory that caches have taken, are shared by
all rows whose model and device options are the same. What the longest prompt of
a row still needs of that is taken before its first is timed: a prefill's time is
without taking memory of the host.

Every sample is kept in samples.jsonl of --out as it is taken. The same call
goes on where an earlier one ended; so does a changed matrix, with the samples
that still apply. --out gets ablation.md and ablation.json, too.

Keys of a matrix, beside set, axes and rows:
` + keyList() + `
Exit code: 0 if at least one row was measured, 1 if none was or the device
failed, 2 wrong usage, 130 interrupted (what was measured is printed and kept).`,
		Example: `  headinfer ablate granularity --out out/granularity
  headinfer ablate matrix.yaml --context 8Ki --repeats 1 --set device.memory=16GiB`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkReport(c.Flags(), o.report); err != nil {
				return err
			}
			if c.Flags().Changed("repeats") && o.repeats < 1 {
				return usage(fmt.Errorf("--repeats is %d; expected 1 or more", o.repeats))
			}
			report, err := o.run(c.Context(), args[0], c.ErrOrStderr())
			if report == nil {
				return err
			}
			return errors.Join(err, writeReport(c.OutOrStdout(), o.asJSON, report))
		},
	}
	f := c.Flags()
	f.StringVar(&o.model, "model", "", "short for --set model.path=")
	f.StringVar(&o.memory, "device-memory", "", "short for --set device.memory=")
	f.StringSliceVar(&o.texts, "context", nil, "measure at these of the matrix's contexts only")
	f.IntVar(&o.repeats, "repeats", 0, "rounds, in place of the matrix's")
	f.StringVar(&o.out, "out", "", "where samples and tables go (default out/ablate-NAME)")
	reportFlag(f, &o.report)
	f.BoolVar(&o.restart, "restart", false, "measure everything anew")
	f.BoolVar(&o.limits, "limits", true, "measure the device's rates, for predicted times")
	f.BoolVar(&o.asJSON, "json", false, "print JSON")
	o.flags(c)
	return c
}

// keyList says what a matrix may have.
func keyList() string {
	var out strings.Builder
	for _, f := range config.Fields(matrix.Options{}) {
		fmt.Fprintf(&out, "  %-19s %s\n", f.Name, firstSentence(f.Doc))
	}
	return out.String()
}

// firstSentence is a text up to its first full stop.
func firstSentence(text string) string {
	first, _, _ := strings.Cut(text, ". ")
	return strings.TrimSuffix(first, ".") + "."
}

// run measures the matrix. With an error, the report has what was measured; it is nil
// if nothing was begun.
func (o *ablateOptions) run(ctx context.Context, name string, errOut io.Writer) (*ablateReport, error) {
	o.short(o.model, o.memory)
	file, src, err := readMatrix(name)
	if err != nil {
		return nil, err
	}
	m, err := loadMatrix(file, src, o.all())
	if err != nil {
		return nil, err
	}
	if err := o.cut(m); err != nil {
		return nil, usage(err)
	}
	if o.out == "" {
		base := filepath.Base(strings.TrimPrefix(file, carried))
		o.out = filepath.Join("out", "ablate-"+strings.TrimSuffix(base, filepath.Ext(base)))
	}
	log := newLogger(errOut)
	a, err := o.prepare(ctx, m, log)
	if err != nil {
		return nil, err
	}
	err = a.measure(ctx)
	err = errors.Join(err, a.lab.close())
	report := a.report()
	// The folder is this call's until all of its files are there.
	err = errors.Join(err, report.save(o.out), a.store.close())
	if o.report != "" && report.any() {
		err = errors.Join(err, writePage(o.report, report.page(), log))
	}
	switch {
	case ctx.Err() != nil:
		what := fmt.Sprintf("interrupted; %d of %d samples are kept in %s, and the same call goes on from there", a.done(), len(a.units), o.out)
		return report, &exitError{exitInterrupted, errors.New(what)}
	case err != nil:
		return report, err
	case !report.any():
		return report, errors.New("no row could be measured")
	}
	return report, nil
}

// cut applies --context and --repeats.
func (o *ablateOptions) cut(m *matrix.Matrix) error {
	if o.repeats > 0 {
		m.Repeats, m.FillRepeats = o.repeats, min(m.FillRepeats, o.repeats)
	}
	m.FillRepeats = min(m.FillRepeats, m.Repeats)
	if o.texts == nil {
		return nil
	}
	var err error
	if o.contexts, err = parseContexts(o.texts); err != nil {
		return err
	}
	for _, n := range o.contexts {
		if !slices.Contains(m.Contexts, n) && !slices.Contains(m.Fill, n) {
			return fmt.Errorf("--context %d is none of the matrix's; it has %s", n, listed(slices.Concat(m.Contexts, m.Fill)))
		}
	}
	other := func(n int) bool { return !slices.Contains(o.contexts, n) }
	m.Contexts, m.Fill = slices.DeleteFunc(m.Contexts, other), slices.DeleteFunc(m.Fill, other)
	return nil
}

// listed is numbers of tokens in a line.
func listed(tokens []int) string {
	var parts []string
	for _, n := range tokens {
		parts = append(parts, config.Count(n).String())
	}
	return strings.Join(parts, ", ")
}

// ablation is a matrix on its way.
type ablation struct {
	*ablateOptions
	matrix *matrix.Matrix
	rows   []*ablateRowState
	units  []unit
	lab    lab
	store  *sampleStore
	device string // its name
	rates  *benchRates
	room   planRoom
	log    zerolog.Logger

	accuracy *accuracyRun // made when it is first asked for
	distance *distanceRun
	provided *stages.Engine // whose host memory is there; see provide
}

// ablateRowState is a row, what measures it, and what of it cannot be.
type ablateRowState struct {
	matrix.Row
	*pipeline
	heads  string            // a hash of what the file of its streaming heads says; empty: it has none
	failed map[string]string // reasons by the unit's place, once one of its repeats has failed
}

// prepare opens what measuring needs.
func (o *ablateOptions) prepare(ctx context.Context, m *matrix.Matrix, log zerolog.Logger) (*ablation, error) {
	registry, err := stages.Registry()
	if err != nil {
		return nil, err
	}
	a := &ablation{ablateOptions: o, matrix: m, log: log, lab: lab{log: log}}
	a.accuracy, a.distance = &accuracyRun{}, &distanceRun{}
	for _, row := range m.Rows {
		p, err := check(registry, row.Pipeline)
		if err != nil {
			return nil, err
		}
		if err := fetchModel(ctx, p, log); err != nil {
			return nil, err
		}
		a.rows = append(a.rows, &ablateRowState{Row: row, pipeline: p, heads: headsHash(p.Pipeline), failed: map[string]string{}})
	}
	// Rows that share a device and a model follow each other.
	first := a.rows[0]
	if err := a.lab.open(first.pipeline.Pipeline); err != nil {
		return nil, err
	}
	a.device = a.lab.device.Info().Name
	a.room = a.lab.room
	if a.store, err = openSamples(o.out, o.restart, log); err != nil {
		return nil, errors.Join(err, a.lab.close())
	}
	a.plan()
	return a, nil
}
