package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/rs/zerolog"
	"github.com/spf13/pflag"

	"headinfer/model"
)

// taskPerplexity is the task that asks nothing: it measures what methods make
// of given tokens.
const taskPerplexity = "perplexity"

// forcedTask is the task whose texts are forced: prose with four facts.
const forcedTask = "niah_multiquery"

const perplexityHelp = `--task perplexity, by itself, asks nothing: it measures how likely each method
finds tokens that are given. A text is prose with the four facts of
` + forcedTask + ` in it, and then, plainly, without a chat template, questions
about one fact each ("Question: What is …?") with their true answers ("Answer:
The … is 48213."), one after the other and then the same again, until there are
--forced tokens of them. All before these is read as a prompt is; the --forced
tokens are then read one by one. Per method and length it prints the
perplexity of the forced tokens and of the answers' alone, which hang on
what was said far before; and, beside the first method named, the mean
Kullback–Leibler divergence of the next token's distribution (nats), the largest
difference of a logit in standard deviations of the step's logits, and the share
of steps whose most likely token is the same. --samples is the texts at each
length (default 4).
`

// forcedOptions are the flags of perplexity.
type forcedOptions struct {
	forced int // tokens of a text
}

func (o *forcedOptions) forcedFlags(f *pflag.FlagSet) {
	f.IntVar(&o.forced, "forced", 64, "with --task perplexity: tokens at a text's end that are measured")
}

// wantsPerplexity says whether --task names perplexity.
func (o *evalOptions) wantsPerplexity() bool { return slices.Contains(o.taskNames, taskPerplexity) }

// checkPerplexity reads the flags.
func (o *evalOptions) checkPerplexity() error {
	switch {
	case len(distinct(o.taskNames)) > 1:
		return usage(fmt.Errorf("--task %s is measured by itself; name the other tasks in another call", taskPerplexity))
	case len(o.files) > 0:
		return usage(fmt.Errorf("--task %s makes its own texts; leave --data out", taskPerplexity))
	case o.forced < 1:
		return usage(fmt.Errorf("--forced is %d; expected 1 or more", o.forced))
	}
	o.taskNames = []string{forcedTask}
	return o.check()
}

// writeReport prints a report as --json says.
func writeReport(w io.Writer, asJSON bool, report interface{ print(io.Writer) error }) error {
	if !asJSON {
		return report.print(w)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(report)
}

// runPerplexity measures every method and prints what was done.
func (o *evalOptions) runPerplexity(ctx context.Context, out, errOut io.Writer) error {
	report, err := o.measurePerplexity(ctx, newLogger(errOut))
	if report == nil {
		return err
	}
	return errors.Join(err, writeReport(out, o.asJSON, report))
}

// measurePerplexity measures every method. With an error, the report has what
// was measured before it; it is nil if nothing was begun.
func (o *evalOptions) measurePerplexity(ctx context.Context, log zerolog.Logger) (*forcedReport, error) {
	if err := o.checkPerplexity(); err != nil {
		return nil, err
	}
	methods, texts, err := o.preparePerplexity(ctx, log)
	if err != nil {
		return nil, err
	}
	file, err := createEvalOutput(o.out)
	if err != nil {
		return nil, err
	}
	report := &forcedReport{Machine: thisMachine(), Seed: o.seed, Forced: o.forced}
	run := forcedRun{texts: texts, report: report, file: file, compares: len(methods) > 1, log: log}
	for _, m := range methods {
		if err = run.measure(ctx, m); err != nil {
			break
		}
	}
	err = errors.Join(err, file.samples.Close())
	report.Files = []string{file.samples.Name()}
	if err != nil {
		return report, interrupted(ctx, err, "what was done is printed, and kept in "+o.out)
	}
	if !slices.ContainsFunc(report.Rows, func(r forcedRow) bool { return r.Texts > 0 }) {
		return report, errors.New("no text could be measured")
	}
	return report, nil
}

// preparePerplexity reads the methods and makes the texts.
func (o *evalOptions) preparePerplexity(ctx context.Context, log zerolog.Logger) (methods []evalMethod, texts []forcedText, err error) {
	for _, name := range o.methods {
		m, err := o.loadTasks(name, false)
		if err != nil {
			return nil, nil, err
		}
		if err := fetchModel(ctx, m.pipeline, log); err != nil {
			return nil, nil, err
		}
		methods = append(methods, m)
	}
	checkpoint, err := model.Open(methods[0].Model.Path)
	if err != nil {
		return nil, nil, usage(err)
	}
	defer func() { err = errors.Join(err, checkpoint.Close()) }()
	texts, err = o.forcedTexts(checkpoint)
	return methods, texts, err
}
