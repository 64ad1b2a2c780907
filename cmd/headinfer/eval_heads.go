package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"github.com/rs/zerolog"
	"github.com/spf13/pflag"

	"headinfer/eval"
	"headinfer/model"
)

var headsHelp = `--find-heads FILE measures which KV heads must see everything, and writes them
for heads.attention.streaming_heads (DuoAttention's retrieval and streaming
heads). The method (default ` + headsMethod + `) says which window the others have.
Questions about facts, those with a depth in the text's first quarter, are
answered without a window at the shortest --context (default 2Ki, and 4Ki to
check). Then, for one head after the other, that head alone has the window: the
prompt is read so, and the same answer is given token by token. A head's damage
is by how much the mean log-odds of the answers' tokens fall, in nats: a model
that is sure stays sure without any one head, so likelihoods would hardly tell.
The --streaming share of heads with the least damage get numbers below 0.5, the
others 0.5 and more, in order. Then the tasks (default
` + strings.Join(headsTasks, ", ") + `) are asked without a window, with the file, and with
the window for all heads. Each head takes as many reads of a prompt as there are
questions, --samples for each task and twice as many for one with a depth, and
the model is loaded once for each head.
`

// What --find-heads measures by when the user does not say.
const headsMethod = "streaming-llm"

var (
	headsContexts = []string{"2Ki", "4Ki"}
	headsTasks    = []string{"niah_multikey", "niah_multiquery"}
)

// headsOptions are the flags of --find-heads.
type headsOptions struct {
	findHeads string  // the file to write; empty: no heads are looked for
	streaming float64 // share of heads
}

func (o *headsOptions) headsFlags(f *pflag.FlagSet) {
	f.StringVar(&o.findHeads, "find-heads", "", "measure which KV heads may stream, and write them to this file")
	f.Float64Var(&o.streaming, "streaming", 0.5, "with --find-heads: share of the KV heads that shall stream")
}

// checkHeads reads the flags.
func (o *evalOptions) checkHeads() error {
	if o.wantsPerplexity() {
		return usage(fmt.Errorf("--find-heads asks questions, and --task %s has none", taskPerplexity))
	}
	if !(o.streaming > 0 && o.streaming <= 1) {
		return usage(fmt.Errorf("--streaming is %g; expected a share of the heads, more than 0 and at most 1", o.streaming))
	}
	if len(o.files) > 0 {
		return usage(errors.New("--find-heads plants facts of its own; leave --data out"))
	}
	said := o.said
	if !said("method") {
		o.methods = []string{headsMethod}
	}
	if !said("context") {
		o.texts = headsContexts
	}
	if !said("task") {
		o.taskNames = headsTasks
		o.said = func(flag string) bool { return flag == "task" || said(flag) }
	}
	if err := o.check(); err != nil {
		return err
	}
	if len(o.methods) > 1 {
		return usage(fmt.Errorf("--find-heads takes one method, whose window the heads get; --method names %d", len(o.methods)))
	}
	return nil
}

// runHeads finds heads and prints what was found.
func (o *evalOptions) runHeads(ctx context.Context, out, errOut io.Writer) error {
	report, err := o.findAndVerify(ctx, newLogger(errOut))
	if report == nil {
		return err
	}
	return errors.Join(err, writeReport(out, o.asJSON, report))
}

// findAndVerify writes the file and asks the tasks with it. With an error, the
// report has what was done before it; it is nil if no head was measured.
func (o *evalOptions) findAndVerify(ctx context.Context, log zerolog.Logger) (report *headsReport, err error) {
	if err := o.checkHeads(); err != nil {
		return nil, err
	}
	// All that can be refused is refused before anything is measured.
	p, err := o.prepareHeads(ctx, log)
	if err != nil {
		return nil, interrupted(ctx, err, "nothing was measured")
	}
	defer func() { err = errors.Join(err, p.file.close()) }()
	if report, err = o.find(ctx, p, log); err != nil {
		what := "no heads were written"
		if report != nil {
			what += ", and what was measured is printed"
		}
		return report, errors.Join(interrupted(ctx, err, what), p.out.samples.Close())
	}
	report.Verification, err = o.ask(ctx, []evalMethod{p.whole, p.found, p.window}, p.cases, p.out, log)
	return report, err
}

