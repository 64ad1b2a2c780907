package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"headinfer/config"
	"headinfer/kernels"
	devicerate "headinfer/kernels/rate"
	"headinfer/model"
	"headinfer/stages"
	"headinfer/transfer"
)

// ratesMemory is the budget for measuring rates, whatever the pipelines' is.
const ratesMemory = 4 << 30

// measureRates measures what the pipeline's device can do at the shapes of its
// model. That this fails is no reason not to measure the pipelines.
func (o *benchOptions) measureRates(p benchPipeline, log zerolog.Logger) (rates *benchRates, err error) {
	checkpoint, err := model.Open(p.Model.Path)
	if err != nil {
		return nil, usage(err)
	}
	c := checkpoint.Config
	if err := checkpoint.Close(); err != nil {
		return nil, err
	}
	dev, err := openDevice(config.DeviceOptions{Kind: p.Device.Kind, Memory: ratesMemory, Products: p.Device.Products}, log)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	if o.usual {
		o.allow(c.Context)
	}
	longest := o.contexts[len(o.contexts)-1]
	measured, err := devicerate.Measure(dev, devicerate.Shape{
		Rows: rowsOf(cmp.Or(o.chunk, dev.Info().Chunk), longest), Hidden: c.Hidden, FFN: c.FFN,
		KVHeads: c.KVHeads, Group: c.Group(), HeadDim: c.HeadDim, Keys: longest,
	})
	if err != nil {
		log.Warn().Err(err).Msg("the device's rates cannot be measured; the bench goes on without limits")
		return nil, nil
	}
	return &benchRates{Device: dev.Info().Name, Rates: measured}, nil
}

// rowsOf returns the tokens of the largest pass over a prompt.
func rowsOf(chunk, prompt int) int {
	if chunk <= 0 {
		return prompt
	}
	return min(chunk, prompt)
}

// bench is one pipeline on its way through the contexts.
type bench struct {
	*benchOptions
	pipeline benchPipeline
	engine   *stages.Engine
	opened   int64 // device memory in use before the model was loaded
}

// measureMethod measures a pipeline at every context, with its model loaded
// once. With an error, the rows are those done before it. With a trace, it adds
// to that and returns what it comes to.
func (o *benchOptions) measureMethod(ctx context.Context, p benchPipeline, rates *benchRates, trace *traceFile, log zerolog.Logger) (rows []benchRow, figures *traceFigures, err error) {
	dev, err := openDevice(p.Device, log)
	if err != nil {
		return nil, nil, err
	}
	b := &bench{benchOptions: o, pipeline: p, opened: dev.InUse()}
	engine, done, err := startEngine(p.pipeline, dev, log)
	if errors.Is(err, kernels.ErrBudget) || errors.Is(err, errors.ErrUnsupported) {
		for _, n := range o.contexts {
			rows = append(rows, benchRow{Pipeline: p.name, Context: n, Filled: o.filled(n), Error: err.Error()})
			logRow(log, rows[len(rows)-1])
		}
		return rows, figures, nil
	}
	if err != nil {
		return nil, nil, err
	}
	b.engine = engine
	logChoices(b.choices(), log)
	defer func() {
		figures = trace.add(p.name, engine)
		err = errors.Join(err, done())
	}()
	if err := b.fits(); err != nil {
		return nil, nil, err
	}
	if err := b.warm(ctx); err != nil {
		return nil, nil, err
	}
	short := 0 // the context that memory was short for
	for _, n := range o.contexts {
		row := b.row(n)
		if short > 0 {
			row.Error = fmt.Sprintf("not tried: %d tokens did not fit", short)
		} else if err := b.measure(ctx, &row, rates); err != nil {
			if ctx.Err() != nil || dev.Err() != nil {
				return rows, figures, err
			}
			row.Error = err.Error()
			if isShort(err) {
				short = n
			}
		}
		logRow(log, row)
		rows = append(rows, row)
	}
	if o.report != "" {
		t, err := b.watch(ctx, rows)
		switch {
		case err != nil && (ctx.Err() != nil || dev.Err() != nil):
			return rows, figures, err
		case err != nil:
			log.Warn().Err(err).Str("pipeline", p.name).Msg("the report has no time line of it")
		case t != nil:
			o.timelines = append(o.timelines, *t)
		}
	}
	return rows, figures, nil
}

// chunkOf returns the tokens of the pipeline's passes; 0 means the whole prompt.
func (b *bench) chunkOf() int {
	chunk := stages.ChunkOf(b.pipeline.Documents, b.engine)
	if chunk > 0 && b.chunk > 0 {
		return b.chunk
	}
	return chunk
}

// choices are those that no flag takes the place of.
func (b *bench) choices() []stages.Choice {
	all := b.engine.Choices(b.pipeline.Documents)
	return slices.DeleteFunc(all, func(c stages.Choice) bool { return b.chunk > 0 && c.Option == stages.ChunkOption })
}

