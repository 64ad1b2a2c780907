package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"headinfer/eval"
	"headinfer/model"
	"headinfer/pipelines"
)

// evalOptions are the flags of eval.
type evalOptions struct {
	overrides
	forcedOptions
	headsOptions
	methods   []string
	model     string
	memory    string
	taskNames []string
	texts     []string // of --context
	depths    int
	samples   int
	seed      uint64
	files     []string // of --data
	out       string
	report    string // folder; empty: no page
	asJSON    bool
	said      func(flag string) bool // whether the user gave it

	contexts []int // in tokens, ascending
	tasks    []eval.Task
	data     evalData
}

func newEval() *cobra.Command {
	var o evalOptions
	c := &cobra.Command{
		Use:   "eval",
		Short: "Ask about long texts with known answers, and score methods side by side",
		Long: `Ask questions with known answers about texts of chosen lengths, and score the
answers as RULER does: the share of the expected strings that an answer holds;
those of a benchmark's file as the benchmark does.
Every method is asked the same questions, of the same texts, and decodes
greedily. The lengths are those of whole prompts in the model's own tokens,
within 1%.

Tasks with a depth (` + strings.Join(tasksWithDepth(), ", ") + `) are asked --samples times at each of
--depths depths, from the beginning of the text to its end; the others as often.
A model without a chat template is asked in plain text.

--data names files that you have; nothing is fetched. Their texts are taken as
they are (but for qa, whose paragraphs are put together): a question is skipped,
and counted, if its prompt is longer than the longest --context, or than the
model's context if --context is not given. All others are asked, or the first
--samples of them if that is given. Files are JSON, an array or a record a line;
Parquet is not read. Of SCBench, every turn is a question of its own about the
context; turns do not follow each other.

The folder of --out gets samples.jsonl, with every answer, and for each method
and task with a depth a heat map, NAME.svg and NAME.png. What does not fit in
memory or in the model's context has no score, with the reason below the table.
--report writes all of this as an HTML page.

Tasks:
` + taskList() + `
` + perplexityHelp + `
` + headsHelp + `
Methods: ` + strings.Join(pipelines.Names(), ", ") + `.

Exit code: 0 if at least one question was answered, 1 if none was or the device
failed, 2 wrong usage, 130 interrupted (what was done is printed and kept).`,
		Example: `  headinfer eval --method standard,adaptive,tiled --task all --context 1Ki,4Ki,16Ki
  headinfer eval --method adaptive,int8,streaming-llm --task perplexity --context 4Ki
  headinfer eval --find-heads out/heads.tsv --streaming 0.5
  headinfer eval --model DIR --data longbench-v2=data.json --data scbench=scbench_kv.jsonl --context 128Ki`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.checkReport(c.Flags()); err != nil {
				return err
			}
			switch {
			case o.findHeads != "":
				return o.runHeads(c.Context(), c.OutOrStdout(), c.ErrOrStderr())
			case o.wantsPerplexity():
				return o.runPerplexity(c.Context(), c.OutOrStdout(), c.ErrOrStderr())
			}
			report, err := o.run(c.Context(), c.ErrOrStderr())
			if report == nil {
				return err
			}
			return errors.Join(err, writeReport(c.OutOrStdout(), o.asJSON, report))
		},
	}
	f := c.Flags()
	o.said = f.Changed
	f.StringSliceVar(&o.methods, "method", []string{"adaptive"}, "methods to compare")
	f.StringVar(&o.model, "model", "", "short for --set model.path=")
	f.StringSliceVar(&o.taskNames, "task", nil, "tasks, or all that need no file but those of --data (default niah_single, or the tasks of --data)")
	f.StringSliceVar(&o.texts, "context", []string{"1Ki", "4Ki"}, "prompt lengths in tokens; the longest limits the prompts of --data")
	f.IntVar(&o.depths, "depths", 5, "depths of the fact")
	f.IntVar(&o.samples, "samples", 1, "questions at each length and depth; of each file of --data all, unless given")
	f.Uint64Var(&o.seed, "seed", 1, "seed of the questions and texts")
	f.StringArrayVar(&o.files, "data", nil, "TASK=FILE: the questions of qa (SQuAD's format), longbench-v2 or scbench (repeatable)")
	f.StringVar(&o.memory, "device-memory", "", "short for --set device.memory=")
	f.StringVar(&o.out, "out", "out/eval", "where answers and heat maps go")
	reportFlag(f, &o.report)
	f.BoolVar(&o.asJSON, "json", false, "print JSON")
	o.flags(c)
	o.forcedFlags(f)
	o.headsFlags(f)
	return c
}

