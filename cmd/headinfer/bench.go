package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"headinfer/config"
	"headinfer/pipelines"
)

// benchOptions are the flags of bench.
type benchOptions struct {
	overrides
	methods   []string
	model     string
	weights   []string // encodings of random weights; empty: what the model says
	memory    string
	chunkText string
	texts     []string // of --context
	decode    int
	repeats   int
	fill      bool
	limits    bool
	asJSON    bool
	tracePath string
	longest   bool
	curve     string // folder; empty: no curves
	aboveText string // of --kv-fill-above
	report    string // folder; empty: no page

	timelines []benchTimeline // for --report
	contexts  []int           // in tokens, ascending
	usual     bool            // they are those of --curve, as far as the model allows
	chunk     int             // tokens; 0: what each pipeline says
	above     int             // contexts of more tokens are filled; 0: none is
}

// filled reports whether the cache is filled at a context and no prompt is read.
func (o *benchOptions) filled(context int) bool {
	return o.fill || o.above > 0 && context > o.above
}

func newBench() *cobra.Command {
	var o benchOptions
	c := &cobra.Command{
		Use:   "bench [FILE...]",
		Short: "Time prefill and decode of methods on random tokens",
		Long: `Time prefill and decode of methods, the pipelines that the program carries, and
of pipeline files. The tokens are random; the documents' sources and sinks are
not used. A row is one method at one context; what does not fit in memory is a
row without figures, and the bench goes on.

Times are medians: of prefills over --repeats, of decode steps over all tokens.
"host" is how much of a step the host itself took, enqueueing while the device works.
A prefill takes the memory of its cache as it goes, and its time is included.
Limits come from what this device was measured to copy, compute and read, just
before, each alone. Methods with chunk: none read the prompt in one piece,
whatever --chunk says.

With --curve, the times are drawn against the context, both on axes of decades,
with the lines of the limits: curve.svg, curve.png, and the figures in curve.json and
curve.md. Contexts are then 1Ki to 256Ki, as far as the model's goes, if --context does
not name others. With --kv-fill-above, decode is drawn on where reading prompts would
take too long.

With --report, the folder gets report.html, a page of the tables, the curves, memory by
purpose, the roofline and, of methods with their cache on the host, one layer's time line,
from a prompt that is read once more.

With --weights, every method is measured once for each encoding of a model's
random weights, and a table beside says what a token reads of them.

With --longest, nothing is timed: the longest context of every method is found, by
doubling and then halving, with all memory that a text of that length takes, read as
a prompt and decoded from; one pass and one token are computed in the end.

Counts: 8k is 8000, 8Ki is 8192.

Methods: ` + strings.Join(pipelines.Names(), ", ") + `.

Exit code: 0 if at least one row was measured, 1 if none was or the device
failed, 2 wrong usage, 130 interrupted (rows that were done are printed).`,
		Example: `  headinfer bench --model random:llama-3-8b --method headinfer-1,tiled --context 32Ki,128Ki --chunk 8Ki
  headinfer bench --model random:llama-3-8b --method adaptive --device-memory 24GiB --curve out/curve
  headinfer bench --model random:llama-3-8b --method standard,layer-wise,headinfer-1 --device-memory 24GiB --longest`,
		RunE: func(c *cobra.Command, args []string) error {
			if o.longest {
				report, err := o.runLongest(c.Context(), args, c.Flags().Changed, c.ErrOrStderr())
				if report == nil {
					return err
				}
				return errors.Join(err, writeReport(c.OutOrStdout(), o.asJSON, report))
			}
			if c.Flags().Changed("curve") && o.curve == "" {
				return usage(errors.New("--curve: no folder; name one that the drawing is written to, such as out/curve"))
			}
			if err := checkReport(c.Flags(), o.report); err != nil {
				return err
			}
			if o.usual = o.curve != "" && !c.Flags().Changed("context"); o.usual {
				o.texts = curveContexts
			}
			report, err := o.run(c.Context(), args, c.ErrOrStderr())
			if report == nil || len(report.Rows) == 0 {
				return err
			}
			var printErr error
			if o.asJSON {
				e := json.NewEncoder(c.OutOrStdout())
				e.SetIndent("", "  ")
				printErr = e.Encode(report)
			} else {
				printErr = report.print(c.OutOrStdout())
			}
			if err == nil {
				err = printErr
			}
			return err
		},
	}
	f := c.Flags()
	// Both take lists, so both are typed as plurals.
	f.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "methods" || name == "contexts" {
			name = strings.TrimSuffix(name, "s")
		}
		return pflag.NormalizedName(name)
	})
	f.StringSliceVar(&o.methods, "method", nil, "methods to measure (default adaptive, if no FILE is given)")
	f.StringVar(&o.model, "model", "", "short for --set model.path=")
	f.StringSliceVar(&o.weights, "weights", nil, "encodings of random weights to measure with, such as bf16,q8_0,q4_k, or all")
	f.StringSliceVar(&o.texts, "context", []string{"512", "4Ki"}, "prompt lengths in tokens")
	f.StringVar(&o.chunkText, "chunk", "", "tokens of a prefill's passes, for methods that read in chunks (default: as the pipeline has it)")
	f.IntVar(&o.decode, "decode-tokens", 8, "tokens to decode after each prompt")
	f.IntVar(&o.repeats, "repeats", 1, "times to measure each row")
	f.StringVar(&o.memory, "device-memory", "", "short for --set device.memory=")
	f.BoolVar(&o.fill, "kv-fill", false, "fill the cache with random keys and values instead of reading a prompt: decode figures only")
	f.StringVar(&o.aboveText, "kv-fill-above", "", "do as with --kv-fill at contexts of more tokens than this")
	f.StringVar(&o.curve, "curve", "", "draw the times against the context into this folder")
	f.BoolVar(&o.longest, "longest", false, "find the longest context of each method instead of timing")
	reportFlag(f, &o.report)
	f.BoolVar(&o.limits, "limits", true, "measure the device's rates, for the limits")
	f.BoolVar(&o.asJSON, "json", false, "print JSON")
	f.StringVar(&o.tracePath, "trace", "", "write a trace of all rows to this file (JSON, for ui.perfetto.dev)")
	o.flags(c)
	return c
}