// headsPlan is what finding heads needs before a device is opened.
type headsPlan struct {
	// The method without a window, with it for the heads that are found, and for
	// all.
	whole, found, window evalMethod
	find, cases          []evalCase // to find heads by, and to check them
	file                 *headsFile
	out                  *evalOutput
}

// variant loads the method for the tasks, under a name, with some options
// changed.
func (o *evalOptions) variant(name string, chat bool, sets ...string) (evalMethod, error) {
	changed := *o
	changed.sets = append(slices.Clone(o.sets), sets...)
	m, err := changed.loadTasks(o.methods[0], chat)
	m.name = name
	return m, err
}

// prepareHeads reads the method, makes the questions and opens what is written.
func (o *evalOptions) prepareHeads(ctx context.Context, log zerolog.Logger) (p headsPlan, err error) {
	if err := o.checkWindow(); err != nil {
		return p, err
	}
	if p.file, err = createHeadsFile(o.findHeads); err != nil {
		return p, usage(fmt.Errorf("--find-heads: %w", err))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.file.close())
		}
	}()
	if err = o.makeQuestions(ctx, &p, log); err != nil {
		return p, err
	}
	// Last, since it empties a file of an earlier run.
	p.out, err = createEvalOutput(o.out)
	return p, err
}

// seeAll takes a method's window away.
const seeAll = "heads.attention.recent=all"

// checkWindow refuses a method that is the same without a window.
func (o *evalOptions) checkWindow() error {
	with, err := o.loadMethod(o.methods[0])
	if err != nil {
		return err
	}
	without, err := (&overrides{sets: append(slices.Clone(o.sets), seeAll), device: o.device}).loadMethod(o.methods[0])
	if err != nil {
		return err
	}
	for i := range with.Heads {
		if !reflect.DeepEqual(with.Heads[i].Options, without.Heads[i].Options) {
			return nil
		}
	}
	return usage(fmt.Errorf("--find-heads: method %s has no window (%s); choose a method with a window, such as %s, or --set heads.attention.recent to a number",
		o.methods[0], seeAll, headsMethod))
}

// makeQuestions loads the plan's methods and makes its cases.
func (o *evalOptions) makeQuestions(ctx context.Context, p *headsPlan, log zerolog.Logger) (err error) {
	plain, err := o.loadMethod(o.methods[0])
	if err != nil {
		return err
	}
	if err := fetchModel(ctx, plain, log); err != nil {
		return err
	}
	checkpoint, err := model.Open(plain.Model.Path)
	if err != nil {
		return usage(err)
	}
	defer func() { err = errors.Join(err, checkpoint.Close()) }()
	chat := checkpoint.ChatTemplate != ""
	if p.whole, err = o.variant("no-window", chat, seeAll, "heads.attention.sinks=0"); err != nil {
		return err
	}
	if p.found, err = o.variant("streaming-heads", chat, setHeads(o.findHeads)); err != nil {
		return err
	}
	if p.window, err = o.variant("all-streaming", chat); err != nil {
		return err
	}
	if p.cases, err = o.makeCases(ctx, p.whole, checkpoint, log); err != nil {
		return err
	}
	finding := *o
	finding.contexts = o.contexts[:1]
	finding.depths = 5
	finding.seed = o.seed + findingSeed
	if p.find, err = finding.makeCases(ctx, p.whole, checkpoint, log); err != nil {
		return err
	}
	for i := range p.find {
		c := &p.find[i]
		if c.err != nil {
			return usage(fmt.Errorf("task %s at %d tokens: %w", c.task.Name, c.tokens, c.err))
		}
		c.keepFar(o.samples)
	}
	return nil
}

const (
	// findingSeed keeps the questions that heads are found by apart from those
	// that they are checked with.
	findingSeed = 1 << 32
	// farthest is the depth up to which a fact is far from the text's end.
	farthest = 0.25
)

// keepFar keeps n samples, of a task with a depth twice as many, since the others
// ask for several facts at once, and those with the fact in the text's first
// quarter: what a window loses.
func (c *evalCase) keepFar(n int) {
	if c.task.Depth {
		n *= 2
		c.samples = slices.DeleteFunc(c.samples, func(s eval.Sample) bool { return s.Depth > farthest })
	}
	c.samples = c.samples[:min(n, len(c.samples))]
}
