package transfer

import (
	"cmp"
	"slices"
	"time"
)

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

func (o *Overlap) add(other Overlap) {
	o.Copy += other.Copy
	o.Hidden += other.Hidden
	o.Compute += other.Compute
}

// Measure sums up spans.
func Measure(spans []Span) Overlap {
	busy := union(spans, Compute)
	o := Overlap{Compute: length(busy)}
	for _, track := range []Track{CopyIn, CopyOut} {
		copies := union(spans, track)
		o.Copy += length(copies)
		o.Hidden += intersection(copies, busy)
	}
	return o
}

// Shares says how well copies and compute went together in the passes of each
// kind. A share of no passes is 0.
type Shares struct {
	PrefillPasses int     `json:"prefill_passes"`
	PrefillHidden float64 `json:"prefill_copying_hidden_share"` // of all copying, both ways, what went on under compute
	DecodePasses  int     `json:"decode_passes"`
	DecodeCopyIn  float64 `json:"decode_copy_in_busy_share"` // see CopyInShare; the median over passes
}

// MeasurePasses returns the shares of passes; spans of others are left out.
func MeasurePasses(spans []Span, passes []Pass) Shares {
	own := map[int][]Span{}
	for _, s := range spans {
		own[s.Pass] = append(own[s.Pass], s)
	}
	var s Shares
	var prefill Overlap
	var decode []float64
	for _, p := range passes {
		switch p.Kind {
		case Prefill:
			s.PrefillPasses++
			prefill.add(Measure(own[p.Number]))
		case Decode:
			s.DecodePasses++
			decode = append(decode, CopyInShare(own[p.Number]))
		}
	}
	if s.PrefillPasses > 0 {
		s.PrefillHidden = prefill.HiddenShare()
	}
	s.DecodeCopyIn = median(decode)
	return s
}

// CopyInShare returns during which share of a pass's time on the device, from
// the first start of a span to the last end of one, something was copied to
// the device. For a pass without spans it is 0.
func CopyInShare(spans []Span) float64 {
	if len(spans) == 0 {
		return 0
	}
	from, to := spans[0].Start, spans[0].End
	for _, s := range spans[1:] {
		from, to = min(from, s.Start), max(to, s.End)
	}
	if to <= from {
		return 0
	}
	return float64(length(union(spans, CopyIn))) / float64(to-from)
}

// median returns the middle value, of an even number the mean of the two in
// the middle, of none 0. It sorts values.
func median(values []float64) float64 {
	n := len(values)
	if n == 0 {
		return 0
	}
	slices.Sort(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

// union returns a track's busy times, in order and apart from each other.
func union(spans []Span, track Track) []Span {
	var own []Span
	for _, s := range spans {
		if s.Track == track && s.End > s.Start {
			own = append(own, s)
		}
	}
	slices.SortFunc(own, func(a, b Span) int { return cmp.Compare(a.Start, b.Start) })
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

// length adds up spans that are apart from each other.
func length(spans []Span) time.Duration {
	var sum time.Duration
	for _, s := range spans {
		sum += s.End - s.Start
	}
	return sum
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
