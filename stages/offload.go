package stages

import (
	"context"

	"headinfer/graph"
	"headinfer/transfer"
)

type offloadOptions struct {
	To    string `yaml:"to" default:"host" enum:"host,device" doc:"Where the cache lies between uses." example:"host"`
	DType string `yaml:"dtype" default:"same" enum:"same" doc:"Encoding of the cache; same is the activations' own, which loses nothing." example:"same"`
}

type offload struct{ loop *HeadLoop }

func newOffload(loop headEnv, o *offloadOptions) (graph.Stage[Attended, Stored], error) {
	loop.onHost = o.To == "host"
	return &offload{loop}, nil
}

// Process enqueues the copy of the pass's own keys and values of the tile's
// heads: with the last tile of these heads, once a pass.
func (o *offload) Process(_ context.Context, in Attended, emit func(Stored) error) error {
	h, t := o.loop, in.tile
	set := t.Layer % 2
	if t.Last {
		rows, past := t.pass.Rows[t.Segment], t.pass.Past[t.Segment]
		from := t.pass.NewKV(t.Layer).HeadRange(t.Head.From, t.Head.To).TokenRange(rows.From, rows.To)
		to := t.pass.Segments[t.Segment].Sequence.View(t.Layer, t.Head.From, t.Head.To, past, past+rows.Len())
		copyKV := h.dev.CopyWithin
		if h.onHost {
			copyKV = h.dev.CopyOut
			h.moved.Out.Add(h.shape.SlotBytes(t.Head.Len(), rows.Len()))
		}
		h.copyOut.Wait(h.projected[set])
		h.time.Around(h.copyOut, transfer.CopyOut, t, func() {
			at := 0
			for _, dst := range to {
				src := from.TokenRange(at, at+dst.Tokens)
				copyKV(h.copyOut, dst.Keys(), src.Keys())
				copyKV(h.copyOut, dst.Values(), src.Values())
				at += dst.Tokens
			}
		})
	}
	// The last of these stands for all of the layer's.
	h.copyOut.Record(h.kept[set])
	return emit(Stored{t})
}
