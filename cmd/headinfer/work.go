package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"headinfer/config"
	"headinfer/graph"
	"headinfer/stages"
	"headinfer/stages/queue"
)

// worker is a headinfer work.
type worker struct {
	overrides
	queueFlags
	inFlight int
	text     string
	asJSON   bool
	metrics  string
	log      zerolog.Logger
}

func newWork() *cobra.Command {
	var w worker
	c := &cobra.Command{
		Use:   "work [RUN]",
		Short: "Take part in a run on many machines",
		Long: `Take documents of a run that headinfer submit began, and give the answers back.

The pipeline comes with the run; the model must be here, under the path that the
pipeline names or --set model.path=, and be the same. --set may also change the device's
options. Without a name it is the run that is under way.

A worker can be started and stopped at any time, in whatever way: its documents go
to others. It ends when the run is complete.

Exit code: 0 the run is complete, 1 failed, 2 wrong usage, run or model,
130 interrupted.`,
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			w.log = newLogger(c.ErrOrStderr())
			name := ""
			if len(args) > 0 {
				name = args[0]
			}
			s, err := w.run(c.Context(), name, newProgress(c.ErrOrStderr()))
			if s != nil {
				if printErr := s.print(c.OutOrStdout(), w.asJSON); err == nil {
					err = printErr
				}
			}
			return err
		},
	}
	f := c.Flags()
	f.IntVar(&w.inFlight, "in-flight", 32, "most documents held at a time")
	f.StringVar(&w.text, "text", "1MiB", "text held from which on no further document is taken, so that long ones are left to others")
	f.StringVar(&w.metrics, "metrics", "", "serve figures of the work to Prometheus on this address, such as :9090, under /metrics")
	f.BoolVar(&w.asJSON, "json", false, "print the report as JSON")
	w.queueFlags.flags(c)
	w.overrides.flags(c)
	return c
}

func (w *worker) run(ctx context.Context, name string, watch *progress) (*summary, error) {
	text, err := config.ParseBytes(w.text)
	if err != nil || text < 1 || w.inFlight < 1 {
		return nil, usage(fmt.Errorf("--text is %s and --in-flight %d; expected a size such as 1MiB and at least 1", w.text, w.inFlight))
	}
	if err := workerSets(w.all()); err != nil {
		return nil, err
	}
	record, err := w.find(ctx, name)
	if err != nil {
		return nil, err
	}
	if record.Complete {
		w.log.Info().Str("run", record.Name).Msg("the run is complete")
		return nil, nil
	}
	p, err := partOf(record, w.all())
	if err != nil {
		return nil, err
	}
	if p.documents, err = p.parts.Worker(stages.WorkerOptions{Server: w.Server, Record: record, InFlight: w.inFlight, Text: int64(text)}); err != nil {
		return nil, err
	}
	if err := fetchModel(ctx, p.pipeline, w.log); err != nil {
		return nil, err
	}
	if record.Program != version() {
		w.log.Warn().Str("here", version()).Str("submitted", record.Program).Msg("another build; its answers may differ")
	}
	return w.process(ctx, record, p.pipeline, watch)
}

// find gets the run's record.
func (w *worker) find(ctx context.Context, name string) (record queue.Record, err error) {
	q, err := w.connect(ctx, w.log)
	if err != nil {
		return queue.Record{}, err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	return chooseRun(ctx, q, name)
}

// process takes documents until the run is complete.
func (w *worker) process(ctx context.Context, record queue.Record, p *pipeline, watch *progress) (s *summary, err error) {
	engine, done, err := openEngine(p, w.log)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, done()) }()
	print, err := stages.ModelFact(engine.Checkpoint)
	if err != nil {
		return nil, err
	}
	if print.Value != record.Model {
		return nil, usage(fmt.Errorf("the model %s is not the one that the run %q was submitted with: its fingerprint is %s, and %s is the run's; --set model.path= names another",
			p.Model.Path, record.Name, print.Value, record.Model))
	}
	engine.Observer, engine.Warn = watch, warnOf(w.log)
	var failed atomic.Int64
	run, err := p.documents.Build(engine, graph.WithDeadLetters(func(stage string, e *graph.DocumentError) {
		failed.Add(1)
		w.log.Error().Str("document", e.ID).Str("stage", stage).Err(e.Err).Msg("document dropped")
		engine.Undelivered(ctx, stage, e)
	}))
	if errors.Is(err, queue.ErrComplete) { // since it was looked up
		w.log.Info().Str("run", record.Name).Msg("the run is complete")
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	w.log.Info().Str("run", record.Name).Msg("working")
	figures, err := newMetrics(w.metrics, w.log)
	if err != nil {
		return nil, errors.Join(err, run.Close())
	}
	watch.start(run, 0)
	figures.serve(engine, run)
	err = run.Run(ctx)
	watch.stop()
	figures.stop()
	s = &summary{Report: engine.Report(), Auto: engine.Choices(p.Documents), Stages: run.Stats(), DeadLetters: int(failed.Load())}
	if err != nil && ctx.Err() != nil {
		err = brokenOff(err, "the documents at hand go to other workers",
			"the last finished answers did not reach the queue", "their documents go to other workers, with those at hand")
	}
	return s, err
}