func tasksWithDepth() []string {
	var names []string
	for _, t := range eval.Tasks() {
		if t.Depth {
			names = append(names, t.Name)
		}
	}
	return names
}

func taskList() string {
	var out strings.Builder
	for _, t := range eval.Tasks() {
		fmt.Fprintf(&out, "  %-21s %s\n", t.Name, t.Doc)
	}
	return out.String()
}

// check reads the flags.
func (o *evalOptions) check() error {
	var err error
	if o.contexts, err = parseContexts(o.texts); err != nil {
		return err
	}
	switch {
	case o.depths < 1 || o.samples < 1:
		return usage(errors.New("--depths and --samples must be at least 1"))
	case len(o.methods) == 0:
		return usage(errors.New("--method names no method"))
	case o.out == "":
		return usage(errors.New("--out names no folder"))
	}
	o.methods = distinct(o.methods)
	if err = o.data.read(o.files); err != nil {
		return usage(fmt.Errorf("--data: %w", err))
	}
	o.short(o.model, o.memory)
	return usage(o.findTasks())
}

// distinct drops what was named before.
func distinct(names []string) []string {
	var out []string
	for _, name := range names {
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// run asks everything. With an error, the report has what was answered before
// it; it is nil if nothing was.
func (o *evalOptions) run(ctx context.Context, errOut io.Writer) (*evalReport, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	log := newLogger(errOut)
	methods, cases, err := o.prepare(ctx, log)
	if err != nil {
		return nil, interrupted(ctx, err, "no question was answered")
	}
	out, err := createEvalOutput(o.out)
	if err != nil {
		return nil, err
	}
	return o.ask(ctx, methods, cases, out, log)
}

// ask asks every method the cases' questions; its results are run's. It closes
// the output.
func (o *evalOptions) ask(ctx context.Context, methods []evalMethod, cases []evalCase, out *evalOutput, log zerolog.Logger) (report *evalReport, err error) {
	report = &evalReport{Machine: thisMachine(), Seed: o.seed, Depths: depthsOf(o.depths)}
	for _, m := range methods {
		if err = o.measureMethod(ctx, m, cases, report, out, log); err != nil {
			break
		}
	}
	report.compare(len(cases))
	report.Files, err = out.finish(report, err)
	if o.report != "" {
		err = errors.Join(err, writePage(o.report, report.page(out), log))
	}
	answered := slices.ContainsFunc(report.Cells, func(c evalCell) bool { return c.Samples > 0 })
	if err != nil {
		return report, interrupted(ctx, err, "what was done is printed, and kept in "+o.out)
	}
	if !answered {
		return report, errors.New("no question could be answered")
	}
	return report, nil
}

// interrupted gives an error that follows from an interrupt its exit code.
func interrupted(ctx context.Context, err error, what string) error {
	if ctx.Err() == nil {
		return err
	}
	return &exitError{exitInterrupted, errors.New("interrupted; " + what)}
}

// prepare reads the methods and makes the samples: all that does not need a
// device.
func (o *evalOptions) prepare(ctx context.Context, log zerolog.Logger) (methods []evalMethod, cases []evalCase, err error) {
	first, err := o.loadMethod(o.methods[0])
	if err != nil {
		return nil, nil, err
	}
	if err := fetchModel(ctx, first, log); err != nil {
		return nil, nil, err
	}
	checkpoint, err := model.Open(first.Model.Path)
	if err != nil {
		return nil, nil, usage(err)
	}
	defer func() { err = errors.Join(err, checkpoint.Close()) }()
	for _, name := range o.methods {
		m, err := o.loadTasks(name, checkpoint.ChatTemplate != "")
		if err != nil {
			return nil, nil, err
		}
		if err := fetchModel(ctx, m.pipeline, log); err != nil {
			return nil, nil, err
		}
		methods = append(methods, m)
	}
	cases, err = o.makeCases(ctx, methods[0], checkpoint, log)
	return methods, cases, err
}
