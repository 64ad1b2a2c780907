package model

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"headinfer/internal/shorten"
)

// Rope is a rotary position embedding (Su et al. 2021, section 3.2.2) and the
// way in which it is stretched past the texts that a model was trained on.
type Rope struct {
	Base float64 `json:"base"`
	Dim  int     `json:"dim"` // channels of a head that are rotated, the first ones; 0: none
	// Scaling is the way: "" for none, linear, dynamic, yarn, llama3 or longrope.
	Scaling string  `json:"scaling,omitempty"`
	Factor  float64 `json:"factor,omitempty"`  // by how much
	Trained int     `json:"trained,omitempty"` // tokens before stretching

	LowFrequency  float64 `json:"low_frequency,omitempty"`  // llama3: rotations within Trained
	HighFrequency float64 `json:"high_frequency,omitempty"` // llama3
	BetaFast      float64 `json:"beta_fast,omitempty"`      // yarn: rotations within Trained
	BetaSlow      float64 `json:"beta_slow,omitempty"`      // yarn
	Exact         bool    `json:"exact,omitempty"`          // yarn: the ramp's ends are not rounded to whole channels
	// Attention multiplies what is rotated, in yarn and longrope. 0: 1.
	Attention   float64   `json:"attention,omitempty"`
	ShortFactor []float64 `json:"short_factor,omitempty"` // longrope: of each frequency, up to Trained tokens
	LongFactor  []float64 `json:"long_factor,omitempty"`  // longrope: past them
}

// scalings are the ways of stretching, with what computes them.
var scalings = map[string]func(r Rope, f []float64, tokens int){
	"":         func(Rope, []float64, int) {},
	"linear":   Rope.linear,
	"dynamic":  Rope.dynamic,
	"yarn":     Rope.yarn,
	"llama3":   Rope.llama3,
	"longrope": Rope.longrope,
}

// Frequencies returns the rotary frequencies [Dim/2] in radians a token for a
// text of some tokens, and what multiplies the cosines and sines. Only dynamic
// and longrope depend on the tokens.
func (r Rope) Frequencies(tokens int) (f []float64, scale float64) {
	f = make([]float64, r.Dim/2)
	for i := range f {
		f[i] = math.Pow(r.Base, -2*float64(i)/float64(r.Dim))
	}
	scalings[r.Scaling](r, f, tokens)
	if r.Attention > 0 {
		return f, r.Attention
	}
	return f, 1
}

// RotatesAlike reports whether texts of a and b tokens have the same rotary
// frequencies, so that what they begin with has the same keys.
func (c Config) RotatesAlike(a, b int) bool {
	return !slices.ContainsFunc(c.ropes(), func(r Rope) bool {
		f, _ := r.Frequencies(a)
		g, _ := r.Frequencies(b)
		return !slices.Equal(f, g)
	})
}

// linear is position interpolation (Chen et al. 2023).
func (r Rope) linear(f []float64, _ int) {
	for i := range f {
		f[i] /= r.Factor
	}
}

// dynamic raises the base with the text's length (NTK-aware scaling).
func (r Rope) dynamic(f []float64, tokens int) {
	if tokens <= r.Trained {
		return
	}
	dim := float64(r.Dim)
	base := r.Base * math.Pow(r.Factor*float64(tokens)/float64(r.Trained)-(r.Factor-1), dim/(dim-2))
	for i := range f {
		f[i] = math.Pow(base, -2*float64(i)/dim)
	}
}

// yarn interpolates slow frequencies, keeps fast ones, and blends those between
// (Peng et al. 2023).
func (r Rope) yarn(f []float64, _ int) {
	// channel is the pair that turns so many times within the trained length.
	channel := func(turns float64) float64 {
		return float64(r.Dim) * math.Log(float64(r.Trained)/(turns*2*math.Pi)) / (2 * math.Log(r.Base))
	}
	low, high := channel(r.BetaFast), channel(r.BetaSlow)
	if !r.Exact {
		low, high = math.Floor(low), math.Ceil(high)
	}
	low, high = max(low, 0), min(high, float64(r.Dim-1))
	if low == high {
		high += 0.001
	}
	for i := range f {
		ramp := min(max((float64(i)-low)/(high-low), 0), 1)
		f[i] = f[i]/r.Factor*ramp + f[i]*(1-ramp)
	}
}

