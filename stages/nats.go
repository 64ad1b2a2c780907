package stages

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"headinfer/config"
	"headinfer/graph"
	"headinfer/stages/queue"
)

type readNATSOptions struct {
	Run         string       `yaml:"run" default:"" doc:"The run whose documents are taken, as headinfer submit named it." example:"reports"`
	URL         string       `yaml:"url" default:"nats://127.0.0.1:4222" doc:"The NATS server, or several of a cluster with commas between." example:"nats://10.0.0.5:4222"`
	Credentials string       `yaml:"credentials" default:"" doc:"A file with credentials (.creds)." example:"worker.creds"`
	CA          string       `yaml:"ca" default:"" doc:"A file with certificates to trust in place of the system's (PEM)." example:"ca.pem"`
	InFlight    config.Count `yaml:"in_flight" default:"32" min:"1" unit:"documents" doc:"Most documents that this machine holds at a time." example:"4"`
	Text        config.Bytes `yaml:"text" default:"1MiB" min:"1" doc:"Text held from which on no further document is taken, so that long ones are left to other machines." example:"16MiB"`

	ID string `yaml:"-"` // that the run must have; "" for any
}

// Check refuses names that no run has.
func (o *readNATSOptions) Check() []config.OptionError {
	if err := queue.CheckName(o.Run); err != nil {
		return []config.OptionError{{Option: "run", What: fmt.Sprintf("is %q", o.Run), Want: "the name that headinfer submit printed: letters, digits, - and _"}}
	}
	return nil
}

// Server says how to reach the server.
func (o *readNATSOptions) server() queue.Server {
	return queue.Server{URL: o.URL, Credentials: o.Credentials, CA: o.CA}
}

// natsSpecs are the stages of a worker.
func natsSpecs() []graph.Spec {
	return []graph.Spec{
		graph.NewSource[*Engine, *Document](config.Documents, "read-nats",
			"Takes documents of a run from a queue on a NATS server, as headinfer work does, as many as this machine can hold. The answers go back through nats.", newReadNATS),
		graph.NewSink[*Engine, *Answer](config.Documents, "nats",
			"Gives answers back to the queue that read-nats took their documents from.", newNATS),
	}
}

// joining is how long it may take a worker to find its place in a run.
const joining = time.Minute

type readNATS struct{ desk *desk }

func newReadNATS(e *Engine, o *readNATSOptions) (graph.Source[*Document], error) {
	if e.desk != nil {
		return nil, errors.New("the pipeline has a read-nats already; take one")
	}
	ctx, cancel := context.WithTimeout(context.Background(), joining)
	defer cancel()
	q, err := queue.Connect(ctx, o.server(), e.queueWarning)
	if err != nil {
		return nil, err
	}
	worker, err := openWorker(ctx, q, o)
	if err != nil {
		return nil, errors.Join(err, q.Close())
	}
	e.desk = newDesk(o, q, worker)
	e.Run = e.desk
	return &readNATS{e.desk}, nil
}

func openWorker(ctx context.Context, q *queue.Queue, o *readNATSOptions) (*queue.Worker, error) {
	record, err := q.Find(ctx, o.Run)
	if err == nil && o.ID != "" && record.ID != o.ID {
		err = fmt.Errorf("the run %q was begun anew meanwhile; start the worker again", o.Run)
	}
	if err == nil && record.Complete {
		err = fmt.Errorf("run %q: %w", o.Run, queue.ErrComplete)
	}
	if err != nil {
		return nil, err
	}
	return join(ctx, q, record)
}

// join takes part in the run of a record that was read a moment ago.
func join(ctx context.Context, q *queue.Queue, record queue.Record) (*queue.Worker, error) {
	run, err := q.Open(ctx, record)
	if err == nil {
		var worker *queue.Worker
		if worker, err = run.Work(ctx); err == nil {
			return worker, nil
		}
	}
	// A run that ends marks its record before its streams go.
	if now, lost := q.Find(ctx, record.Name); lost == nil && now.Complete {
		err = fmt.Errorf("run %q: %w", record.Name, queue.ErrComplete)
	}
	return nil, err
}

// Produce takes documents until the run is complete.
func (s *readNATS) Produce(ctx context.Context, emit func(*Document) error) error {
	for {
		doc, err := s.desk.next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := emit(doc); err != nil {
			return err
		}
	}
}

// Close leaves what is held to nats, which ends later.
func (s *readNATS) Close() error { return s.desk.close() }

type natsOptions struct{}

type toNATS struct{ desk *desk }

func newNATS(e *Engine, _ *natsOptions) (graph.Sink[*Answer], error) {
	if e.desk == nil {
		return nil, errors.New("there is no read-nats above it, which says where answers go")
	}
	e.desk.mu.Lock()
	defer e.desk.mu.Unlock()
	e.desk.users++
	return &toNATS{e.desk}, nil
}

// Consume sends an answer on its way.
func (s *toNATS) Consume(ctx context.Context, in *Answer) error { return s.desk.answer(ctx, in) }

// Finish waits until the server has all answers.
func (s *toNATS) Finish(context.Context) error { return s.desk.settled() }

// Close gives back documents without answers, for other machines. It fails if an answer
// could not be sent, as Finish does, which is not called in a run that was interrupted.
func (s *toNATS) Close() error {
	err, failed := s.desk.close(), s.desk.settled()
	if err == nil {
		return failed // as it is: who has told it does not tell it again
	}
	return errors.Join(failed, err)
}

// natsPairs refuses one end of a queue without the other: documents would be
// given out again for ever, or answers have nowhere to go.
func natsPairs(entries []config.Entry) config.Problems {
	var from, to *config.Entry
	for i, e := range entries {
		switch e.Options.(type) {
		case *readNATSOptions:
			from = &entries[i]
		case *natsOptions:
			to = &entries[i]
		}
	}
	switch {
	case from != nil && to == nil:
		return config.Problems{from.Problem("", fmt.Sprintf("%q takes documents, and nothing gives their answers back", from.ID), "- nats at the end of documents")}
	case from == nil && to != nil:
		return config.Problems{to.Problem("", fmt.Sprintf("%q gives answers back, and nothing takes documents from a queue", to.ID), "- read-nats: { run: NAME } as the first of documents")}
	}
	return nil
}

// Undelivered tells the queue that read-nats takes documents from, if there is
// one, that a document has no answer: to be called for each in the dead letters.
func (e *Engine) Undelivered(ctx context.Context, stage string, d *graph.DocumentError) {
	if e.desk != nil {
		e.desk.fail(ctx, stage, d)
	}
}

// queueing is the engine's part in a run on many machines.
type queueing struct {
	// Warn, if there is one, is told of calls to the queue that take long and
	// are being tried again.
	Warn func(what string, err error)
	desk *desk // of read-nats, for nats
}

// queueWarning passes warnings on to Warn.
func (e *Engine) queueWarning(what string, err error) {
	if e.Warn != nil {
		e.Warn(what, err)
	}
}
