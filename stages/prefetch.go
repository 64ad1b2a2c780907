package stages

import (
	"context"

	"headinfer/config"
	"headinfer/graph"
	"headinfer/transfer"
)

type prefetchOptions struct {
	Slots config.Choice `yaml:"slots" default:"2" words:"none" min:"1" max:"64" doc:"Slots of the ring. 2 is the paper's ping-pong: one fills while the other is attended to. With 1, copies and attention take turns. none is for a cache on the device." example:"2"`
}

type prefetch struct{ loop *HeadLoop }

func newPrefetch(loop headEnv, o *prefetchOptions) (graph.Stage[Planned, Fetched], error) {
	if !o.Slots.Is("none") {
		loop.ring = transfer.NewRing(loop.dev, o.Slots.N)
	}
	return &prefetch{loop}, nil
}

// Process enqueues the copies of a tile.
func (p *prefetch) Process(ctx context.Context, in Planned, emit func(Fetched) error) error {
	t := in.tile
	if t.Token.Len() == 0 {
		return emit(Fetched{t})
	}
	h := p.loop
	sequence := t.sequence()
	if base := sequence.Base(); base != nil {
		sequence = base
	}
	sources := sequence.View(t.Layer, t.Head.From, t.Head.To, t.Token.From, t.Token.To)
	if !h.onHost {
		t.past = sources
		return emit(Fetched{t})
	}
	slot, err := h.ring.Take(ctx)
	if err != nil {
		return err
	}
	t.slot = slot
	place, err := slot.View(h.shape, t.Head.Len(), t.Token.Len())
	if err != nil {
		return err
	}
	h.copyIn.Wait(slot.Free)
	h.time.Around(h.copyIn, transfer.CopyIn, t, func() {
		at := 0
		for _, src := range sources {
			dst := place.TokenRange(at, at+src.Tokens)
			h.dev.CopyIn(h.copyIn, dst.Keys(), src.Keys())
			h.dev.CopyIn(h.copyIn, dst.Values(), src.Values())
			at += src.Tokens
		}
	})
	h.copyIn.Record(slot.Filled)
	h.moved.In.Add(h.shape.SlotBytes(t.Head.Len(), t.Token.Len()))
	t.past = append(t.past, place)
	return emit(Fetched{t})
}
