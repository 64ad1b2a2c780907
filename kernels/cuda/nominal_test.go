package cuda

import (
	"math"
	"testing"

	"headinfer/kernels"
)

// TestNominal is near what an H100 was measured to do, and falls back to what its
// generation has where the system does not tell of the link.
func TestNominal(t *testing.T) {
	near := func(got, want float64) bool { return math.Abs(got-want) < 0.02*want }
	for _, link := range []Link{{}, {Generation: 1, Width: 16, MaxGeneration: 5, MaxWidth: 16}, {MaxGeneration: 5}} {
		n := Nominal(9, 0, 132, link)
		if !near(n.CopyIn, 55.3e9) || !near(n.Linear, 767e12) || !near(n.Attention, 617e12) || n.Blocks != 132 || n.BlockRows != 128 {
			t.Errorf("%+v: %+v", link, n)
		}
	}
	if n := Nominal(9, 0, 132, Link{MaxGeneration: 4, MaxWidth: 8}); !near(n.CopyIn, 55.3e9/4) {
		t.Errorf("with half of the lanes of the generation before: %g bytes a second", n.CopyIn)
	}
	if n := Nominal(42, 0, 100, Link{}); n != (kernels.Nominal{}) {
		t.Errorf("of a capability that is not known: %+v", n)
	}
}
