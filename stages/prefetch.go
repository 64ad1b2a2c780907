package stages

import (
	"context"

	"headinfer/config"
	"headinfer/graph"
	"headinfer/kernels"
	"headinfer/transfer"
)

type prefetchOptions struct {
	Slots   config.Choice `yaml:"slots" default:"2" words:"none" min:"1" max:"64" doc:"Slots of the ring. 2 is the paper's ping-pong: one fills while the other is attended to. With 1, copies and attention take turns. none is for a cache on the device." example:"2"`
	Overlap bool          `yaml:"overlap" default:"true" doc:"Copies go on while the device computes. false is for measuring what that is worth: tiles are copied on the stream that computes, both ways, and nothing overlaps." example:"false"`
	Ahead   string        `yaml:"ahead" default:"pass" enum:"pass,layer" doc:"How far ahead tiles are copied: as far as there are slots, whatever layer that is in, or within a layer only. layer is for measuring what looking across layers is worth: no tile of a layer is copied before the device has the layer's queries." example:"layer"`
}

// Check refuses what does not go together within the stage.
func (o *prefetchOptions) Check() []config.OptionError {
	if !o.Slots.Is("none") {
		return nil
	}
	return o.without("is for a ring with slots", "slots: 2")
}

// without says of each option of copies that is not its default why it has no use, and
// what would give it one.
func (o *prefetchOptions) without(why, instead string) (bad []config.OptionError) {
	if !o.Overlap {
		bad = append(bad, config.OptionError{Option: "overlap", What: why, Want: instead + ", or overlap: true"})
	}
	if o.Ahead != "pass" {
		bad = append(bad, config.OptionError{Option: "ahead", What: why, Want: instead + ", or ahead: pass"})
	}
	return bad
}

type prefetch struct{ loop *HeadLoop }

func newPrefetch(loop headEnv, o *prefetchOptions) (graph.Stage[Planned, Fetched], error) {
	if !o.Slots.Is("none") {
		loop.ring = transfer.NewRing(loop.dev, o.Slots.N)
	}
	loop.pace.alone, loop.pace.within = !o.Overlap, !o.Overlap || o.Ahead == "layer"
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
	stream, err := h.inward(ctx, b)
	if err != nil {
		return err
	}
	if b.slot, err = h.ring.Take(ctx); err != nil {
		return err
	}
	stream.Wait(b.slot.Free)
	h.around(stream, transfer.CopyIn, b, func() {
		var taken int64
		for _, t := range b.tiles {
			if t.Token.Len() == 0 {
				continue
			}
			if t.slot, err = b.slot.View(h.shape, taken, t.Head.Len(), t.Token.Len()); err != nil {
				return
			}
			taken += h.shape.SlotBytes(t.Head.Len(), t.Token.Len())
			h.fetch(stream, t)
			t.past = []kernels.KV{t.slot}
		}
	})
	if err != nil {
		return err
	}
	stream.Record(b.slot.Filled)
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

// fetch enqueues the copies of a tile's past to its slot.
func (h *HeadLoop) fetch(on kernels.Stream, t *tile) {
	at := 0
	for _, from := range h.held(t) {
		h.move(h.dev.CopyIn, on, t.slot.TokenRange(at, at+from.Tokens), from)
		at += from.Tokens
	}
}
