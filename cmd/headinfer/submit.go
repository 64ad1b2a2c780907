package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"headinfer/graph"
	"headinfer/model"
	"headinfer/stages"
	"headinfer/stages/queue"
)

// submission is a headinfer submit.
type submission struct {
	overrides
	queueFlags
	again    resumption
	name     string // of the run
	letters  string
	asJSON   bool
	noWait   bool
	replicas int
	depth    int
	ackWait  time.Duration
	tries    int
	log      zerolog.Logger
}

func newSubmit() *cobra.Command {
	var s submission
	c := &cobra.Command{
		Use:   "submit FILE",
		Short: "Run a pipeline on many machines",
		Long: `Run a pipeline on the machines where headinfer work runs.

submit reads the documents, puts them into a queue on a NATS server with JetStream,
and writes the answers that come back to the pipeline's outputs, each once. All else
is as with headinfer run: it can be stopped and started again at any time, and goes
on. Started again with --no-wait it only fills the queue.

Exit code: 0 done, 1 failed, 2 wrong usage, pipeline, model or output, 3 done
but for the documents in the dead letters, 130 interrupted.`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			s.log = newLogger(c.ErrOrStderr())
			return s.run(c, args[0])
		},
	}
	f := c.Flags()
	f.StringVar(&s.name, "run", "", "the run's name, which workers go by (by default the pipeline file's)")
	f.BoolVar(&s.noWait, "no-wait", false, "end when all documents are in the queue; submit again to write the answers")
	f.IntVar(&s.replicas, "replicas", 0, "copies of the queue in a cluster; 0 is 3 where there are so many servers, or what the run has")
	f.IntVar(&s.depth, "depth", 4096, "most documents in the queue at a time")
	f.DurationVar(&s.ackWait, "ack-wait", 0, fmt.Sprintf("after how long without a sign of life a worker's documents go to others; 0 is %v, or what the run has", queue.DefaultAckWait))
	f.IntVar(&s.tries, "deliveries", 0, fmt.Sprintf("how many workers may die with a document before it goes to the dead letters; 0 is %d, or what the run has", queue.DefaultDeliveries))
	f.BoolVar(&s.asJSON, "json", false, "print the report as JSON")
	f.StringVar(&s.letters, "dead-letters", "out/dead-letters.jsonl", "where documents that could not be processed are listed, with the reason (a list of an earlier run is removed)")
	f.BoolVar(&s.again.corpus.Restart, "restart", false, "start over, whatever earlier runs have answered")
	f.BoolVar(&s.again.corpus.AcceptChanges, "accept-changes", false, "go on though the pipeline, the model or input files changed; answers that there are stay")
	s.queueFlags.flags(c)
	s.overrides.flags(c)
	return c
}

func (s *submission) check() error {
	switch {
	case s.depth < 1:
		return usage(fmt.Errorf("--depth is %d; expected at least 1", s.depth))
	case s.ackWait < time.Second && s.ackWait != 0:
		return usage(fmt.Errorf("--ack-wait is %v; expected at least 1s, or 0", s.ackWait))
	case s.tries < 0:
		return usage(fmt.Errorf("--deliveries is %d; expected at least 1, or 0", s.tries))
	case s.replicas < 0 || s.replicas > 5:
		return usage(fmt.Errorf("--replicas is %d; expected 1 to 5, or 0", s.replicas))
	}
	return nil
}

func (s *submission) run(c *cobra.Command, file string) error {
	if err := s.check(); err != nil {
		return err
	}
	ctx := c.Context()
	record, p, err := newRecord(file, s.name, s.all())
	if err != nil {
		return err
	}
	if err := fetchModel(ctx, p.pipeline, s.log); err != nil {
		return err
	}
	complete, err := s.again.look(p.pipeline)
	if err != nil {
		return usage(err)
	}
	if complete != nil {
		if err := s.end(ctx, record, p); err != nil {
			s.log.Warn().Err(err).Str("run", record.Name).Msg("the outputs are complete; whether workers still wait for the run could not be found out")
		}
		return printComplete(c.OutOrStdout(), complete, s.asJSON)
	}
	record.Replicas, record.AckWait, record.Deliveries = s.replicas, s.ackWait, s.tries
	q, err := s.connect(ctx, s.log)
	if err != nil {
		return err
	}
	dead, err := newDeadLetters(s.letters, p.pipeline, s.log)
	if err != nil {
		return usage(errors.Join(err, q.Close()))
	}
	report, err := s.submit(ctx, q, record, p, dead, newProgress(c.ErrOrStderr()))
	err = errors.Join(err, q.Close(), dead.close())
	if report != nil {
		if printErr := report.print(c.OutOrStdout(), s.asJSON); err == nil {
			err = printErr
		}
	}
	if err == nil && dead.count > 0 {
		return &exitError{exitDeadLetters, fmt.Errorf("%d documents could not be processed; see %s", dead.count, s.letters)}
	}
	return err
}

