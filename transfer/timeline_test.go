package transfer

import (
	"testing"
	"time"
)

func TestMeasureOverlap(t *testing.T) {
	span := func(track Track, from, to int) Span {
		return Span{Track: track, Start: time.Duration(from), End: time.Duration(to)}
	}
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
