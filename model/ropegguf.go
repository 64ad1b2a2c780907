package model

import (
	"fmt"

	"headinfer/internal/shorten"
)

// rope reads a model's rotary embedding from a GGUF file.
func (g *ggufMeta) rope(c *Config) Rope {
	r := Rope{Base: 10000, Dim: c.HeadDim}
	g.optional(&r.Base, "rope.freq_base")
	if g.Has(g.key("rope.dimension_count")) {
		g.number(&r.Dim, "rope.dimension_count")
	}
	kind := "none"
	factor := 0.0
	g.optional(&factor, "rope.scale_linear") // what older files call it
	g.optional(&factor, "rope.scaling.factor")
	if factor > 0 {
		kind = "linear" // what a file means that says no more
	}
	if key := g.key("rope.scaling.type"); g.Has(key) {
		var err error
		if kind, err = g.String(key); err != nil {
			g.problems = append(g.problems, err)
		}
	}
	trained := c.Context
	if g.Has(g.key("rope.scaling.original_context_length")) {
		g.number(&trained, "rope.scaling.original_context_length")
	}
	long, hasLong := g.factors("rope_factors_long.weight", r.Dim)
	short, hasShort := g.factors("rope_factors_short.weight", r.Dim)
	each, hasEach := g.factors("rope_freqs.weight", r.Dim)
	if !hasLong && !hasEach && (kind == "none" || kind == "") {
		return r
	}
	r.Trained, r.Factor = trained, factor
	if factor == 0 {
		r.Factor = 1
	}
	g.optional(&r.Attention, "rope.scaling.attn_factor")
	switch {
	case hasLong && hasShort:
		r.Scaling, r.LongFactor, r.ShortFactor = "longrope", long, short
		if r.Attention == 0 && r.Trained > 0 {
			r.Attention = longropeAttention(float64(c.Context)/float64(r.Trained), r.Trained)
		}
	case hasEach: // llama3's frequencies, worked out already
		r.Scaling, r.LongFactor, r.ShortFactor = "longrope", each, each
	case kind == "linear":
		r.Scaling = kind
	case kind == "yarn":
		r.Scaling, r.BetaFast, r.BetaSlow = kind, 32, 1
		g.optional(&r.BetaFast, "rope.scaling.yarn_beta_fast")
		g.optional(&r.BetaSlow, "rope.scaling.yarn_beta_slow")
		g.yarnAttention(&r)
	case kind == "longrope":
		g.problems = append(g.problems, fmt.Errorf("%s: longrope needs the tensors rope_factors_long.weight and rope_factors_short.weight, and they are missing; convert or download the file again", g.Name()))
	default:
		g.problems = append(g.problems, fmt.Errorf("%s: %s %q is not supported; supported: linear, yarn, longrope", g.Name(), g.key("rope.scaling.type"), shorten.Text(kind)))
	}
	return r
}

// yarnAttention sets yarn's factor of what is rotated: config.json's own, or else
// the usual one, divided by that of mscale_all_dim. attn_factor multiplies it.
func (g *ggufMeta) yarnAttention(r *Rope) {
	attention, all := yarnAttention(r.Factor, 1), 0.0
	g.optional(&all, "rope.scaling.yarn_log_multiplier")
	if all > 0 {
		attention /= yarnAttention(r.Factor, all)
	}
	g.optional(&attention, "rope.scaling.yarn_attn_factor")
	if r.Attention > 0 {
		attention *= r.Attention
	}
	r.Attention = attention
}

// factors reads a tensor that divides each rotary frequency.
func (g *ggufMeta) factors(name string, dim int) ([]float64, bool) {
	t, ok := g.Tensor(name)
	if !ok {
		return nil, false
	}
	values, err := vectorOf(t)
	if err == nil && len(values) != dim/2 {
		err = fmt.Errorf("%d numbers; expected %d", len(values), dim/2)
	}
	if err != nil {
		g.problems = append(g.problems, fmt.Errorf("%s: tensor %q: %w", g.Name(), name, err))
		return nil, false
	}
	factors := make([]float64, len(values))
	for i, v := range values {
		factors[i] = float64(v)
	}
	return factors, true
}
