package simd

import (
	"math"
	"testing"

	"headinfer/kernels"
)

// TestLay checks that every element is laid out once, at the place of its byte, with
// the sums that minima are multiplied with behind.
func TestLay(t *testing.T) {
	r := fresh(t)
	eachLevel(t, func(t *testing.T) {
		if current.Load().limbBlock != nil {
			t.Skip("see TestLimbs")
		}
		for _, d := range kernels.DTypes() {
			n := (1 + r.IntN(5)) * superBlock
			x := normals(r, n)
			v := Lay(x, d, poisoned(LayFloats(n)))
			if !current.Load().lays || d < kernels.Q2K || d > kernels.Q6K {
				if &v.data[0] != &x[0] || len(v.data) != n {
					t.Errorf("%s: x was laid out anew", d)
				}
				continue
			}
			l := layouts[d-kernels.Q2K]
			size := superBlock + l.sums()
			if len(v.data) != n/superBlock*size {
				t.Fatalf("%s: %d floats of %d columns", d, len(v.data), n)
			}
			for b := range n / superBlock {
				seen := [superBlock]bool{}
				for i, at := range l.order {
					seen[at] = true
					if got, want := v.data[b*size+i], x[b*superBlock+int(at)]; got != want {
						t.Fatalf("%s block %d: place %d has %g, want %g", d, b, i, got, want)
					}
				}
				for at, ok := range seen {
					if !ok {
						t.Fatalf("%s: element %d is nowhere", d, at)
					}
				}
				groups := l.sums() / 2
				for g := range groups {
					var sum float64
					for _, e := range x[b*superBlock+g*l.group:][:l.group] {
						sum += float64(e)
					}
					centre, less := float64(v.data[b*size+superBlock+g]), float64(v.data[b*size+superBlock+groups+g])
					if math.Abs(centre-sum*float64(l.center)) > 1e-4 || math.Abs(less+sum) > 1e-5 {
						t.Errorf("%s block %d group %d: %g and %g beside a sum of %g", d, b, g, centre, less, sum)
					}
				}
			}
		}
	})
}
