package stages

import (
	"math/rand/v2"
	"testing"

	"headinfer/model"
	"headinfer/transfer"
)

// TestSegmentsOfAPassDoNotMix runs texts of different lengths in one pass, a
// prefill chunk beside decode steps, and compares each with a run of its own.
func TestSegmentsOfAPassDoNotMix(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for _, method := range []string{"standard", "layer-wise", "headinfer-1", "tiled"} {
		t.Run(method, func(t *testing.T) {
			e := openMethod(t, method, tinyLlama, small[method]...)
			if err := e.decoder.Grow(64, 3); err != nil {
				t.Fatal(err)
			}
			var batch []model.Segment
			var want [][]float32
			for _, shape := range []struct{ past, next int }{{40, 1}, {0, 20}, {95, 3}} {
				ids := make([]int32, shape.past+shape.next)
				for i := range ids {
					ids[i] = r.Int32N(320)
				}
				alone := e.loop.NewSequence()
				defer alone.Release()
				together := e.loop.NewSequence()
				defer together.Release()
				for at := 0; at < len(ids); {
					n := min(len(ids)-at, 64)
					if at < shape.past {
						n = min(n, shape.past-at)
					}
					logits := forward(t, e, model.Segment{Sequence: alone, Tokens: ids[at : at+n]})
					if at+n <= shape.past {
						forward(t, e, model.Segment{Sequence: together, Tokens: ids[at : at+n]})
					}
					if at += n; at == len(ids) {
						want = append(want, logits[0])
					}
				}
				if err := together.Reserve(len(ids)); err != nil {
					t.Fatal(err)
				}
				batch = append(batch, model.Segment{Sequence: together, Tokens: ids[shape.past:]})
			}
			before := len(e.timeline.Spans())
			got := forward(t, e, batch...)
			if n := copiesIn(e.timeline.Spans()[before:]); method == "layer-wise" && n != e.Checkpoint.Config.Layers {
				t.Errorf("the two texts' caches came to the device in %d copies, not one for each of the %d layers", n, e.Checkpoint.Config.Layers)
			}
			for i := range want {
				for j := range want[i] {
					if d := got[i][j] - want[i][j]; d > tolerance || d < -tolerance {
						t.Fatalf("segment %d, token %d: %g in the batch, %g alone", i, j, got[i][j], want[i][j])
					}
				}
			}
		})
	}
}

// forward runs one pass, making room first.
func forward(t *testing.T, e *Engine, segments ...model.Segment) [][]float32 {
	t.Helper()
	for _, s := range segments {
		if err := s.Sequence.Reserve(s.Sequence.Tokens() + len(s.Tokens)); err != nil {
			t.Fatal(err)
		}
	}
	logits, err := e.decoder.Forward(t.Context(), segments, true)
	if err != nil {
		t.Fatal(err)
	}
	return logits
}

func copiesIn(spans []transfer.Span) (n int) {
	for _, s := range spans {
		if s.Track == transfer.CopyIn {
			n++
		}
	}
	return n
}
