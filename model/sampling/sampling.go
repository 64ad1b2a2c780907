// Package sampling chooses the next token from a model's logits.
package sampling

import (
	"cmp"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
)

// Options are the usual knobs, applied in the order in which they stand here.
type Options struct {
	RepetitionPenalty float64 // divides the logits of tokens seen already (Keskar et al. 2019); 1: off
	Temperature       float64 // divides all logits; 0: always the most likely token
	TopK              int     // keep the k most likely; 0: all
	TopP              float64 // keep the most likely that sum to p (Holtzman et al. 2019); 1: all
	MinP              float64 // keep those with at least min_p of the most likely one's probability; 0: all
}

// Sampler draws the tokens of one text.
type Sampler struct {
	opt  Options
	rand *rand.Rand
}

// New returns a sampler whose draws depend on seed and stream alone.
func New(opt Options, seed, stream uint64) *Sampler {
	return &Sampler{opt: opt, rand: rand.New(rand.NewPCG(seed, stream))}
}

type candidate struct {
	id     int32
	weight float64
}

// ErrLogits is what Next returns for logits that are no distribution: NaN or
// +Inf among them, or nothing but -Inf. A damaged model gives such.
var ErrLogits = errors.New("the model's logits are not numbers")

// Next returns a token. It changes logits. seen are the tokens so far, the
// prompt's included; of equally likely tokens the lowest id comes first.
func (s *Sampler) Next(logits []float32, seen []int32) (int32, error) {
	if !distribution(logits) {
		return 0, ErrLogits
	}
	if s.opt.RepetitionPenalty != 1 && s.opt.RepetitionPenalty > 0 {
		penalise(logits, seen, float32(s.opt.RepetitionPenalty))
	}
	if s.opt.Temperature == 0 {
		return argmax(logits), nil
	}
	return s.draw(s.keep(logits)), nil
}

func distribution(logits []float32) bool {
	any := false
	for _, v := range logits {
		switch f := float64(v); {
		case math.IsNaN(f), math.IsInf(f, 1):
			return false
		case !math.IsInf(f, -1):
			any = true
		}
	}
	return any
}

func penalise(logits []float32, seen []int32, penalty float32) {
	done := make(map[int32]bool, len(seen))
	for _, id := range seen {
		if done[id] || int(id) >= len(logits) {
			continue
		}
		done[id] = true
		if logits[id] > 0 {
			logits[id] /= penalty
		} else {
			logits[id] *= penalty
		}
	}
}

func argmax(logits []float32) int32 {
	best := 0
	for i, v := range logits {
		if v > logits[best] {
			best = i
		}
	}
	return int32(best)
}

// keep returns the tokens that may be drawn, the likeliest first, with weights
// relative to the likeliest's.
func (s *Sampler) keep(logits []float32) []candidate {
	top := float64(logits[argmax(logits)])
	all := make([]candidate, len(logits))
	for i, v := range logits {
		all[i] = candidate{int32(i), math.Exp((float64(v) - top) / s.opt.Temperature)}
	}
	slices.SortStableFunc(all, func(a, b candidate) int { return cmp.Compare(b.weight, a.weight) })
	if s.opt.TopK > 0 {
		all = all[:min(s.opt.TopK, len(all))]
	}
	if s.opt.TopP < 1 {
		limit := s.opt.TopP * total(all)
		sum := 0.0
		for i, c := range all {
			if sum += c.weight; sum >= limit {
				all = all[:i+1]
				break
			}
		}
	}
	for i, c := range all {
		if i > 0 && c.weight < s.opt.MinP {
			all = all[:i]
			break
		}
	}
	return all
}

func (s *Sampler) draw(from []candidate) int32 {
	at := s.rand.Float64() * total(from)
	for _, c := range from {
		if at -= c.weight; at < 0 {
			return c.id
		}
	}
	return from[len(from)-1].id
}

func total(all []candidate) float64 {
	sum := 0.0
	for _, c := range all {
		sum += c.weight
	}
	return sum
}
