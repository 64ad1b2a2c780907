package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"headinfer/config"
	"headinfer/kernels"
	"headinfer/kernels/cpu"
	"headinfer/plan"
	"headinfer/stages"
)

// benchOptions are the flags of bench.
type benchOptions struct {
	overrides
	contexts []string
	decode   int
	repeats  int
	asJSON   bool
}

// benchRow is what was measured at one context. Times are medians over repeats.
type benchRow struct {
	Pipeline    string  `json:"pipeline"`
	Context     int     `json:"context_tokens"`
	PrefillRate float64 `json:"prefill_tokens_per_second"`
	DecodeRate  float64 `json:"decode_tokens_per_second"`
	// The limits are what this machine's arithmetic and memory, measured in the
	// same run, would allow.
	PrefillLimit  float64       `json:"prefill_limit_tokens_per_second,omitempty"`
	DecodeLimit   float64       `json:"decode_limit_tokens_per_second,omitempty"`
	DecodeSlowest time.Duration `json:"decode_slowest_step_ns"`
	Memory        kernels.Usage `json:"device_memory"`
	Repeats       int           `json:"repeats"`
}

func newBench() *cobra.Command {
	var o benchOptions
	c := &cobra.Command{
		Use:   "bench FILE...",
		Short: "Time prefill and decode of pipelines' methods on random tokens",
		Long: `Time prefill and decode with the model, device, chunk and heads of each
pipeline file. The tokens are random; the documents' sources and sinks are not
used. Each context is measured --repeats times, the pipelines taking turns.`,
		Args: usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			rows, err := o.run(c.Context(), args, c.ErrOrStderr())
			if err != nil {
				return err
			}
			if o.asJSON {
				return json.NewEncoder(c.OutOrStdout()).Encode(rows)
			}
			return printBench(c.OutOrStdout(), rows)
		},
	}
	c.Flags().StringSliceVar(&o.contexts, "context", []string{"512", "4096"}, "prompt lengths in tokens")
	c.Flags().IntVar(&o.decode, "decode-tokens", 32, "tokens to decode after each prompt")
	c.Flags().IntVar(&o.repeats, "repeats", 3, "times to measure each")
	c.Flags().BoolVar(&o.asJSON, "json", false, "print JSON")
	o.flags(c)
	return c
}

func (o *benchOptions) run(ctx context.Context, files []string, errOut io.Writer) ([]benchRow, error) {
	var contexts []int
	for _, text := range o.contexts {
		n, err := config.ParseCount(text)
		if err != nil {
			return nil, usage(fmt.Errorf("--context: %w", err))
		}
		if n < 1 {
			return nil, usage(fmt.Errorf("--context: a prompt of %d tokens", n))
		}
		contexts = append(contexts, int(n))
	}
	if o.repeats < 1 || o.decode < 1 {
		return nil, usage(errors.New("--repeats and --decode-tokens must be at least 1"))
	}
	var pipelines []*pipeline
	for _, file := range files {
		p, err := o.load(file)
		if err != nil {
			return nil, err
		}
		pipelines = append(pipelines, p)
	}
	peak := cpu.MeasurePeak(0)
	rates := plan.Rates{Flops: peak.FLOPPerSecond, ReadBytes: peak.BytesPerSecond}
	var rows []benchRow
	for _, n := range contexts {
		samples := make([][]benchSample, len(pipelines))
		for range o.repeats {
			for i, p := range pipelines {
				s, err := o.once(ctx, p, n, errOut)
				if err != nil {
					return nil, err
				}
				samples[i] = append(samples[i], s)
			}
		}
		for i, p := range pipelines {
			rows = append(rows, summarise(p.File, n, samples[i], rates))
		}
	}
	return rows, nil
}

// benchSample is one measurement.
type benchSample struct {
	prefill float64         // tokens a second
	steps   []time.Duration // of each decoded token
	memory  kernels.Usage
	model   plan.Model
	onCPU   bool
}

func (o *benchOptions) once(ctx context.Context, p *pipeline, n int, errOut io.Writer) (s benchSample, err error) {
	engine, done, err := openEngine(p, newLogger(errOut))
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, done()) }()
	vocab := engine.Checkpoint.Config.Vocab
	text, err := engine.Admit(ctx, "bench")
	if err != nil {
		return s, err
	}
	defer text.Release()
	if most := engine.Checkpoint.Config.Context; n > most-o.decode {
		return s, usage(fmt.Errorf("--context %d and %d tokens to decode pass the model's context of %d", n, o.decode, most))
	}
	tokens := make([]int32, n)
	for i := range tokens {
		tokens[i] = rand.Int32N(int32(vocab))
	}
	start := time.Now()
	if _, err := text.Prefill(ctx, tokens, stages.ChunkOf(p.Documents, engine.Device), o.decode); err != nil {
		return s, err
	}
	s.prefill = float64(n) / time.Since(start).Seconds()
	for range o.decode {
		start := time.Now()
		if _, err := text.Step(ctx, rand.Int32N(int32(vocab))); err != nil {
			return s, err
		}
		s.steps = append(s.steps, time.Since(start))
	}
	s.model, s.onCPU = stages.PlanModel(engine), engine.Device.Info().Kind == "cpu"
	s.memory = engine.Device.Ledger().Usage()
	return s, nil
}

func summarise(file string, n int, samples []benchSample, rates plan.Rates) benchRow {
	var prefill []float64
	var steps []time.Duration
	for _, s := range samples {
		prefill = append(prefill, s.prefill)
		steps = append(steps, s.steps...)
	}
	slices.Sort(prefill)
	slices.Sort(steps)
	row := benchRow{
		Pipeline: file, Context: n, Repeats: len(samples),
		PrefillRate: prefill[len(prefill)/2], DecodeRate: 1 / steps[len(steps)/2].Seconds(),
		DecodeSlowest: steps[len(steps)-1], Memory: samples[0].memory,
	}
	if samples[0].onCPU { // the rates are the processor's
		row.PrefillLimit, row.DecodeLimit = samples[0].model.PrefillLimit(rates, n), samples[0].model.DecodeLimit(rates, n)
	}
	return row
}

func printBench(w io.Writer, rows []benchRow) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "pipeline\tcontext\tprefill tokens/s\tof limit\tdecode tokens/s\tof limit\tdevice memory\tof it KV")
	for _, r := range rows {
		fmt.Fprintf(t, "%s\t%d\t%.1f\t%s\t%.1f\t%s\t%s\t%s\n", r.Pipeline, r.Context,
			r.PrefillRate, share(r.PrefillRate, r.PrefillLimit), r.DecodeRate, share(r.DecodeRate, r.DecodeLimit),
			kernels.FormatBytes(r.Memory.Peak), kernels.FormatBytes(r.Memory.AtPeak[kernels.KVCache]))
	}
	return t.Flush()
}

// share writes a part of a limit, where there is one.
func share(rate, limit float64) string {
	if limit == 0 {
		return "–"
	}
	return fmt.Sprintf("%.0f%%", 100*rate/limit)
}