// run measures all rows. With an error, the report has those done before it; it
// is nil if nothing was begun.
func (o *benchOptions) run(ctx context.Context, files []string, errOut io.Writer) (*benchReport, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	all, err := o.pipelines(files)
	if err != nil {
		return nil, err
	}
	if o.curve != "" {
		if err := o.checkCurve(all); err != nil {
			return nil, usage(err)
		}
	}
	var trace *traceFile
	if o.tracePath != "" {
		if trace, err = createTrace(o.tracePath); err != nil {
			return nil, usage(fmt.Errorf("--trace: %w", err))
		}
		for _, p := range all {
			p.trace = true
		}
	}
	log := newLogger(errOut)
	report, err := o.measureAll(ctx, all, trace, log)
	err = errors.Join(err, trace.finish())
	if o.curve != "" && report != nil {
		err = errors.Join(err, report.draw(o.curve, log))
	}
	if o.report != "" && report != nil && len(report.Rows) > 0 {
		err = errors.Join(err, writePage(o.report, report.page(o.timelines), log))
	}
	return report, err
}

// measureAll is run, once it is clear what to measure.
func (o *benchOptions) measureAll(ctx context.Context, all []benchPipeline, trace *traceFile, log zerolog.Logger) (*benchReport, error) {
	var err error
	for _, p := range all {
		if err := fetchModel(ctx, p.pipeline, log); err != nil {
			return nil, err
		}
	}
	report := &benchReport{Machine: thisMachine()}
	if o.limits {
		if report.Rates, err = o.measureRates(all[0], log); err != nil {
			return nil, err
		}
	}
	for _, p := range all {
		rows, figures, err := o.measureMethod(ctx, p, report.Rates, trace, log)
		report.Rows = append(report.Rows, rows...)
		if figures != nil {
			report.Traces = append(report.Traces, benchTrace{p.name, *figures})
		}
		if err != nil && ctx.Err() != nil {
			what := "interrupted before any row was done"
			if len(report.Rows) > 0 {
				what = "interrupted; the rows that were done are printed"
			}
			err = &exitError{exitInterrupted, errors.New(what)}
		}
		if err != nil {
			return report, err
		}
	}
	report.sort()
	if !slices.ContainsFunc(report.Rows, func(r benchRow) bool { return r.Error == "" }) {
		return report, errors.New("no row could be measured")
	}
	return report, nil
}

