package stages

import (
	"math"
	"testing"
)

// TestFillIsTheSameForEveryMethod decodes after a cache that was filled, not
// read: the numbers do not depend on where and in which blocks they lie.
func TestFillIsTheSameForEveryMethod(t *testing.T) {
	const tokens = 20_000 // several blocks on the host
	var want []float32
	for _, method := range []string{"standard", "layer-wise", "headinfer-1", "tiled"} {
		e := openMethod(t, method, tinyLlama)
		text := admit(t, e)
		if err := text.Fill(t.Context(), tokens, 2); err != nil {
			t.Fatal(err)
		}
		if err := text.Fill(t.Context(), tokens, 0); err == nil {
			t.Error("a text was filled twice")
		}
		got, err := text.Step(t.Context(), 7)
		if err != nil {
			t.Fatal(err)
		}
		if held := text.Sequence.Tokens(); held != tokens+1 {
			t.Errorf("%s: %d tokens are held", method, held)
		}
		if want == nil {
			want = got
		}
		for i := range got {
			if math.IsNaN(float64(got[i])) || math.Abs(float64(got[i]-want[i])) > 1e-4*(1+math.Abs(float64(want[i]))) {
				t.Fatalf("%s: logit %d is %g, and after standard %g", method, i, got[i], want[i])
			}
		}
		text.Release()
	}
}
