package stages

import (
	"sync"
	"time"

	"headinfer/config"
	"headinfer/graph"
	"headinfer/transfer"
)

// Trace is what an engine with KeepSpans, and the stages around it, have done.
type Trace struct {
	Levels []LevelTrace // the documents level and the heads level
	Device *transfer.Record
}

// LevelTrace is what the stages of one level did on the host.
type LevelTrace struct {
	Level   config.Level
	Stages  []string // in the order of the file
	Spans   []StageSpan
	Dropped int // spans past the first transfer.MaxSpans
}

// StageSpan is the time that a stage took for one item, waiting for readers
// included; of a source, the time since the item before.
type StageSpan struct {
	Stage      string
	Name       string // of the item; may be empty
	Start, End time.Time
}

// Trace returns what has been kept so far, or nil without KeepSpans. It shares
// memory with the engine and must not be changed; the device must be open.
func (e *Engine) Trace() *Trace {
	if e.documents == nil {
		return nil
	}
	heads := e.heads.trace()
	for _, s := range e.loop.run.Stats() {
		heads.Stages = append(heads.Stages, s.Name)
	}
	return &Trace{Levels: []LevelTrace{e.documents.trace(), heads}, Device: e.timeline.Record()}
}

// Watch returns what the device does during f, also without KeepSpans; with it, what
// it has done so far too. No pass may be under way.
func (e *Engine) Watch(f func() error) (*transfer.Record, error) { return e.timeline.Watch(f) }

// HeadStats is what the stages of the heads level have done so far, in the order of
// the file.
func (e *Engine) HeadStats() []graph.Stats { return e.loop.run.Stats() }

// Traced makes the stages of a documents level report to the engine's trace.
// Without KeepSpans it changes nothing.
func (e *Engine) Traced(documents []config.Entry) graph.Option {
	if e.documents == nil {
		return graph.WithTracer(nil)
	}
	var ids []string
	for _, entry := range documents {
		ids = append(ids, entry.ID)
	}
	e.documents.mu.Lock()
	defer e.documents.mu.Unlock()
	e.documents.Stages = ids
	return graph.WithTracer(e.documents)
}

// spanLogs are the traces of both levels; without KeepSpans they are nil.
type spanLogs struct{ documents, heads *levelSpans }

func newSpanLogs() spanLogs {
	return spanLogs{newLevelSpans(config.Documents), newLevelSpans(config.Heads)}
}

// levelSpans collects the spans of a level's stages. It is a graph.Tracer.
type levelSpans struct {
	mu sync.Mutex
	LevelTrace
	limit int
}

func newLevelSpans(level config.Level) *levelSpans {
	return &levelSpans{LevelTrace: LevelTrace{Level: level}, limit: transfer.MaxSpans}
}

// Span adds a span.
func (l *levelSpans) Span(stage, name string, start, end time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.Spans) >= l.limit {
		l.Dropped++
		return
	}
	l.Spans = append(l.Spans, StageSpan{stage, name, start, end})
}

func (l *levelSpans) trace() LevelTrace {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.LevelTrace
}

// SpanName names the document in traces.
func (d *Document) SpanName() string { return d.ID }

// SpanName names the answer's document in traces.
func (a *Answer) SpanName() string { return a.ID }
