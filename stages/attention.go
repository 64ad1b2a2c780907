package stages

import (
	"context"

	"headinfer/config"
	"headinfer/graph"
	"headinfer/kernels"
	"headinfer/transfer"
)

type attentionOptions struct {
	Group          config.Choice `yaml:"group" default:"adaptive" words:"all,adaptive" min:"1" unit:"KV heads" doc:"KV heads a tile. adaptive is the largest group whose ring fits in the device memory that is left, smaller as the context grows." example:"1"`
	Span           config.Choice `yaml:"span" default:"all" words:"all,auto" min:"1" unit:"tokens" doc:"Tokens a tile. With a number, the device memory for keys and values does not grow with the context. auto is the fewest that keep copies near the speed of the link (docs/decisions.md)." example:"32Ki"`
	Recent         config.Choice `yaml:"recent" default:"all" words:"all" min:"1" unit:"tokens" doc:"With a number, lossy: of what was before a pass, only the last so many tokens and the first ones (sinks) are attended to, as StreamingLLM does, at the positions that they have in the text. What lies between is lost." example:"1024"`
	Sinks          config.Count  `yaml:"sinks" default:"0" unit:"tokens" doc:"With recent, how many of the first tokens are kept too." example:"4"`
	StreamingHeads string        `yaml:"streaming_heads" default:"" doc:"With recent, which KV heads see only that: a file as DuoAttention has it, a line for each layer and on it a number for each KV head, 1 for one that sees everything and 0 for one that does not. Empty: all see only that." example:"heads.tsv"`
}

type attention struct{ loop *HeadLoop }

func newAttention(loop headEnv, o *attentionOptions) (graph.Stage[Fetched, Attended], error) {
	loop.grouping = transfer.Grouping{Adaptive: o.Group.Is("adaptive"), Heads: o.Group.N}
	if err := o.window(loop); err != nil {
		return nil, err
	}
	return &attention{loop}, nil
}

// Process enqueues the attention of a tile, once its queries are enqueued.
func (a *attention) Process(ctx context.Context, in Fetched, emit func(Attended) error) error {
	h, t := a.loop, in.tile
	select {
	case <-t.pass.layers[t.Layer].projected:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	p := t.pass
	rows := t.rows()
	firstHead, lastHead := t.Head.From*p.Group, t.Head.To*p.Group
	args := kernels.AttentionArgs{
		Q:       p.Query.RowRange(rows.From, rows.To).ColRange(firstHead*p.HeadDim, lastHead*p.HeadDim),
		Out:     p.Output.RowRange(rows.From, rows.To).ColRange(firstHead*p.HeadDim, lastHead*p.HeadDim),
		LSE:     p.LSE.RowRange(firstHead, lastHead).ColRange(rows.From, rows.To),
		Group:   p.Group,
		HeadDim: p.HeadDim,
		Scale:   p.Scale,
		SoftCap: p.SoftCap,
		Merge:   !t.First,
	}
	out := args.Out
	merging := !(t.First && t.Last) && h.partial.Data != nil
	if merging {
		// Rounding at every merge would lose what merging in f32 does not.
		all := t.sharing()
		args.Out = kernels.Matrix(h.partial.Data, kernels.F32, all.Len(), out.Cols).RowRange(rows.From-all.From, rows.To-all.From)
	}
	if t.slot != nil {
		p.Compute.Wait(t.slot.Filled)
	}
	var err error
	h.time.Around(p.Compute, transfer.Compute, t, func() {
		if h.encodes() && t.Token.Len() > 0 {
			if err = h.decode(t); err != nil {
				return
			}
			h.giveBack(t) // the copy is all that is attended to
		}
		if t.Local {
			args.Window = h.plain.Local.Window
			t.past = h.recent(t)
		}
		args.KV, args.Causal = t.past, t.Last
		if t.Last {
			args.KV = append(args.KV, h.own(t)...)
		}
		h.dev.Attention(p.Compute, args)
		if mass, ok := h.mass(t); ok {
			h.dev.AttentionMass(p.Compute, mass, args)
		}
		if merging && t.Last {
			h.dev.Convert(p.Compute, out, args.Out)
		}
	})
	if err != nil {
		return err
	}
	h.giveBack(t)
	if h.encodes() || t.Local {
		p.Compute.Record(h.attended[t.Layer%2])
	}
	return emit(Attended{t})
}

// own returns what only the segment of a tile attends to: the pass's own keys and
// values of the tile's heads, after those of a branch and those that the cache has
// not taken yet.
func (h *HeadLoop) own(t *tile) []kernels.KV {
	rows := t.pass.Rows[t.Segment]
	var own []kernels.KV
	if !t.Local {
		sequence := t.sequence()
		held := sequence
		if held.Base() != nil {
			held = held.Base()
		}
		if tail := held.Tail(t.Layer); tail.Tokens > 0 {
			own = append(own, tail.HeadRange(t.Head.From, t.Head.To))
		}
		if sequence.Base() != nil {
			own = append(own, sequence.View(t.Layer, t.Head.From, t.Head.To, 0, sequence.Stored())...)
		}
	}
	return append(own, t.pass.NewKV(t.Layer).HeadRange(t.Head.From, t.Head.To).TokenRange(rows.From, rows.To))
}

// recent returns what a layer with a window has kept for the pass's tokens.
func (h *HeadLoop) recent(t *tile) []kernels.KV {
	sequence := t.sequence()
	past := sequence.Tokens()
	return sequence.Recent(t.Layer, past-h.plain.Local.Seen(past), past)
}

// mass returns where a cache that drops tokens adds up what they receive.
func (h *HeadLoop) mass(t *tile) (kernels.Tensor, bool) {
	if t.Local {
		return kernels.Tensor{}, false
	}
	tokens := t.pass.Past[t.Segment] + t.pass.Rows[t.Segment].Len()
	return t.sequence().Mass(t.Layer, t.Head.From, t.Head.To, tokens)
}

// giveBack gives a tile's slot back, once what reads it has been enqueued.
func (h *HeadLoop) giveBack(t *tile) {
	if t.slot != nil {
		t.pass.Compute.Record(t.slot.Free)
		h.ring.Return(t.slot)
		t.slot = nil
	}
}
