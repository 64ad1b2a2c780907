package model

import "fmt"

// rope reads a model's rotary embedding from a GGUF file.
func (g *ggufMeta) rope(c *Config) Rope {
	r := Rope{Base: 10000, Dim: c.HeadDim}
	g.optional(&r.Base, "rope.freq_base")
	if g.Has(g.key("rope.dimension_count")) {
		g.number(&r.Dim, "rope.dimension_count")
	}
	kind := "none"
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
	r.Trained, r.Factor = trained, 1
	g.optional(&r.Factor, "rope.scaling.factor")
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
		if r.Attention == 0 {
			r.Attention = yarnAttention(r.Factor, 1)
		}
	default:
		g.problems = append(g.problems, fmt.Errorf("%s: %s %q is not supported; supported: linear, yarn, longrope", g.Name(), g.key("rope.scaling.type"), kind))
	}
	return r
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
