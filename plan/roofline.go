package plan

import "fmt"

// Work is a part of a run by what it computes and what it moves.
type Work struct {
	Name   string  `json:"name"`
	FLOP   float64 `json:"flop"`         // multiplications and additions
	Memory float64 `json:"memory_bytes"` // read or written in the device's own memory; 0: left out
	Link   float64 `json:"link_bytes"`   // copied to the device; 0: none
}

// RooflinePoint is a work under one of a machine's two slopes (Williams et al. 2009).
type RooflinePoint struct {
	Name       string  `json:"name"`
	Roof       string  `json:"roof"`                  // the slope it is under: BoundMemory or BoundLink
	Bytes      float64 `json:"bytes"`                 // that go by way of it
	Intensity  float64 `json:"flop_per_byte"`         // FLOP / Bytes
	Attainable float64 `json:"attainable_flop_per_s"` // the lower of intensity · rate and the compute roof
	Bound      string  `json:"bound_by"`              // BoundCompute, or its roof
}

// Roofline puts works under a machine's roofs: r.Linear is that of compute, r.Read the
// slope of the device's memory, r.CopyIn the link's. A work has a point for each of the
// two that it moves bytes by.
func Roofline(r Rates, works ...Work) []RooflinePoint {
	var points []RooflinePoint
	for _, w := range works {
		for _, slope := range []struct {
			roof        string
			bytes, rate float64
		}{{BoundMemory, w.Memory, r.Read}, {BoundLink, w.Link, r.CopyIn}} {
			if slope.bytes <= 0 || slope.rate <= 0 {
				continue
			}
			p := RooflinePoint{Name: w.Name, Roof: slope.roof, Bytes: slope.bytes, Intensity: w.FLOP / slope.bytes, Bound: slope.roof}
			p.Attainable = p.Intensity * slope.rate
			if r.Linear > 0 && p.Attainable >= r.Linear {
				p.Attainable, p.Bound = r.Linear, BoundCompute
			}
			points = append(points, p)
		}
	}
	return points
}

// Works returns a prefill of tokens and a decode step after them, each as a whole and
// its attention by itself: what has to be computed (see LinearFlops, AttentionFlops), what
// is read of the device's memory at least, and what is copied to the device.
func (m Model) Works(how Method, tokens int) []Work {
	weights, cache := m.PrefillReads(how, tokens)
	in, _ := m.PrefillCopies(how, tokens)
	attention := Work{
		Name: fmt.Sprintf("prefill attention %d", tokens), FLOP: m.AttentionFlops(tokens), Link: float64(in),
		Memory: cache,
	}
	prefill := Work{
		Name: fmt.Sprintf("prefill %d", tokens), FLOP: attention.FLOP + m.LinearFlops(tokens), Link: float64(in),
		Memory: cache + weights,
	}
	copied := float64(m.DecodeCopies(how, tokens))
	step := Work{
		Name: fmt.Sprintf("decode attention %d", tokens), FLOP: m.StepFlops(tokens),
		Memory: float64(m.KV(tokens) + m.Recent(tokens)), Link: copied,
	}
	decode := Work{
		Name: fmt.Sprintf("decode %d", tokens), FLOP: step.FLOP + m.LinearFlops(1),
		Memory: step.Memory + float64(m.ReadPerToken()), Link: copied,
	}
	return []Work{attention, prefill, step, decode}
}
