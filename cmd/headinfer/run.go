package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"headinfer/graph"
	"headinfer/stages"
)

func newRun() *cobra.Command {
	var o overrides
	var again resumption
	var asJSON bool
	var letters, tracePath, metricsAt, reportDir string
	c := &cobra.Command{
		Use:   "run FILE",
		Short: "Run a pipeline",
		Long: `Run a pipeline and print what it took.

A run that was cut short, in whatever way, is gone on with when it is started again:
what is in the output is not done again. One that is complete does nothing. Documents in
the dead letters are tried again. A run whose pipeline, model or input files are not
those of the answers that there are is refused, and says what changed; new input
files are no change. headinfer status says how far a run is.

--trace writes when each stage, each forward pass and each stream of the device
was busy, for ui.perfetto.dev; what a run that fails or is interrupted has done
is in it too.

--report writes report.html, a page of the pipeline's graph with what each stage did, of
memory by purpose and of what was answered; with --trace, it has one layer's time line.

Exit code: 0 done, 1 failed, 2 wrong usage, pipeline, model or output, 3 done
but for the documents in the dead letters, 130 interrupted.`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			p, err := o.load(args[0])
			if err != nil {
				return err
			}
			log := newLogger(c.ErrOrStderr())
			if err := fetchModel(c.Context(), p, log); err != nil {
				return err
			}
			complete, err := again.look(p)
			if err != nil {
				return usage(err)
			}
			if complete != nil {
				if reportDir != "" {
					log.Warn().Msg("the run is complete and nothing is done, so that no report is written; --restart starts over")
				}
				return printComplete(c.OutOrStdout(), complete, asJSON)
			}
			if err := checkReport(c.Flags(), reportDir); err != nil {
				return err
			}
			figures, err := newMetrics(metricsAt, log)
			if err != nil {
				return err
			}
			defer figures.stop()
			trace, err := newTrace(tracePath, args[0], letters, p)
			if err != nil {
				return usage(err)
			}
			dead, err := newDeadLetters(letters, p, log)
			if err != nil {
				return usage(errors.Join(err, trace.finish()))
			}
			beside := &runFacts{machine: thisMachine()}
			s, err := execute(c.Context(), p, again.corpus, log, newProgress(c.ErrOrStderr()), dead, trace, figures, beside)
			err = errors.Join(err, dead.close(), trace.finish())
			if s != nil && reportDir != "" {
				beside.dead = dead.first
				err = errors.Join(err, writePage(reportDir, s.page(p, beside), log))
			}
			if s != nil {
				if printErr := s.print(c.OutOrStdout(), asJSON); err == nil {
					err = printErr
				}
			}
			if err == nil && dead.count > 0 {
				return &exitError{exitDeadLetters, fmt.Errorf("%d documents could not be processed; see %s", dead.count, letters)}
			}
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON")
	c.Flags().StringVar(&letters, "dead-letters", "out/dead-letters.jsonl", "where documents that could not be processed are listed, with the reason (a list of an earlier run is removed)")
	c.Flags().BoolVar(&again.corpus.Restart, "restart", false, "start over, whatever earlier runs have answered")
	c.Flags().BoolVar(&again.corpus.AcceptChanges, "accept-changes", false, "go on though the pipeline, the model or input files changed; answers that there are stay")
	c.Flags().StringVar(&metricsAt, "metrics", "", "serve figures of the run to Prometheus on this address, such as :9090, under /metrics")
	reportFlag(c.Flags(), &reportDir)
	c.Flags().StringVar(&tracePath, "trace", "", "write a trace to this file (JSON, for ui.perfetto.dev)")
	o.flags(c)
	return c
}

// execute runs a checked pipeline. The summary is nil if the run never started.
func execute(ctx context.Context, p *pipeline, corpus stages.Corpus, log zerolog.Logger, watch *progress, dead *deadLetters, trace *traceFile, figures *metrics, beside *runFacts) (s *summary, err error) {
	engine, done, err := openEngine(p, log)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, done()) }()
	engine.Observer = watch
	print, err := stages.ModelFact(engine.Checkpoint)
	if err != nil {
		return nil, err
	}
	corpus.Facts, corpus.Failed, corpus.Ways = append(corpus.Facts, print), dead.failed, stages.Ways(p.Pipeline)
	engine.Corpus = corpus
	run, err := p.documents.Build(engine, graph.WithDeadLetters(func(stage string, e *graph.DocumentError) {
		dead.add(stage, e)
		engine.Undelivered(ctx, stage, e)
	}), engine.Traced(p.Documents))
	if err != nil {
		return nil, usage(err)
	}
	// Now all outputs are this run's, and what is there of earlier ones can go.
	err = engine.Begin()
	if err == nil {
		err = dead.begin()
	}
	if err != nil {
		return nil, usage(errors.Join(err, run.Close()))
	}
	watch.start(run, documents(p, corpus.Facts))
	figures.serve(engine, run)
	start := time.Now()
	err = run.Run(ctx)
	took := time.Since(start)
	watch.stop()
	figures.stop() // it asks the engine, which is closed next
	s = &summary{
		Report: engine.Report(), Auto: engine.Choices(p.Documents), Outputs: statuses(p), Took: took, Stages: run.Stats(), Heads: engine.HeadStats(),
		DeadLetters: dead.count, Trace: trace.add("", engine),
	}
	if kept := engine.Trace(); kept != nil {
		beside.record = kept.Device
	}
	if err != nil && ctx.Err() != nil {
		err = brokenOff(err, "finished answers are kept, and running again goes on from there",
			"the last finished answers are not kept", "running again goes on from what is")
	}
	return s, err
}

