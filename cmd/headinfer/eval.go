package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"headinfer/config"
	"headinfer/eval"
	"headinfer/model"
	"headinfer/pipelines"
)

// evalOptions are the flags of eval.
type evalOptions struct {
	overrides
	methods   []string
	model     string
	memory    string
	taskNames []string
	texts     []string // of --context
	depths    int
	samples   int
	seed      uint64
	questions string
	out       string
	asJSON    bool

	contexts []int // in tokens, ascending
	tasks    []eval.Task
	qa       *eval.QA // nil: no file
}

func newEval() *cobra.Command {
	var o evalOptions
	c := &cobra.Command{
		Use:   "eval",
		Short: "Ask about long texts with known answers, and score methods side by side",
		Long: `Ask questions with known answers about texts of chosen lengths, and score the
answers as RULER does: the share of the expected strings that an answer holds.
Every method is asked the same questions, of the same texts, and decodes
greedily. The lengths are those of whole prompts in the model's own tokens,
within 1%.

Tasks with a depth (` + strings.Join(tasksWithDepth(), ", ") + `) are asked --samples times at each of
--depths depths, from the beginning of the text to its end; the others as often.
A model without a chat template is asked in plain text.

The folder of --out gets samples.jsonl, with every answer, and for each method
and task with a depth a heat map, NAME.svg and NAME.png. What does not fit in
memory or in the model's context has no score, with the reason below the table.

Tasks:
` + taskList() + `
Methods: ` + strings.Join(pipelines.Names(), ", ") + `.

Exit code: 0 if at least one question was answered, 1 if none was or the device
failed, 2 wrong usage, 130 interrupted (what was done is printed and kept).`,
		Example: `  headinfer eval --method standard,adaptive,tiled --task all --context 1Ki,4Ki,16Ki`,
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(c *cobra.Command, _ []string) error {
			report, err := o.run(c.Context(), c.ErrOrStderr())
			if report == nil {
				return err
			}
			return errors.Join(err, report.write(c.OutOrStdout(), o.asJSON))
		},
	}
	f := c.Flags()
	f.StringSliceVar(&o.methods, "method", []string{"adaptive"}, "methods to compare")
	f.StringVar(&o.model, "model", "", "short for --set model.path=")
	f.StringSliceVar(&o.taskNames, "task", []string{"niah_single"}, "tasks, or all (qa only with --questions)")
	f.StringSliceVar(&o.texts, "context", []string{"1Ki", "4Ki"}, "prompt lengths in tokens")
	f.IntVar(&o.depths, "depths", 5, "depths of the fact")
	f.IntVar(&o.samples, "samples", 1, "questions at each length and depth")
	f.Uint64Var(&o.seed, "seed", 1, "seed of the questions and texts")
	f.StringVar(&o.questions, "questions", "", "a file in SQuAD's format, for the task qa")
	f.StringVar(&o.memory, "device-memory", "", "short for --set device.memory=")
	f.StringVar(&o.out, "out", "out/eval", "where answers and heat maps go")
	f.BoolVar(&o.asJSON, "json", false, "print JSON")
	o.flags(c)
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
		fmt.Fprintf(&out, "  %-16s %s\n", t.Name, t.Doc)
	}
	return out.String()
}

// write prints the report.
func (r *evalReport) write(w io.Writer, asJSON bool) error {
	if !asJSON {
		return r.print(w)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
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
	if o.questions != "" {
		if o.qa, err = eval.ReadQA(o.questions); err != nil {
			return usage(fmt.Errorf("--questions: %w", err))
		}
	}
	o.short(o.model, o.memory)
	return o.findTasks()
}

// findTasks reads --task.
func (o *evalOptions) findTasks() error {
	for _, name := range distinct(o.taskNames) {
		if name == "all" {
			o.tasks = eval.Tasks()
			if o.qa == nil {
				o.tasks = slices.DeleteFunc(o.tasks, func(t eval.Task) bool { return t.Name == "qa" })
			}
			return nil
		}
		t, ok := eval.Find(name)
		if !ok {
			hint := ""
			if near := config.Nearest(name, eval.Names()); near != "" {
				hint = fmt.Sprintf("; did you mean %q?", near)
			}
			return usage(fmt.Errorf("--task: no task %q; there are %s, and all%s", name, strings.Join(eval.Names(), ", "), hint))
		}
		if t.Name == "qa" && o.qa == nil {
			return usage(errors.New("--task qa needs questions; name a file in SQuAD's format with --questions"))
		}
		o.tasks = append(o.tasks, t)
	}
	if len(o.tasks) == 0 {
		return usage(errors.New("--task names no task"))
	}
	return nil
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
		return nil, usage(fmt.Errorf("--out: %w", err))
	}
	report := &evalReport{Machine: thisMachine(), Seed: o.seed, Depths: depthsOf(o.depths)}
	for _, m := range methods {
		if err = o.measureMethod(ctx, m, cases, report, out, log); err != nil {
			break
		}
	}
	report.compare(len(cases))
	report.Files, err = out.finish(report, err)
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
		methods = append(methods, m)
	}
	cases, err = o.makeCases(ctx, methods[0], checkpoint, log)
	return methods, cases, err
}
