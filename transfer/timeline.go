package transfer

import (
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

// Span is one piece of work on a track, timed by the device.
type Span struct {
	Track      Track
	Name       string
	Start, End time.Duration // since the device was opened
}

// Timeline collects when device work ran. Work is bracketed by events while it
// is enqueued; Settle reads their times once the streams have run dry, so
// that measuring never holds the device up. It is safe for concurrent use.
type Timeline struct {
	dev     kernels.Device
	keep    bool
	mu      sync.Mutex
	pending []bracket
	spare   []kernels.Event
	spans   []Span
	sum     Overlap
}

type bracket struct {
	track      Track
	name       fmt.Stringer
	start, end kernels.Event
}

// Overlap says how busy the tracks were and how much copying went on under compute.
type Overlap struct {
	Copy    time.Duration // copies in and out, summed
	Hidden  time.Duration // of which while compute was busy
	Compute time.Duration
}

// HiddenShare returns Hidden / Copy, or 1 if nothing was copied.
func (o Overlap) HiddenShare() float64 {
	if o.Copy == 0 {
		return 1
	}
	return float64(o.Hidden) / float64(o.Copy)
}

// NewTimeline returns an empty time line; with keep, Spans holds every span.
func NewTimeline(dev kernels.Device, keep bool) *Timeline {
	return &Timeline{dev: dev, keep: keep}
}

// Around enqueues work on s through f and notes it as one span. name is asked
// only for spans that are kept.
func (t *Timeline) Around(s kernels.Stream, track Track, name fmt.Stringer, f func()) {
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

// Settle reads the times of everything noted so far, which must have run.
func (t *Timeline) Settle() {
	t.mu.Lock()
	defer t.mu.Unlock()
	spans := make([]Span, 0, len(t.pending))
	for _, b := range t.pending {
		span := Span{Track: b.track, Start: b.start.Time(), End: b.end.Time()}
		if t.keep {
			span.Name = b.name.String()
		}
		spans = append(spans, span)
		t.spare = append(t.spare, b.start, b.end)
	}
	t.pending = t.pending[:0]
	o := Measure(spans)
	t.sum.Copy += o.Copy
	t.sum.Hidden += o.Hidden
	t.sum.Compute += o.Compute
	if t.keep {
		t.spans = append(t.spans, spans...)
	}
}

// Overlap returns the sums over everything settled.
func (t *Timeline) Overlap() Overlap {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sum
}

// Spans returns what was kept, in order of start.
func (t *Timeline) Spans() []Span {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := slices.Clone(t.spans)
	slices.SortStableFunc(all, func(a, b Span) int { return int(a.Start - b.Start) })
	return all
}

// Measure sums up spans.
func Measure(spans []Span) Overlap {
	busy := union(spans, Compute)
	var o Overlap
	for _, b := range busy {
		o.Compute += b.End - b.Start
	}
	for _, track := range []Track{CopyIn, CopyOut} {
		copies := union(spans, track)
		for _, c := range copies {
			o.Copy += c.End - c.Start
		}
		o.Hidden += intersection(copies, busy)
	}
	return o
}

// union returns a track's busy times, in order and apart from each other.
func union(spans []Span, track Track) []Span {
	var own []Span
	for _, s := range spans {
		if s.Track == track && s.End > s.Start {
			own = append(own, s)
		}
	}
	slices.SortFunc(own, func(a, b Span) int { return int(a.Start - b.Start) })
	joined := own[:0]
	for _, s := range own {
		if n := len(joined); n > 0 && s.Start <= joined[n-1].End {
			joined[n-1].End = max(joined[n-1].End, s.End)
			continue
		}
		joined = append(joined, s)
	}
	return joined
}

// intersection returns how long both were busy.
func intersection(a, b []Span) time.Duration {
	var both time.Duration
	for len(a) > 0 && len(b) > 0 {
		if from, to := max(a[0].Start, b[0].Start), min(a[0].End, b[0].End); from < to {
			both += to - from
		}
		if a[0].End < b[0].End {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return both
}