// yarnAttention is yarn's factor unless a model has its own.
func yarnAttention(factor, m float64) float64 {
	if factor <= 1 {
		return 1
	}
	return 0.1*m*math.Log(factor) + 1
}

// llama3 divides slow frequencies, keeps fast ones, and blends those between
// (Llama 3.1).
func (r Rope) llama3(f []float64, _ int) {
	for i := range f {
		turns := float64(r.Trained) * f[i] / (2 * math.Pi)
		keep := min(max((turns-r.LowFrequency)/(r.HighFrequency-r.LowFrequency), 0), 1)
		f[i] = f[i]/r.Factor*(1-keep) + f[i]*keep
	}
}

// longrope divides each frequency by a factor of its own, of two sets (Ding et
// al. 2024).
func (r Rope) longrope(f []float64, tokens int) {
	factors := r.ShortFactor
	if tokens > r.Trained {
		factors = r.LongFactor
	}
	for i := range f {
		f[i] /= factors[i]
	}
}

// longropeAttention is longrope's factor unless a model has its own, for a
// context so many times as long as the trained one.
func longropeAttention(times float64, trained int) float64 {
	if times <= 1 {
		return 1
	}
	return math.Sqrt(1 + math.Log(times)/math.Log(float64(trained)))
}

// validate checks what Frequencies relies on; file names where it came from.
func (r Rope) validate(file string, headDim int) error {
	bad := func(what string, found any, want string) error {
		return fmt.Errorf("%s: %s is %v; expected %s", file, what, found, want)
	}
	switch {
	case r.Dim < 0 || r.Dim > headDim || r.Dim%2 != 0:
		return bad("the rotary part of a head", r.Dim, fmt.Sprintf("an even number up to %d", headDim))
	case !(r.Base > 1) || math.IsInf(r.Base, 0):
		return bad("the rotary base", r.Base, "a number above 1")
	case scalings[r.Scaling] == nil:
		return bad("the kind of rope scaling", fmt.Sprintf("%q", shorten.Text(r.Scaling)), "one of "+strings.Join(scalingNames(), ", "))
	case !(r.Attention >= 0) || r.Attention > math.MaxFloat32:
		return bad("rope scaling's attention factor", r.Attention, "a number from 0 that 32 bits hold")
	case math.IsNaN(r.Factor) || math.IsInf(r.Factor, 0):
		return bad("rope scaling's factor", r.Factor, "a number")
	case r.Scaling == "":
		return nil
	case r.Trained < 1 && r.Scaling != "linear":
		return bad("original_max_position_embeddings", r.Trained, "at least 1")
	case r.Scaling == "longrope":
		for _, set := range [][]float64{r.ShortFactor, r.LongFactor} {
			if len(set) != r.Dim/2 {
				return bad("a set of longrope's factors", fmt.Sprintf("%d numbers", len(set)), fmt.Sprint(r.Dim/2))
			}
			for _, f := range set {
				if !(f > 0) || math.IsInf(f, 0) {
					return bad("a factor of longrope", f, "a number above 0")
				}
			}
		}
	case !(r.Factor >= 1) || math.IsInf(r.Factor, 0):
		return bad("rope scaling's factor", r.Factor, "at least 1")
	case r.Scaling == "llama3" && !(r.HighFrequency > r.LowFrequency):
		return bad("rope scaling's high_freq_factor", r.HighFrequency, fmt.Sprintf("more than low_freq_factor, which is %g", r.LowFrequency))
	case r.Scaling == "yarn" && !(r.BetaFast > r.BetaSlow && r.BetaSlow > 0 && r.BetaFast <= math.MaxFloat32):
		return bad("rope scaling's beta_fast and beta_slow", fmt.Sprint(r.BetaFast, " and ", r.BetaSlow), "the first larger than the second, and both above 0")
	}
	return nil
}

func scalingNames() []string {
	return []string{"linear", "dynamic", "yarn", "llama3", "longrope"}
}
