package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"headinfer/config"
	"headinfer/plan/paper"
)

// planOptions are the flags of plan.
type planOptions struct {
	overrides
	table                    string
	methods                  []string
	model                    string
	texts                    []string // of --context
	gpu, rates               string
	deviceMemory, hostMemory string
	chunkText                string
	asJSON, markdown         bool

	contexts []int
	chunk    int // tokens; 0: what each pipeline says
}

// plannedMethods are planned for where no others are named: those whose memory grows
// with the text.
var plannedMethods = []string{
	"standard", "chunked-prefill", "layer-wise", "headinfer-8", "headinfer-4", "headinfer-2", "headinfer-1", "adaptive", "tiled", "int8", "int4",
}

func newPlan() *cobra.Command {
	var o planOptions
	c := &cobra.Command{
		Use:   "plan [FILE...]",
		Short: "Compute memory, times and the longest context, without a device",
		Long: `Compute what methods, or pipeline files, take of memory and time for a model on a
machine: by arithmetic, with no device, and nothing of the weights is loaded.

For each method and context: device memory by purpose, host memory, whether both
fit, the predicted seconds of a prefill and of a decoded token with what bounds
each (compute, the device's memory, or the link to the host), and the break-even
chunk, from which on computing takes as long as copying. Then the longest context
of each method, and what would hold more. Predictions are within 10% of what was
measured on an H100 (docs/planner.md says how they are made).

--gpu names a card, or is "this" for the first GPU here, whose rates are then
measured. --rates takes the rates out of what headinfer bench --json, doctor --json
or bench --curve wrote. Without either the machine is this one, and times are
predicted only if it has a GPU. Of a card that is named, 1 GiB is left to the
driver and to operators' workspace; --device-memory says otherwise. Host memory is
what is free here, unless --host-memory says otherwise.

--table prints a table of the paper (3 to 8, 10 to 14): its figures, what follows
from its own arithmetic, headinfer's figures, and the differences.

Counts: 8k is 8000, 8Ki is 8192.

Exit code: 0, 2 wrong usage.`,
		Example: `  headinfer plan --model random:llama-3-8b --gpu 4090 --host-memory 64GiB --context 32Ki,128Ki
  headinfer plan pipeline.yaml --gpu this
  headinfer plan --table 5`,
		RunE: func(c *cobra.Command, args []string) error {
			report, err := o.run(c.Context(), args, c.Flags().Changed("table"))
			if err != nil {
				return err
			}
			return o.write(c.OutOrStdout(), report)
		},
	}
	f := c.Flags()
	f.StringVar(&o.table, "table", "", "print a table of the paper: "+tableNumbers())
	f.StringSliceVar(&o.methods, "method", nil, "methods to plan for (default: all whose memory grows with the text, if no FILE is given)")
	f.StringVar(&o.model, "model", "", "short for --set model.path=")
	f.StringSliceVar(&o.texts, "context", []string{"8Ki", "32Ki", "128Ki"}, "lengths of texts in tokens")
	f.StringVar(&o.gpu, "gpu", "", `a card by its name, such as "RTX 4090", or "this"`)
	f.StringVar(&o.rates, "rates", "", "a file with measured rates")
	f.StringVar(&o.deviceMemory, "device-memory", "", "device memory to plan with")
	f.StringVar(&o.hostMemory, "host-memory", "", "host memory for caches to plan with")
	f.StringVar(&o.chunkText, "chunk", "", "tokens of a prefill's passes, for methods that read in chunks (default: as the pipeline has it)")
	f.BoolVar(&o.asJSON, "json", false, "print JSON")
	f.BoolVar(&o.markdown, "markdown", false, "print Markdown")
	o.flags(c)
	return c
}

// planReport is what plan prints.
type planReport interface {
	print(w *strings.Builder, markdown bool)
}

// run computes what is asked for.
func (o *planOptions) run(ctx context.Context, files []string, table bool) (planReport, error) {
	if o.asJSON && o.markdown {
		return nil, usage(errors.New("--json and --markdown: one of the two"))
	}
	if table {
		return o.paperTable(files)
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	return o.plan(ctx, files)
}

func (o *planOptions) paperTable(files []string) (planReport, error) {
	n, err := strconv.Atoi(o.table)
	t, ok := paper.ByNumber(n)
	if err != nil || !ok {
		return nil, usage(fmt.Errorf("--table %s: the paper has no such table with figures; there are %s", o.table, tableNumbers()))
	}
	if len(files)+len(o.methods) > 0 {
		return nil, usage(fmt.Errorf("--table %d has rows of its own; leave %s out", n, strings.Join(append(files, o.methods...), ", ")))
	}
	return paperTable{t}, nil
}

func tableNumbers() string {
	var all []string
	for _, n := range paper.Numbers() {
		all = append(all, strconv.Itoa(n))
	}
	return strings.Join(all, ", ")
}

// check reads the flags' numbers.
func (o *planOptions) check() error {
	var err error
	if o.contexts, err = parseContexts(o.texts); err != nil {
		return err
	}
	if o.chunk, err = parseChunk(o.chunkText); err != nil {
		return err
	}
	if o.gpu != "" && o.device == "cpu" {
		return usage(fmt.Errorf("--gpu %s and --device cpu: one of the two", o.gpu))
	}
	if o.gpu == thisGPU && o.rates != "" {
		return usage(errors.New("--gpu this measures rates, and --rates has others: leave one of the two out"))
	}
	o.short(o.model, "")
	return nil
}

// parseChunk reads --chunk; 0 is none.
func parseChunk(text string) (int, error) {
	if text == "" {
		return 0, nil
	}
	n, err := config.ParseCount(text)
	if err != nil {
		return 0, usage(fmt.Errorf("--chunk: %w", err))
	}
	if n < 1 {
		return 0, usage(fmt.Errorf("--chunk: passes of %d tokens; expected 1 or more", n))
	}
	return int(n), nil
}

func (o *planOptions) write(w io.Writer, report planReport) error {
	if o.asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(report)
	}
	var out strings.Builder
	report.print(&out, o.markdown)
	_, err := io.WriteString(w, out.String())
	return err
}