// brokenOff is the error of a run that was interrupted: what is then, or what is lost
// and what is then, where the last finished answers were not taken.
func brokenOff(err error, then, lost, thenLost string) error {
	if late, ok := errors.AsType[*graph.LateError](err); ok {
		return &exitError{exitInterrupted, fmt.Errorf("interrupted, and %s: %w; %s", lost, late, thenLost)}
	}
	return &exitError{exitInterrupted, errors.New("interrupted; " + then)}
}

// deadLetters lists documents that could not be processed, one JSON object a line.
type deadLetters struct {
	path  string
	log   zerolog.Logger
	mu    sync.Mutex
	file  *os.File
	count int
	first []deadLetter // for --report
	err   error
}

// newDeadLetters finds out whether the list can be at a path.
func newDeadLetters(path string, p *pipeline, log zerolog.Logger) (*deadLetters, error) {
	if user := stages.UserOf(path, p.Documents); user != "" {
		return nil, fmt.Errorf("--dead-letters %s: the stage %q uses that file; name another", path, user)
	}
	return &deadLetters{path: path, log: log}, nil
}

// begin removes an earlier run's list, which would pass for this one's.
func (d *deadLetters) begin() error {
	if info, err := os.Stat(d.path); err == nil && info.Mode().IsRegular() {
		if err := os.Remove(d.path); err != nil {
			return fmt.Errorf("--dead-letters: %w", err)
		}
	}
	return nil
}

func (d *deadLetters) add(stage string, e *graph.DocumentError) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.count++
	if len(d.first) < deadShown {
		d.first = append(d.first, deadLetter{e.ID, stage, e.Err.Error()})
	}
	d.log.Error().Str("document", e.ID).Str("stage", stage).Err(e.Err).Msg("document dropped")
	if d.file == nil && d.err == nil {
		if d.err = os.MkdirAll(filepath.Dir(d.path), 0o755); d.err == nil {
			d.file, d.err = os.Create(d.path)
		}
	}
	if d.err == nil {
		d.err = json.NewEncoder(d.file).Encode(struct {
			ID     string `json:"id"`
			Stage  string `json:"stage"`
			Reason string `json:"reason"`
		}{e.ID, stage, e.Err.Error()})
	}
}

// failed is how many there are.
func (d *deadLetters) failed() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return int64(d.count)
}

func (d *deadLetters) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.file != nil {
		d.err = errors.Join(d.err, d.file.Close())
	}
	if d.err != nil {
		return fmt.Errorf("dead letters: %w", d.err)
	}
	return nil
}

var _ stages.Observer = (*progress)(nil)
