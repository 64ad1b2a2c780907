package transfer

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"headinfer/kernels"
	"headinfer/kernels/cpu"
)

func span(track Track, pass, from, to int) Span {
	return Span{Track: track, Pass: pass, Start: time.Duration(from), End: time.Duration(to)}
}

func TestMeasureOverlap(t *testing.T) {
	span := func(track Track, from, to int) Span { return span(track, 0, from, to) }
	for _, c := range []struct {
		name  string
		spans []Span
		want  Overlap
	}{
		{"nothing", nil, Overlap{}},
		{"all hidden", []Span{span(Compute, 0, 100), span(CopyIn, 10, 30)}, Overlap{Copy: 20, Hidden: 20, Compute: 100}},
		{"half", []Span{span(Compute, 0, 20), span(CopyIn, 10, 30)}, Overlap{Copy: 20, Hidden: 10, Compute: 20}},
		{"none", []Span{span(Compute, 0, 10), span(CopyIn, 10, 30)}, Overlap{Copy: 20, Hidden: 0, Compute: 10}},
		{"compute in touching and overlapping pieces", []Span{span(Compute, 0, 10), span(Compute, 10, 20), span(Compute, 15, 25), span(CopyIn, 5, 30)}, Overlap{Copy: 25, Hidden: 20, Compute: 25}},
		{"both directions count apart", []Span{span(Compute, 0, 10), span(CopyIn, 0, 10), span(CopyOut, 5, 15)}, Overlap{Copy: 20, Hidden: 15, Compute: 10}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Measure(c.spans); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
	if s := (Overlap{}).HiddenShare(); s != 1 {
		t.Errorf("with nothing copied, the hidden share is %g", s)
	}
}

func TestCopyInShare(t *testing.T) {
	for _, c := range []struct {
		name  string
		spans []Span
		want  float64
	}{
		{"no spans", nil, 0},
		{"spans of no length", []Span{span(CopyIn, 0, 5, 5)}, 0},
		{"nothing copied in", []Span{span(Compute, 0, 0, 10), span(CopyOut, 0, 2, 4)}, 0},
		{"nothing else", []Span{span(CopyIn, 0, 3, 9)}, 1},
		{"the pass ends with compute", []Span{span(CopyIn, 0, 10, 20), span(Compute, 0, 20, 50)}, 0.25},
		{"and begins with it", []Span{span(Compute, 0, 40, 60), span(CopyIn, 0, 10, 20), span(CopyOut, 0, 60, 110), span(Compute, 0, 0, 5)}, 10.0 / 110},
		{"copies that overlap count once", []Span{span(CopyIn, 0, 0, 40), span(CopyIn, 0, 20, 60), span(Compute, 0, 0, 100)}, 0.6},
	} {
		if got := CopyInShare(c.spans); got != c.want {
			t.Errorf("%s: %g, want %g", c.name, got, c.want)
		}
	}
}

func TestMeasurePassesKeepsPassesApart(t *testing.T) {
	passes := []Pass{
		{Number: 0, Kind: Prefill}, {Number: 1, Kind: Prefill},
		{Number: 3, Kind: Decode}, {Number: 4, Kind: Decode}, {Number: 5, Kind: Decode}, {Number: 6, Kind: Decode},
	}
	spans := []Span{
		// 20 copied, 20 hidden; compute of pass 1 in the middle of it counts for
		// pass 1 alone, which hides 10 of 80: together 30 of 100.
		span(Compute, 0, 0, 20), span(CopyIn, 0, 0, 20),
		span(CopyOut, 1, 30, 110), span(Compute, 1, 100, 120),
		span(CopyIn, 2, 0, 1000), // of no pass that is known
		// Decode: copying in for a tenth, half, nine tenths, and all of the time.
		span(Compute, 3, 200, 300), span(CopyIn, 3, 290, 300),
		span(CopyIn, 6, 600, 700), span(Compute, 6, 650, 660),
		span(CopyIn, 4, 400, 450), span(Compute, 4, 450, 500),
		span(CopyIn, 5, 500, 590), span(Compute, 5, 590, 600),
	}
	rand.Shuffle(len(spans), func(i, j int) { spans[i], spans[j] = spans[j], spans[i] })
	want := Shares{PrefillPasses: 2, PrefillHidden: 0.3, DecodePasses: 4, DecodeCopyIn: 0.7}
	if got := MeasurePasses(spans, passes); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	want.DecodePasses, want.DecodeCopyIn = 3, 0.5
	if got := MeasurePasses(spans, passes[:5]); got != want {
		t.Errorf("with an odd number of decode passes: got %+v, want %+v", got, want)
	}
	if got := MeasurePasses(spans, nil); got != (Shares{}) {
		t.Errorf("of no passes: %+v", got)
	}
}

func TestPassNames(t *testing.T) {
	for want, p := range map[string]Pass{
		"prefill t0:8192":    {Kind: Prefill, Tokens: Range{0, 8192}},
		"prefill t8192:8193": {Kind: Prefill, Tokens: Range{8192, 8193}},
		"decode t131072":     {Kind: Decode, Tokens: Range{131072, 131073}},
		"decode t10:13":      {Kind: Decode, Tokens: Range{10, 13}},
	} {
		if got := p.String(); got != want {
			t.Errorf("%+v is named %q, want %q", p, got, want)
		}
	}
}

// name is a span's name that counts how often it is asked.
type name struct {
	text  string
	asked *int
}

func (n name) String() string { *n.asked++; return n.text }

func TestTimelineKeepsWholePassesUpToALimit(t *testing.T) {
	dev := cpu.Open(1<<20, 2)
	defer dev.Close()
	s := dev.NewStream("work")
	line := NewTimeline(dev, true)
	line.record.limit = 7
	asked := 0
	// Passes of 3, 4, 1 and 0 spans: the third does not fit, and none after it.
	for pass, spans := range []int{3, 4, 1, 0} {
		line.Begin(Decode, Range{pass, pass + 1})
		for i := range spans {
			line.Around(s, CopyIn, name{fmt.Sprintf("%d/%d", pass, i), &asked}, func() {})
		}
		if err := s.Synchronize(); err != nil {
			t.Fatal(err)
		}
		line.Settle()
	}
	r := line.Record()
	if len(r.Spans) != 7 || len(r.Passes) != 2 || r.Dropped != 1 || asked != 7 {
		t.Fatalf("%d spans, %d passes, %d dropped, %d names made", len(r.Spans), len(r.Passes), r.Dropped, asked)
	}
	for i, span := range r.Spans {
		want := fmt.Sprintf("%d/%d", i/3, i%3)
		if i == 6 {
			want = "1/3"
		}
		if span.Name != want || span.Pass != i/3 && i != 6 || span.End < span.Start {
			t.Errorf("span %d is %+v", i, span)
		}
		p := r.Passes[span.Pass]
		start, end := r.Clock.Host(span.Start), r.Clock.Host(span.End)
		if start.Before(p.Start.Add(-r.Clock.Error)) || end.After(p.End.Add(r.Clock.Error)) {
			t.Errorf("span %d, %v to %v, lies outside of its pass, %v to %v", i, start, end, p.Start, p.End)
		}
	}
}

func TestTimelineWithoutKeepKeepsNothing(t *testing.T) {
	dev := cpu.Open(1<<20, 2)
	defer dev.Close()
	s := dev.NewStream("work")
	line := NewTimeline(dev, false)
	asked := 0
	line.Begin(Prefill, Range{0, 1})
	line.Around(s, CopyIn, name{"a copy", &asked}, func() {})
	if err := s.Synchronize(); err != nil {
		t.Fatal(err)
	}
	line.Settle()
	if line.Record() != nil || line.Spans() != nil || asked != 0 {
		t.Errorf("kept %+v and %+v; %d names were made", line.Record(), line.Spans(), asked)
	}
	if o := line.Overlap(); o.Compute != 0 || o.Hidden != 0 {
		t.Errorf("a copy alone: %+v", o)
	}
}

// drifting is a device whose clock runs fast or slow and began at some other time.
type drifting struct {
	kernels.Device
	opened time.Time
	rate   float64
	delay  time.Duration // of each event
	failed error
}

type driftingStream struct{ kernels.Stream }

type driftingEvent struct {
	kernels.Event
	dev *drifting
}

func (d *drifting) NewStream(string) kernels.Stream { return driftingStream{} }
func (d *drifting) NewEvent() kernels.Event         { return &driftingEvent{dev: d} }
func (d *drifting) Err() error                      { return d.failed }
func (driftingStream) Record(kernels.Event)         {}

func (d *drifting) at(host time.Time) time.Duration {
	return time.Duration(float64(host.Sub(d.opened)) * d.rate)
}

func (e *driftingEvent) Time() time.Duration {
	if e.dev.failed != nil {
		return 0
	}
	time.Sleep(e.dev.delay)
	at := e.dev.at(time.Now())
	time.Sleep(e.dev.delay / 2)
	return at
}

func TestClockFollowsADriftingDevice(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			dev := &drifting{
				opened: time.Now().Add(-time.Duration(r.Int64N(int64(time.Hour)))),
				rate:   1 + (2*r.Float64()-1)*1e-4,
				delay:  time.Duration(1 + r.Int64N(int64(20*time.Microsecond))),
			}
			line := NewTimeline(dev, true)
			var work []time.Time
			for range 50 {
				time.Sleep(time.Duration(r.Int64N(int64(time.Minute))))
				work = append(work, time.Now())
			}
			clock := line.Record().Clock
			if most := dev.delay; clock.Error > most {
				t.Errorf("off by %v at most, with events that take %v", clock.Error, dev.delay+dev.delay/2)
			}
			worst := time.Duration(0)
			for _, at := range work {
				worst = max(worst, clock.Host(dev.at(at)).Sub(at).Abs())
			}
			if worst > clock.Error+time.Microsecond {
				t.Errorf("off by %v, which is more than %v", worst, clock.Error)
			}
		})
	}
}

func TestClockOfAFailedDeviceStaysAsItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dev := &drifting{opened: time.Now().Add(-time.Minute), rate: 1, delay: time.Microsecond}
		line := NewTimeline(dev, true)
		time.Sleep(time.Second)
		now, at := time.Now(), dev.at(time.Now())
		dev.failed = fmt.Errorf("an unspecified launch failure")
		if off := line.Record().Clock.Host(at).Sub(now).Abs(); off > 10*time.Microsecond {
			t.Errorf("off by %v", off)
		}
	})
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{5, 1}, 3}, {[]float64{9, 1, 4}, 4}, {[]float64{8, 1, 2, 4}, 3}} {
		if got := median(c.values); math.Abs(got-c.want) > 0 {
			t.Errorf("the median of %v is %g, want %g", c.values, got, c.want)
		}
	}
}

// BenchmarkTimeline is what noting one span takes on the host, events and their
// reading included.
func BenchmarkTimeline(b *testing.B) {
	for _, keep := range []bool{false, true} {
		b.Run(fmt.Sprintf("keep=%t", keep), func(b *testing.B) {
			dev := cpu.Open(1<<20, 1)
			defer dev.Close()
			in, out := dev.NewStream("a"), dev.NewStream("b")
			line := NewTimeline(dev, keep)
			const pass = 800 // spans
			for n := 0; n < b.N; n += pass {
				line.Begin(Decode, Range{n, n + 1})
				for i := range pass / 2 {
					tile := Tile{Layer: i / 8, Head: Range{i % 8, i%8 + 1}, Token: Range{0, n}}
					line.Around(in, CopyIn, tile, func() {})
					line.Around(out, Compute, tile, func() {})
				}
				if err := in.Synchronize(); err != nil {
					b.Fatal(err)
				}
				if err := out.Synchronize(); err != nil {
					b.Fatal(err)
				}
				line.Settle()
			}
		})
	}
}

// TestStill notes nothing where nothing is to be measured, and all where spans are kept.
func TestStill(t *testing.T) {
	for _, keep := range []bool{false, true} {
		dev := cpu.Open(0, 1)
		line := NewTimeline(dev, keep)
		line.Still()
		ran, s := 0, dev.NewStream("s")
		for range 2 {
			line.Around(s, CopyIn, Tile{}, func() { ran++ })
			if err := s.Synchronize(); err != nil {
				t.Fatal(err)
			}
			line.Settle()
		}
		if spans := len(line.Spans()); ran != 2 || keep != (line.Overlap().Copy > 0) || keep != (spans == 2) {
			t.Errorf("keeping spans: %t: %d of 2 pieces of work ran, %d spans, %v of copying", keep, ran, spans, line.Overlap().Copy)
		}
		if err := dev.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
