package main

import (
	"errors"
	"math"
	"slices"
)

// errNotFinite says that no figure can be had from a step's logits.
var errNotFinite = errors.New("logits are not finite; see whether they are with another --method, such as standard, or with --device cpu: if not, the model's weights are broken")

// finite says whether a figure is a number that JSON can write.
func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// areFinite says whether all logits are.
func areFinite(logits []float32) bool {
	return !slices.ContainsFunc(logits, func(l float32) bool { return !finite(float64(l)) })
}

// logSum is the logarithm of the sum of the logits' exponentials.
func logSum(logits []float32) float64 {
	most := math.Inf(-1)
	for _, l := range logits {
		most = max(most, float64(l))
	}
	sum := 0.0
	for _, l := range logits {
		sum += math.Exp(float64(l) - most)
	}
	return most + math.Log(sum)
}

// lossOf is the negative log-likelihood of a token, in nats.
func lossOf(logits []float32, token int32) float64 { return logSum(logits) - float64(logits[token]) }

// oddsOf is the logarithm of a token's odds against all others, log p/(1−p), in
// nats. It tells sure from surer where the likelihoods are 1 to all digits.
func oddsOf(logits []float32, token int32) float64 {
	others := slices.Clone(logits)
	others[token] = float32(math.Inf(-1))
	return float64(logits[token]) - logSum(others)
}

// likeliest is the most likely token, the first of equals.
func likeliest(logits []float32) int32 {
	best := 0
	for i, l := range logits {
		if l > logits[best] {
			best = i
		}
	}
	return int32(best)
}

// divergence is the Kullback–Leibler divergence of the distribution that got
// stands for from that of want, in nats: the sum of p·(log p − log q), with p
// of want and q of got. It is 0 or more.
func divergence(want, got []float32) float64 {
	ofWant, ofGot := logSum(want), logSum(got)
	sum := 0.0
	for i := range want {
		p, q := float64(want[i])-ofWant, float64(got[i])-ofGot
		sum += math.Exp(p) * (p - q)
	}
	return max(sum, 0) // rounding may leave less
}

// logitError is the largest difference of two steps' logits, in standard
// deviations of want's.
func logitError(want, got []float32) float64 {
	mean, variance, most := 0.0, 0.0, 0.0
	for i := range want {
		mean += float64(want[i]) / float64(len(want))
		most = max(most, math.Abs(float64(want[i])-float64(got[i])))
	}
	for i := range want {
		d := float64(want[i]) - mean
		variance += d * d / float64(len(want))
	}
	if most == 0 {
		return 0
	}
	return most / math.Sqrt(variance)
}