// check reads the flags' numbers.
func (o *benchOptions) check() error {
	var err error
	if o.contexts, err = parseContexts(o.texts); err != nil {
		return err
	}
	if o.chunkText != "" {
		n, err := config.ParseCount(o.chunkText)
		if err != nil {
			return usage(fmt.Errorf("--chunk: %w", err))
		}
		if n < 1 {
			return usage(fmt.Errorf("--chunk: passes of %d tokens; expected 1 or more", n))
		}
		o.chunk = int(n)
	}
	if o.aboveText != "" {
		n, err := config.ParseCount(o.aboveText)
		if err == nil && n < 1 {
			err = errors.New("0 tokens; expected 1 or more, or --kv-fill for all contexts")
		}
		if err != nil {
			return usage(fmt.Errorf("--kv-fill-above: %w", err))
		}
		o.above = int(n)
	}
	if o.repeats < 1 || o.decode < 1 {
		return usage(errors.New("--repeats and --decode-tokens must be at least 1"))
	}
	o.short(o.model, o.memory)
	return nil
}

// parseContexts reads --context: lengths in tokens, ascending, each once.
func parseContexts(texts []string) ([]int, error) {
	var contexts []int
	for _, text := range texts {
		n, err := config.ParseCount(text)
		if err != nil {
			return nil, usage(fmt.Errorf("--context: %w", err))
		}
		if n < 1 {
			return nil, usage(fmt.Errorf("--context: a prompt of %d tokens; expected 1 or more", n))
		}
		contexts = append(contexts, int(n))
	}
	if len(contexts) == 0 {
		return nil, usage(errors.New("--context names no prompt length"))
	}
	// Ascending, because what operators have taken as workspace they keep.
	slices.Sort(contexts)
	return slices.Compact(contexts), nil
}

// benchPipeline is what a row measures, under its name.
type benchPipeline struct {
	*pipeline
	name    string // the method, or the file, and with --weights the encoding
	weights string // of --weights
}

// pipelines reads the methods and the files.
func (o *benchOptions) pipelines(files []string) ([]benchPipeline, error) {
	methods := o.methods
	if len(methods)+len(files) == 0 {
		methods = []string{"adaptive"}
	}
	var all []benchPipeline
	for _, name := range methods {
		p, err := o.loadMethod(name)
		if err != nil {
			return nil, err
		}
		all = append(all, benchPipeline{pipeline: p, name: name})
	}
	for _, file := range files {
		p, err := o.load(file)
		if err != nil {
			return nil, err
		}
		all = append(all, benchPipeline{pipeline: p, name: file})
	}
	if len(o.weights) == 0 {
		return all, nil
	}
	return o.encoded(all)
}

// command is how the program was called.
func command() string {
	return strings.Join(append([]string{filepath.Base(os.Args[0])}, os.Args[1:]...), " ")
}

// logRow tells a person who waits how far the bench is.
func logRow(log zerolog.Logger, r benchRow) {
	e := log.Info().Str("pipeline", r.Pipeline).Int("context", r.Context)
	if r.Error != "" {
		e.Str("error", r.Error).Msg("not measured")
		return
	}
	if r.Prefill != nil {
		e = e.Float64("prefill_s", r.Prefill.Seconds)
	}
	e.Float64("decode_s", r.Decode.Seconds).Msg("measured")
}
