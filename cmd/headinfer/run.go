package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"headinfer/graph"
	"headinfer/stages"
)

func newRun() *cobra.Command {
	var o overrides
	var asJSON bool
	var letters, tracePath string
	c := &cobra.Command{
		Use:   "run FILE",
		Short: "Run a pipeline",
		Long: `Run a pipeline and print what it took.

--trace writes when each stage, each forward pass and each stream of the device
was busy, for ui.perfetto.dev; what a run that fails or is interrupted has done
is in it too.

Exit code: 0 done, 1 failed, 2 wrong usage, pipeline, model or output, 3 done
but for the documents in the dead letters, 130 interrupted.`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			p, err := o.load(args[0])
			if err != nil {
				return err
			}
			log := newLogger(c.ErrOrStderr())
			trace, err := newTrace(tracePath, args[0], letters, p)
			if err != nil {
				return usage(err)
			}
			dead, err := newDeadLetters(letters, p, log)
			if err != nil {
				return usage(errors.Join(err, trace.finish()))
			}
			s, err := execute(c.Context(), p, log, newProgress(c.ErrOrStderr()), dead, trace)
			err = errors.Join(err, dead.close(), trace.finish())
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
	c.Flags().StringVar(&tracePath, "trace", "", "write a trace to this file (JSON, for ui.perfetto.dev)")
	o.flags(c)
	return c
}

// execute runs a checked pipeline. The summary is nil if the run never started.
func execute(ctx context.Context, p *pipeline, log zerolog.Logger, watch *progress, dead *deadLetters, trace *traceFile) (s *summary, err error) {
	if err := fetchModel(ctx, p, log); err != nil {
		return nil, err
	}
	engine, done, err := openEngine(p, log)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, done()) }()
	engine.Observer = watch
	run, err := p.documents.Build(engine, graph.WithDeadLetters(dead.add), engine.Traced(p.Documents))
	if err != nil {
		return nil, usage(err)
	}
	watch.start(run)
	err = run.Run(ctx)
	watch.stop()
	s = &summary{Report: engine.Report(), Stages: run.Stats(), DeadLetters: dead.count, Trace: trace.add("", engine)}
	if err != nil && ctx.Err() != nil {
		err = &exitError{exitInterrupted, errors.New("interrupted; finished answers are kept in each output's .partial file, or with mode append in the output itself")}
	}
	return s, err
}

// deadLetters lists documents that could not be processed, one JSON object a line.
type deadLetters struct {
	path  string
	log   zerolog.Logger
	mu    sync.Mutex
	file  *os.File
	count int
	err   error
}

// newDeadLetters removes an earlier run's list, which would pass for this one's.
func newDeadLetters(path string, p *pipeline, log zerolog.Logger) (*deadLetters, error) {
	if user := stages.UserOf(path, p.Documents); user != "" {
		return nil, fmt.Errorf("--dead-letters %s: the stage %q uses that file; name another", path, user)
	}
	if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("--dead-letters: %w", err)
		}
	}
	return &deadLetters{path: path, log: log}, nil
}

func (d *deadLetters) add(stage string, e *graph.DocumentError) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.count++
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
