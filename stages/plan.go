package stages

import (
	"fmt"
	"math"

	"headinfer/config"
	"headinfer/plan"
	"headinfer/transfer"
)

// PlannedMethod is a pipeline's method for plan's arithmetic, as far as it is known
// before a device is open: what is auto or adaptive is 0, and For chooses it.
type PlannedMethod struct {
	plan.Method
	Adaptive, AutoSpan, AutoChunk bool
	Lossy                         bool
}

// PlanMethod reads the method of a checked pipeline for a model. It fails if the two do
// not go together.
func PlanMethod(p *config.Pipeline, m plan.Model) (PlannedMethod, error) {
	how := PlannedMethod{AutoChunk: true}
	for _, entry := range p.Documents {
		if o, ok := entry.Options.(*prefillOptions); ok {
			how.AutoChunk, how.Chunk = o.Chunk.Is("auto"), o.Chunk.N
		}
	}
	for _, entry := range p.Heads {
		var err error
		switch o := entry.Options.(type) {
		case *prefetchOptions:
			how.Slots, how.TakeTurns, how.WithinLayer = o.Slots.N, !o.Overlap, !o.Overlap || o.Ahead == "layer"
		case *attentionOptions:
			err = o.plan(&how, m)
		case *offloadOptions:
			err = o.plan(&how, m)
		}
		if err != nil {
			return how, err
		}
	}
	return how, nil
}

// plan adds what attention's options say.
func (o *attentionOptions) plan(how *PlannedMethod, m plan.Model) error {
	how.Adaptive, how.Group = o.Group.Is("adaptive"), min(o.Group.N, m.KVHeads)
	how.AutoSpan, how.Span = o.Span.Is("auto"), o.Span.N
	if o.Recent.Is("all") {
		return nil
	}
	how.Lossy, how.Streaming, how.Recent = true, 1, int(o.Sinks)+o.Recent.N
	cut := transfer.Cut{Span: o.Span.N, Keep: transfer.Keep{Sinks: int(o.Sinks), Recent: o.Recent.N}}
	if o.StreamingHeads != "" {
		full, streaming, err := readHeads(o.StreamingHeads, transfer.Shape{Layers: m.Layers, KVHeads: m.KVHeads})
		if err != nil {
			return fmt.Errorf("option streaming_heads: %w", err)
		}
		cut.Full, how.Streaming = full, float64(streaming)/float64(m.Layers*m.KVHeads)
	}
	how.Span = cut.Longest(math.MaxInt)
	return nil
}

// plan adds what offload's options say.
func (o *offloadOptions) plan(how *PlannedMethod, m plan.Model) error {
	how.OnHost, how.WriteWhole, how.Pageable = o.To == "host", o.Write == "whole", !o.Pinned
	if e, ok := encodings[o.DType]; ok {
		how.Lossy, how.Bits, how.ScaleGroup = true, e.bits, int(o.ScaleGroup)
		if m.HeadDim%how.ScaleGroup != 0 {
			return fmt.Errorf("a head of the model has %d channels, which is not a whole number of groups of %d; %s", m.HeadDim, how.ScaleGroup, otherGroup(m.HeadDim))
		}
	}
	if !o.Heavy.Is("none") {
		heavy := transfer.Heavy{Most: o.Heavy.N, Recent: int(o.HeavyRecent)}
		how.Lossy, how.Keep, how.Choose = true, heavy.Kept(), heavy.Most+heavy.Recent
	}
	return nil
}

// For returns the method as a run has it: with the chunk and the span that are chosen
// for a machine and the model's own context, and with the group that adaptive grouping
// has for a text of some tokens.
func (p PlannedMethod) For(m plan.Model, machine plan.Machine, room plan.Room, context, tokens int) plan.Method {
	how := p.Method
	if p.AutoSpan {
		how.Span = m.ChooseSpan(how, machine).Tokens
	}
	if p.AutoChunk {
		if how.Chunk = machine.Chunk; !p.Lossy {
			how.Chunk = m.ChooseChunk(how, machine, context).Tokens
		}
	}
	if !how.OnHost {
		how.Slots = 0
	}
	if how.Group == 0 || !how.OnHost {
		how.Group = m.KVHeads
	}
	if p.Adaptive && how.OnHost {
		how = m.Adapt(how, room, tokens)
	}
	return how
}
