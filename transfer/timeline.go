package transfer

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"headinfer/kernels"
)

// Track is a kind of device work.
type Track string

// The tracks of a head loop.
const (
	CopyIn  Track = "copy in"
	CopyOut Track = "copy out"
	Compute Track = "compute"
)

// Tracks lists them in the order in which a tile meets them.
func Tracks() []Track { return []Track{CopyIn, Compute, CopyOut} }

// Span is one piece of work on a track, timed by the device.
type Span struct {
	Track      Track
	Name       string
	Pass       int           // the forward pass that it is part of, counted from 0
	Start, End time.Duration // since the device was opened
}

// PassKind is what a forward pass is for.
type PassKind string

// The kinds of passes.
const (
	Prefill PassKind = "prefill" // reads a chunk of a prompt
	Decode  PassKind = "decode"  // reads the token written last
)

// Pass is one forward pass, timed by the host.
type Pass struct {
	Number     int // as in Span.Pass
	Kind       PassKind
	Tokens     Range // of the text, those that the pass reads
	Start, End time.Time
}

// String names the pass as traces do: "prefill t0:8192", "decode t131072".
func (p Pass) String() string {
	if p.Kind == Decode && p.Tokens.Len() == 1 {
		return fmt.Sprintf("%s t%d", p.Kind, p.Tokens.From)
	}
	return fmt.Sprintf("%s t%d:%d", p.Kind, p.Tokens.From, p.Tokens.To)
}

// Timeline collects when device work ran. Work is bracketed by events while it
// is enqueued; Settle reads their times once the streams have run dry, so
// that measuring never holds the device up. It is safe for concurrent use.
type Timeline struct {
	dev     kernels.Device
	mu      sync.Mutex
	pending []bracket
	spare   []kernels.Event
	settled []Span // Settle's, from call to call
	passes  int    // settled so far
	still   bool   // nothing is noted
	sum     Overlap
	record  *recorder // nil unless spans are kept
}

type bracket struct {
	track      Track
	name       fmt.Stringer
	start, end kernels.Event
}

// MaxSpans is how many spans a time line keeps at most: some 200 MB of them.
const MaxSpans = 2_000_000

// recorder is what a time line keeps for a trace.
type recorder struct {
	Record
	clock   *clock
	limit   int
	current *Pass // begun and not settled
}

// Record is what a time line has kept, pass by pass. It keeps whole passes, up
// to MaxSpans, and none after the first that did not fit.
type Record struct {
	Spans   []Span // in the order of passes, and within one as they were enqueued
	Passes  []Pass
	Dropped int // spans that did not fit
	Clock   Clock
}

// NewTimeline returns an empty time line of dev. With keep it keeps what it
// sees for Record, and compares the device's clock with the host's, which
// takes a stream and some idle microseconds.
func NewTimeline(dev kernels.Device, keep bool) *Timeline {
	t := &Timeline{dev: dev}
	if keep {
		t.record = &recorder{clock: newClock(dev), limit: MaxSpans}
	}
	return t
}

// Still makes a time line that keeps no spans note nothing any more. It is for caches
// that never move between host and device: there is no overlap to measure, and the
// events of a short pass would take as long as its work. To be called before the first
// pass.
func (t *Timeline) Still() { t.still = t.record == nil }

// Begin says that what is noted until Settle is the work of a pass over some
// tokens of a text. Without it Settle still counts a pass, of which only the
// spans are kept.
func (t *Timeline) Begin(kind PassKind, tokens Range) {
	if t.record == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.record.current = &Pass{Kind: kind, Tokens: tokens, Start: time.Now()}
}

// Around enqueues work on s through f and notes it as one span. name is asked
// only for spans that are kept.
func (t *Timeline) Around(s kernels.Stream, track Track, name fmt.Stringer, f func()) {
	if t.still {
		f()
		return
	}
	start, end := t.event(), t.event()
	s.Record(start)
	f()
	s.Record(end)
	t.mu.Lock()
	t.pending = append(t.pending, bracket{track, name, start, end})
	t.mu.Unlock()
}

func (t *Timeline) event() kernels.Event {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.spare); n > 0 {
		e := t.spare[n-1]
		t.spare = t.spare[:n-1]
		return e
	}
	return t.dev.NewEvent()
}

// Settle ends a pass: it reads the times of everything noted since the one
// before, which must have run.
func (t *Timeline) Settle() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.settled = t.settled[:0]
	for _, b := range t.pending {
		t.settled = append(t.settled, Span{Track: b.track, Pass: t.passes, Start: b.start.Time(), End: b.end.Time()})
		t.spare = append(t.spare, b.start, b.end)
	}
	t.sum.add(Measure(t.settled))
	if t.record != nil {
		t.record.keep(t.settled, t.pending, t.passes)
	}
	clear(t.pending) // the names hold on to their passes
	t.pending = t.pending[:0]
	t.passes++
}

// keep adds a pass, whole or not at all: the shares of a part would be wrong.
func (r *recorder) keep(spans []Span, brackets []bracket, number int) {
	pass := r.current
	r.current = nil
	if r.Dropped > 0 || len(r.Spans)+len(spans) > r.limit {
		r.Dropped += len(spans)
		return
	}
	if pass != nil {
		pass.Number, pass.End = number, time.Now()
		r.Passes = append(r.Passes, *pass)
	}
	for i, b := range brackets {
		spans[i].Name = b.name.String()
	}
	r.Spans = append(r.Spans, spans...)
}

// Overlap returns the sums over everything settled.
func (t *Timeline) Overlap() Overlap {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sum
}

// Record returns what was kept, or nil if nothing is. It belongs to the time
// line and must not be changed. The device must be open: its clock is compared
// with the host's once more.
func (t *Timeline) Record() *Record {
	if t.record == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	kept := t.record.Record
	kept.Clock = t.record.clock.compare()
	return &kept
}

// Watch returns the record of what f does, with a time line that keeps no spans
// otherwise; with one that does, the record is that of everything. No pass may be
// under way when it is called.
func (t *Timeline) Watch(f func() error) (*Record, error) {
	if t.record == nil {
		still := t.still
		t.record, t.still = &recorder{clock: newClock(t.dev), limit: MaxSpans}, false
		defer func() { t.record, t.still = nil, still }()
	}
	err := f()
	return t.Record(), err
}

// Spans returns what was kept, in order of start.
func (t *Timeline) Spans() []Span {
	if t.record == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	all := slices.Clone(t.record.Spans)
	slices.SortStableFunc(all, func(a, b Span) int { return cmp.Compare(a.Start, b.Start) })
	return all
}
