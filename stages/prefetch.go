package stages

import (
	"context"

	"headinfer/config"
	"headinfer/graph"
	"headinfer/kernels"
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

// Process enqueues the copies of tiles.
func (p *prefetch) Process(ctx context.Context, in Planned, emit func(Fetched) error) error {
	h, b := p.loop, in.bundle
	bytes := b.bytes(h.shape)
	if bytes == 0 {
		return emit(Fetched{b})
	}
	if !h.onHost {
		for _, t := range b.tiles {
			t.past = h.held(t)
		}
		return emit(Fetched{b})
	}
	var err error
	if b.slot, err = h.ring.Take(ctx); err != nil {
		return err
	}
	h.copyIn.Wait(b.slot.Free)
	h.time.Around(h.copyIn, transfer.CopyIn, b, func() {
		var taken int64
		for _, t := range b.tiles {
			if t.Token.Len() == 0 {
				continue
			}
			var place kernels.KV
			if place, err = b.slot.View(h.shape, taken, t.Head.Len(), t.Token.Len()); err != nil {
				return
			}
			taken += h.shape.SlotBytes(t.Head.Len(), t.Token.Len())
			h.fetch(place, h.held(t))
			t.past = []kernels.KV{place}
		}
	})
	if err != nil {
		return err
	}
	h.copyIn.Record(b.slot.Filled)
	h.moved.In.Add(bytes)
	return emit(Fetched{b})
}

// held returns where the cache has a tile's past.
func (h *HeadLoop) held(t *tile) []kernels.KV {
	sequence := t.sequence()
	if base := sequence.Base(); base != nil {
		sequence = base
	}
	return sequence.View(t.Layer, t.Head.From, t.Head.To, t.Token.From, t.Token.To)
}

// fetch enqueues the copies of keys and values to one place.
func (h *HeadLoop) fetch(place kernels.KV, sources []kernels.KV) {
	at := 0
	for _, src := range sources {
		dst := place.TokenRange(at, at+src.Tokens)
		h.dev.CopyIn(h.copyIn, dst.Keys(), src.Keys())
		h.dev.CopyIn(h.copyIn, dst.Values(), src.Values())
		at += src.Tokens
	}
}
