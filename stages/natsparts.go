package stages

import (
	"context"
	"fmt"
	"reflect"
	"slices"

	"headinfer/config"
	"headinfer/graph"
	"headinfer/stages/queue"
)

// Parts are a pipeline's documents level cut in three, for running over a queue:
// what is done where the run is submitted before and after, and what workers do
// between.
type Parts struct {
	pipeline *config.Pipeline
	before   []config.Entry // source, filters, …; gives documents
	work     []config.Entry // tokenize to decode
	after    []config.Entry // takes answers
	answers  string         // the id of the last of work, which after reads from
}

// The names of the stages that join a part to the queue. No pipeline file can
// name them, since they are registered for a part alone.
const (
	toQueue     = "to-queue"
	fromAnswers = "from-answers"
)

// Divide cuts a checked pipeline. The error is config.Problems if its shape does
// not allow that: there must be one line of stages from documents to answers.
func Divide(r *graph.Registry, p *config.Pipeline) (*Parts, error) {
	parts := &Parts{pipeline: p}
	documentItem, answerItem := reflect.TypeFor[*Document](), reflect.TypeFor[*Answer]()
	first, last := -1, -1
	for i, e := range p.Documents {
		spec, _ := r.Spec(config.Documents, e.Stage)
		switch {
		case spec.In == nil && spec.Out != documentItem || e.Stage == "read-nats" || e.Stage == "nats":
			return nil, config.Problems{e.Problem("", fmt.Sprintf("%q cannot be submitted", e.ID), "a source of documents, and a sink that writes answers to files: headinfer submit puts the queue between them itself")}
		case spec.Out == documentItem || spec.In == documentItem && spec.Out == nil:
			parts.before = append(parts.before, e)
			continue
		case spec.In == answerItem:
			parts.after = append(parts.after, e)
			continue
		}
		if spec.In == documentItem {
			if first >= 0 {
				return nil, twice(e, p.Documents[first])
			}
			first = i
		}
		if spec.Out == answerItem {
			if last >= 0 {
				return nil, twice(e, p.Documents[last])
			}
			last = i
		}
		parts.work = append(parts.work, e)
	}
	if first < 0 || last < 0 {
		return nil, config.Problems{{File: p.File, What: "no stages make answers of documents", Want: "tokenize, chunked-prefill and decode under documents"}}
	}
	parts.answers = p.Documents[last].ID
	return parts, nil
}

func twice(e, before config.Entry) config.Problems {
	return config.Problems{e.Problem("", fmt.Sprintf("%q is a second line of stages from documents to answers, beside that of %q", e.ID, before.ID), "one such line; submit the others as pipelines of their own")}
}

// document checks and builds a part with some stages more.
func (p *Parts) document(entries []config.Entry, more ...graph.Spec) (*graph.Graph, error) {
	r, err := graph.NewRegistry(append(Specs(), more...)...)
	if err != nil {
		return nil, err
	}
	part := *p.pipeline
	part.Documents = entries
	return r.Check(&part, config.Documents, graph.Ends{})
}

// Before is the part that gives documents, with take in the place of tokenize.
func (p *Parts) Before(take func(ctx context.Context, in *Document) error) (*graph.Graph, error) {
	end := config.Entry{Stage: toQueue, ID: toQueue, From: p.work[0].From, Options: &struct{}{}}
	return p.document(append(slices.Clone(p.before), end),
		graph.NewSink(config.Documents, toQueue, "Puts documents into the queue.",
			func(*Engine, *struct{}) (graph.Sink[*Document], error) { return sinkFunc[*Document](take), nil }))
}

// After is the part that takes answers, with give in the place of decode.
func (p *Parts) After(give func(ctx context.Context, emit func(*Answer) error) error) (*graph.Graph, error) {
	start := config.Entry{Stage: fromAnswers, ID: p.answers, Options: &struct{}{}}
	return p.document(append([]config.Entry{start}, p.after...),
		graph.NewSource(config.Documents, fromAnswers, "Takes answers from the queue.",
			func(*Engine, *struct{}) (graph.Source[*Answer], error) { return sourceFunc[*Answer](give), nil }))
}

// WorkerOptions say what a worker's part is joined to.
type WorkerOptions struct {
	Server queue.Server
	Record queue.Record
	// InFlight documents are held at most, and a further one is taken while they
	// have fewer than Text bytes.
	InFlight int
	Text     int64
}

// SameWork reports whether workers do the same in another reading of the pipeline,
// whatever is before and after them.
func (p *Parts) SameWork(other *Parts) bool {
	same := func(a, b config.Entry) bool {
		return a.Stage == b.Stage && a.ID == b.ID && a.From == b.From && reflect.DeepEqual(a.Options, b.Options)
	}
	a, b := p.pipeline, other.pipeline
	return slices.EqualFunc(p.work, other.work, same) && slices.EqualFunc(a.Heads, b.Heads, same) &&
		reflect.DeepEqual(a.Model, b.Model) && reflect.DeepEqual(a.Device, b.Device)
}

// Worker is the part between, from read-nats to nats.
func (p *Parts) Worker(o WorkerOptions) (*graph.Graph, error) {
	options := &readNATSOptions{
		Run: o.Record.Name, URL: o.Server.URL, Credentials: o.Server.Credentials, CA: o.Server.CA,
		InFlight: config.Count(o.InFlight), Text: config.Bytes(o.Text), ID: o.Record.ID,
	}
	start := config.Entry{Stage: "read-nats", ID: p.work[0].From, Options: options}
	end := config.Entry{Stage: "nats", ID: "nats", From: p.answers, Options: &natsOptions{}}
	if start.ID == end.ID || slices.ContainsFunc(p.work, func(e config.Entry) bool { return e.ID == end.ID }) {
		end.ID = "to-nats"
	}
	return p.document(append(append([]config.Entry{start}, p.work...), end))
}

type sinkFunc[T any] func(ctx context.Context, in T) error

func (f sinkFunc[T]) Consume(ctx context.Context, in T) error { return f(ctx, in) }

type sourceFunc[T any] func(ctx context.Context, emit func(T) error) error

func (f sourceFunc[T]) Produce(ctx context.Context, emit func(T) error) error { return f(ctx, emit) }