// end ends the run on the server, if it is there still: the submission that
// completed the outputs may have been killed before it came to that.
func (s *submission) end(ctx context.Context, record queue.Record, p *parted) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	print, err := fingerprint(p.Model.Path)
	if err != nil {
		return err
	}
	record.Model = print.Value
	q, err := s.connect(ctx, s.log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	return q.End(ctx, record)
}

// submit does all that follows once the queue can be reached. The report is nil
// if nothing was submitted.
func (s *submission) submit(ctx context.Context, q *queue.Queue, record queue.Record, p *parted, dead *deadLetters, watch *progress) (report *submitted, err error) {
	checkpoint, err := model.Open(p.Model.Path)
	if err != nil {
		return nil, usage(err)
	}
	defer func() { err = errors.Join(err, checkpoint.Close()) }()
	print, err := stages.ModelFact(checkpoint)
	if err != nil {
		return nil, err
	}
	record.Model = print.Value
	corpus := s.again.corpus
	corpus.Repeats, corpus.Failed, corpus.Facts = true, dead.failed, append(corpus.Facts, print)
	engine := &stages.Engine{Checkpoint: checkpoint, Corpus: corpus}

	var job *stages.Submission
	before, after, err := s.build(p, engine, dead, &job)
	if err != nil {
		return nil, usage(err)
	}
	if err := errors.Join(engine.Begin(), dead.begin()); err != nil {
		return nil, usage(errors.Join(err, before.Close(), after.Close()))
	}
	run, err := q.Create(ctx, record, s.again.corpus.Restart)
	if _, changed := errors.AsType[*queue.ChangedError](err); changed && s.again.corpus.AcceptChanges {
		run, err = q.Create(ctx, record, true)
	}
	if err != nil {
		return nil, errors.Join(queueError(err), before.Close(), after.Close())
	}
	s.log.Info().Str("run", run.Name).Int("replicas", run.Replicas).
		Str("worker", fmt.Sprintf("headinfer work --url %s %s", s.Server, run.Name)).Msg("submitting")
	o := stages.SubmissionOptions{Depth: s.depth, Dead: dead.add}
	if s.noWait {
		o.Depth = 0
	}
	job = stages.NewSubmission(engine, run, o)
	if !s.noWait {
		watch.start(after, documents(p.pipeline, corpus.Facts))
	}
	start := time.Now()
	err = job.Run(ctx, before, after)
	watch.stop()
	report = &submitted{Run: run.Name, SubmissionCounts: job.Counts(), Seconds: time.Since(start).Seconds(), Waited: !s.noWait}
	switch {
	case err != nil && ctx.Err() != nil:
		err = brokenOff(err, "the workers go on, and submitting again writes their answers",
			"the last answers are not written", "the workers go on, and submitting again writes all of them")
	case err == nil && !s.noWait:
		err = run.Complete(ctx)
	}
	return report, err
}

// build makes the parts before and after the workers. job is read when they run.
func (s *submission) build(p *parted, engine *stages.Engine, dead *deadLetters, job **stages.Submission) (before, after *graph.Run, err error) {
	last, err := p.parts.After(func(ctx context.Context, emit func(*stages.Answer) error) error { return (*job).Collect(ctx, emit) })
	if err != nil {
		return nil, nil, err
	}
	first, err := p.parts.Before(func(ctx context.Context, in *stages.Document) error { return (*job).Submit(ctx, in) })
	if err != nil {
		return nil, nil, err
	}
	after, err = last.Build(engine, graph.WithDeadLetters(func(stage string, e *graph.DocumentError) {
		dead.add(stage, e)
		(*job).Refused(e.ID)
	}))
	if err != nil {
		return nil, nil, err
	}
	before, err = first.Build(engine, graph.WithDeadLetters(dead.add))
	if err != nil {
		return nil, nil, errors.Join(err, after.Close())
	}
	return before, after, nil
}

// submitted is what `submit` prints at the end.
type submitted struct {
	Run string `json:"run"`
	stages.SubmissionCounts
	Seconds float64 `json:"seconds"`
	Waited  bool    `json:"waited"` // for the answers
}

func (r *submitted) print(w io.Writer, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	_, err := fmt.Fprintf(w, "run        %s\nsubmitted  %d documents", r.Run, r.Submitted)
	if err == nil && r.There > 0 {
		_, err = fmt.Fprintf(w, ", and %d were in the queue", r.There)
	}
	if err == nil && r.Earlier > 0 {
		_, err = fmt.Fprintf(w, ", and %d answered before", r.Earlier)
	}
	if err == nil && r.Waited {
		_, err = fmt.Fprintf(w, "\nanswers    %d, in %v; %d in the dead letters", r.Answers, time.Duration(r.Seconds*float64(time.Second)).Round(100*time.Millisecond), r.Failed)
	}
	if err == nil {
		_, err = fmt.Fprintln(w)
	}
	return err
}
