package sampling

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// off are options that change nothing.
var off = Options{RepetitionPenalty: 1, Temperature: 1, TopP: 1}

func next(t *testing.T, s *Sampler, logits []float32, seen []int32) int32 {
	t.Helper()
	id, err := s.Next(logits, seen)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestLogitsThatAreNoNumbersAreRefused(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, logits := range [][]float32{{1, nan, 2}, {nan}, {1, inf}, {-inf, -inf}, {}} {
		for _, temperature := range []float64{0, 1} {
			o := off
			o.Temperature = temperature
			if id, err := New(o, 1, 1).Next(slices.Clone(logits), nil); !errors.Is(err, ErrLogits) {
				t.Errorf("of %v at temperature %g it took %d, %v", logits, temperature, id, err)
			}
		}
	}
	if id := next(t, New(off, 1, 1), []float32{-inf, 3, -inf}, nil); id != 1 {
		t.Errorf("took the masked token %d", id)
	}
}

func TestGreedyTakesTheLowestOfTheBest(t *testing.T) {
	s := New(Options{RepetitionPenalty: 1, TopP: 1}, 1, 1)
	if got := next(t, s, []float32{1, 5, 5, 2}, nil); got != 1 {
		t.Errorf("took %d, want 1", got)
	}
}

func TestRepetitionPenaltyCountsATokenOnce(t *testing.T) {
	o := Options{RepetitionPenalty: 2, TopP: 1}
	// 4/2 < 3, and -1*2 stays below: once each, however often it was seen.
	if got := next(t, New(o, 1, 1), []float32{4, 3, -1}, []int32{0, 0, 0, 2}); got != 1 {
		t.Errorf("took %d, want 1", got)
	}
	logits := []float32{8, 1, -1}
	next(t, New(o, 1, 1), logits, []int32{0, 0, 2})
	if want := []float32{4, 1, -2}; !slices.Equal(logits, want) {
		t.Errorf("penalised to %v, want %v", logits, want)
	}
}

// TestDrawsFollowTheProbabilities compares frequencies with softmax.
func TestDrawsFollowTheProbabilities(t *testing.T) {
	const draws = 200_000
	logits := []float32{0, 1, 2, -1}
	for _, temperature := range []float64{0.5, 1, 2} {
		seed := rand.Uint64()
		o := off
		o.Temperature = temperature
		s := New(o, seed, 0)
		counts := make([]float64, len(logits))
		for range draws {
			counts[next(t, s, slices.Clone(logits), nil)]++
		}
		sum := 0.0
		for _, v := range logits {
			sum += math.Exp(float64(v) / temperature)
		}
		for i, v := range logits {
			p := math.Exp(float64(v)/temperature) / sum
			// Six standard deviations.
			if slack := 6 * math.Sqrt(p*(1-p)/draws); math.Abs(counts[i]/draws-p) > slack {
				t.Errorf("seed %d, temperature %g: token %d came in %.4f of draws, want %.4f", seed, temperature, i, counts[i]/draws, p)
			}
		}
	}
}

func TestWhatMayBeDrawn(t *testing.T) {
	// Probabilities 0.5, 0.25, 0.125, 0.0625, 0.0625.
	logits := []float32{3, 4, 2, 1, 1}
	for i := range logits {
		logits[i] *= math.Ln2
	}
	for _, c := range []struct {
		name string
		set  func(*Options)
		want []int32
	}{
		{"all", func(*Options) {}, []int32{0, 1, 2, 3, 4}},
		{"top_k", func(o *Options) { o.TopK = 2 }, []int32{0, 1}},
		{"top_p on the border", func(o *Options) { o.TopP = 0.75 }, []int32{0, 1}},
		{"top_p past it", func(o *Options) { o.TopP = 0.76 }, []int32{0, 1, 2}},
		{"top_p of nothing keeps the best", func(o *Options) { o.TopP = 0 }, []int32{1}},
		{"min_p", func(o *Options) { o.MinP = 0.2 }, []int32{0, 1, 2}},
		{"min_p of all", func(o *Options) { o.MinP = 1 }, []int32{1}},
		{"top_k then top_p of what is left", func(o *Options) { o.TopK, o.TopP = 2, 0.6 }, []int32{1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := off
			c.set(&o)
			s := New(o, 7, 7)
			drawn := map[int32]bool{}
			for range 2000 {
				drawn[next(t, s, slices.Clone(logits), nil)] = true
			}
			var got []int32
			for id := range drawn {
				got = append(got, id)
			}
			slices.Sort(got)
			if !slices.Equal(got, c.want) {
				t.Errorf("drew %v, want %v", got, c.want)
			}
		})
	}
}

func TestSeedAndStreamDecide(t *testing.T) {
	draw := func(seed, stream uint64) []int32 {
		s := New(off, seed, stream)
		var out []int32
		for range 50 {
			out = append(out, next(t, s, make([]float32, 100), nil))
		}
		return out
	}
	if !slices.Equal(draw(1, 2), draw(1, 2)) {
		t.Error("the same seed and stream drew differently")
	}
	if slices.Equal(draw(1, 2), draw(1, 3)) || slices.Equal(draw(1, 2), draw(2, 2)) {
		t.Error("another seed or stream drew the same")
	}
}
