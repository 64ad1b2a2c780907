package model

import "fmt"

// ropeParameters is what a config.json says of a rotary embedding: rope_scaling,
// or in newer files rope_parameters, where a model with two kinds of layers has
// one for each.
type ropeParameters struct {
	Type          string          `json:"rope_type"`
	OldType       string          `json:"type"`
	Theta         *float64        `json:"rope_theta"`
	Share         *float64        `json:"partial_rotary_factor"`
	Factor        *float64        `json:"factor"`
	Trained       *int            `json:"original_max_position_embeddings"`
	LowFrequency  float64         `json:"low_freq_factor"`
	HighFrequency float64         `json:"high_freq_factor"`
	BetaFast      *float64        `json:"beta_fast"`
	BetaSlow      *float64        `json:"beta_slow"`
	Truncate      *bool           `json:"truncate"`
	Attention     *float64        `json:"attention_factor"`
	MScale        *float64        `json:"mscale"`
	MScaleAllDim  *float64        `json:"mscale_all_dim"`
	ShortFactor   []float64       `json:"short_factor"`
	LongFactor    []float64       `json:"long_factor"`
	Full          *ropeParameters `json:"full_attention"`
	Sliding       *ropeParameters `json:"sliding_attention"`
}

// kind returns the way of stretching by its current name; "" is none.
func (p *ropeParameters) kind(modelType string) string {
	kind := p.Type
	if kind == "" {
		kind = p.OldType
	}
	switch {
	case kind == "default":
		return ""
	case kind == "su" || kind == "yarn" && modelType == "phi3":
		return "longrope" // what early Phi-3 files call it
	}
	return kind
}

// rope reads a model's rotary embedding from p and from what older files have
// beside it.
func (h *hfConfig) rope(c *Config, p *ropeParameters) (Rope, error) {
	r := Rope{Base: h.theta(p), Dim: c.HeadDim}
	share := h.RopeShare
	if p != nil && p.Share != nil {
		share = p.Share
	}
	if share != nil {
		r.Dim = int(float64(c.HeadDim) * *share)
	}
	if p != nil && (p.Full != nil || p.Sliding != nil) {
		return r, fmt.Errorf("%s: rope_parameters by kind of layer are not supported in model_type %q", h.path, h.ModelType)
	}
	if p == nil || p.kind(h.ModelType) == "" && h.RopeScaling != nil {
		p = h.RopeScaling
	}
	if p == nil || p.kind(h.ModelType) == "" {
		return r, nil
	}
	r.Scaling = p.kind(h.ModelType)
	if scalings[r.Scaling] == nil {
		return r, r.validate(h.path, c.HeadDim)
	}
	r.Trained = c.Context
	for _, trained := range []*int{p.Trained, h.Trained} {
		if trained != nil && r.Scaling != "dynamic" {
			r.Trained = *trained
		}
	}
	r.Factor = 1
	switch {
	case p.Factor != nil:
		r.Factor = *p.Factor
	case r.Scaling == "longrope" && r.Trained > 0:
		r.Factor = float64(c.Context) / float64(r.Trained)
	default:
		return r, fmt.Errorf("%s: rope_scaling of type %s has no factor; expected a number from 1", h.path, r.Scaling)
	}
	r.LowFrequency, r.HighFrequency = p.LowFrequency, p.HighFrequency
	r.BetaFast, r.BetaSlow = or(p.BetaFast, 32), or(p.BetaSlow, 1)
	r.Exact = p.Truncate != nil && !*p.Truncate
	r.ShortFactor, r.LongFactor = p.ShortFactor, p.LongFactor
	switch {
	case p.Attention != nil:
		r.Attention = *p.Attention
	case r.Scaling == "longrope":
		r.Attention = longropeAttention(r.Factor, r.Trained)
	case r.Scaling == "yarn" && value(p.MScale) > 0 && value(p.MScaleAllDim) > 0:
		r.Attention = yarnAttention(r.Factor, *p.MScale) / yarnAttention(r.Factor, *p.MScaleAllDim)
	case r.Scaling == "yarn":
		r.Attention = yarnAttention(r.Factor, 1)
	}
	return r, nil
}

// or returns a number, or what it is where a file has none.
func or[T int | float64](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}