// fits refuses contexts past the model's; one of random weights has no limit.
func (b *bench) fits() error {
	most := b.engine.Checkpoint.Config.Context
	if n := b.contexts[len(b.contexts)-1]; n > most-b.decode {
		return usage(fmt.Errorf("--context %d and %d tokens to decode pass the model's context of %d", n, b.decode, most))
	}
	return nil
}

// row returns the row of a context, without figures.
func (b *bench) row(n int) benchRow {
	c, dev := b.engine.Checkpoint, b.engine.Device
	r := benchRow{
		Pipeline: b.pipeline.name, Context: n, Filled: b.filled(n), Weights: b.pipeline.weights, Read: stages.PlanModel(b.engine).ReadPerToken(),
		Model: c.Config.Name, Random: c.Random, Lossy: b.engine.Report().Lossy, Device: dev.Info().Name,
	}
	if !r.Filled {
		r.Chunk = rowsOf(b.chunkOf(), n)
	}
	return r
}

// warmTokens are enough for every kind of operator to run once.
const warmTokens = 256

// warm runs everything once, so that the first row does not pay for what is
// only loaded when it is first used. Memory that is short is the rows' matter.
func (b *bench) warm(ctx context.Context) error {
	text, err := b.engine.Admit(ctx, "warm-up")
	if err != nil {
		return err
	}
	defer text.Release()
	n := min(warmTokens, b.contexts[0])
	_, err = text.Prefill(ctx, b.tokens(n), (n+1)/2, 1)
	if err == nil {
		_, err = text.Step(ctx, b.tokens(1)[0])
	}
	if isShort(err) {
		return nil
	}
	return err
}

// isShort says whether memory that could not be had is the reason.
func isShort(err error) bool {
	return errors.Is(err, kernels.ErrBudget) || errors.Is(err, transfer.ErrHostMemory)
}

// tokens returns n at random.
func (b *bench) tokens(n int) []int32 {
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = rand.Int32N(int32(b.engine.Checkpoint.Config.Vocab))
	}
	return ids
}

// measure fills a row in. Its memory is that of the first repeat; the others
// take the same.
func (b *bench) measure(ctx context.Context, r *benchRow, rates *benchRates) error {
	samples := make([]benchSample, b.repeats)
	for i := range samples {
		if err := b.once(ctx, r, &samples[i]); err != nil {
			return err
		}
	}
	if b.engine.Partial() {
		rates = nil // the limits are those of the whole context
	}
	r.model = stages.PlanModel(b.engine)
	r.figures(samples, r.model, rates)
	return nil
}

// once measures a row once.
func (b *bench) once(ctx context.Context, r *benchRow, s *benchSample) error {
	e := b.engine
	e.Trim()
	e.Device.Ledger().ResetPeak()
	text, err := e.Admit(ctx, "bench")
	if err != nil {
		return err
	}
	defer text.Release()
	use := benchInUse{Opened: b.opened}
	begun := e.Report()
	if err := b.begin(ctx, text, r, s); err != nil {
		return err
	}
	use.Prefill = e.Device.InUse()
	read := e.Report()
	for _, token := range b.tokens(b.decode) {
		start := time.Now()
		if _, err := text.Step(ctx, token); err != nil {
			return err
		}
		s.steps = append(s.steps, time.Since(start))
	}
	use.Decode = e.Device.InUse()
	end := e.Report()
	s.read, s.decoded = since(begun, read), since(read, end)
	if r.Memory == nil {
		memory := e.Device.Ledger().Usage()
		r.Memory = &memory
		if b.opened > 0 {
			r.InUse = &use
		}
		method := e.Method(r.Chunk)
		if r.Filled {
			method.Chunk = 1 // no pass had more
		}
		planned := stages.PlanModel(e).Memory(method, r.Context, r.Context+b.decode)
		r.Planned, r.how = &planned, method
		r.Partial = e.Partial()
		r.Group, r.Span = method.Group, method.Span
		if r.Span == 0 || r.Span > r.Context {
			r.Span = r.Context
		}
		if method.OnHost {
			r.HostKV = text.Sequence.Shape().Bytes(text.Sequence.Capacity())
		}
	}
	return nil
}

// begin makes the cache hold the row's context.
func (b *bench) begin(ctx context.Context, text *stages.Text, r *benchRow, s *benchSample) error {
	if r.Filled {
		if err := text.Fill(ctx, r.Context, b.decode); err != nil {
			return err
		}
		// What making the numbers took is none of the method's.
		b.engine.Device.Ledger().ResetPeak()
		return nil
	}
	tokens := b.tokens(r.Context)
	start := time.Now()
	_, err := text.Prefill(ctx, tokens, r.Chunk, b.decode)
	s.prefill = time.Since(start)
	return err
}
