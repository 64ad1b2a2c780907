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

// Process enqueues the attention of tiles, once their queries are enqueued.
func (a *attention) Process(ctx context.Context, in Fetched, emit func(Attended) error) error {
	h, b := a.loop, in.bundle
	if err := b.projected(ctx); err != nil {
		return err
	}
	if b.slot != nil {
		b.pass.Compute.Wait(b.slot.Filled)
	}
	if !h.skips(b.pass.Pass, b.layer) {
		var err error
		h.around(b.pass.Compute, transfer.Compute, b, func() { err = h.attend(b) })
		if err != nil {
			return err
		}
	}
	h.leave(b)
	if b.slot != nil || h.onHost && (h.encodes() || b.tiles[0].Local) {
		b.pass.Compute.Record(h.attended[b.layer%2])
	}
	return emit(Attended{b})
}

// attend enqueues the attention of tiles.
func (h *HeadLoop) attend(b *bundle) error {
	tiles := make([]kernels.AttentionArgs, len(b.tiles))
	for i, t := range b.tiles {
		if h.encodes() && t.Token.Len() > 0 {
			if err := h.decode(t); err != nil {
				return err
			}
			h.leave(b) // the copy is all that is attended to, and the tile alone
		}
		tiles[i] = h.arguments(t)
	}
	h.dev.Attention(b.pass.Compute, tiles)
	for i, t := range b.tiles {
		if mass, ok := h.mass(t); ok {
			h.dev.AttentionMass(b.pass.Compute, mass, tiles[i])
		}
	}
	for from := 0; from < len(b.tiles); {
		first, to := b.tiles[from], from+1
		for to < len(b.tiles) && b.tiles[to].With == first.With {
			to++
		}
		if first.Last && h.merges(first) {
			rows := transfer.Range{From: first.rows().From, To: b.tiles[to-1].rows().To}
			h.dev.Convert(b.pass.Compute, h.output(first, rows), h.merged(first, rows))
		}
		from = to
	}
	return nil
}

// arguments returns how a tile is attended to.
func (h *HeadLoop) arguments(t *tile) kernels.AttentionArgs {
	p, rows := t.pass, t.rows()
	firstHead, lastHead := t.Head.From*p.Group, t.Head.To*p.Group
	out := h.output(t, rows)
	if h.merges(t) {
		out = h.merged(t, rows)
	}
	args := kernels.AttentionArgs{
		Q:       p.Query.RowRange(rows.From, rows.To).ColRange(firstHead*p.HeadDim, lastHead*p.HeadDim),
		Out:     out,
		LSE:     p.LSE.RowRange(firstHead, lastHead).ColRange(rows.From, rows.To),
		Group:   p.Group,
		HeadDim: p.HeadDim,
		Scale:   p.Scale,
		SoftCap: p.SoftCap,
		Merge:   !t.First,
		KV:      t.past,
		Causal:  t.Last,
	}
	if t.Local {
		args.Window, args.KV = h.plain.Local.Window, h.recent(t)
	}
	if t.Last {
		args.KV = append(args.KV, h.own(t)...)
	}
	return args
}

// merges reports whether a tile is one of several of the same heads whose results are
// merged in f32: rounding at every merge would lose what that does not.
func (h *HeadLoop) merges(t *tile) bool { return !(t.First && t.Last) && h.partial.Data != nil }

// output returns where the attention of rows goes in the end.
func (h *HeadLoop) output(t *tile, rows transfer.Range) kernels.Tensor {
	width := t.pass.Group * t.pass.HeadDim
	return t.pass.Output.RowRange(rows.From, rows.To).ColRange(t.Head.From*width, t.Head.To*width)
}

// merged returns where the attention of rows is merged that share the tile's past.
func (h *HeadLoop) merged(t *tile, rows transfer.Range) kernels.Tensor {
	all, cols := t.sharing(), t.Head.Len()*t.pass.Group*t.pass.HeadDim
	return kernels.Matrix(h.partial.Data, kernels.F32, all.Len(), cols).RowRange(rows.From-all.From, rows.To-all.From)
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

// leave gives the slot of tiles back once their attention has been enqueued, unless
// they are to be written back from it.
func (h *HeadLoop) leave(b *bundle) {
	if b.slot != nil && !h.whole {
		h.giveBack(b, b.pass.Compute)
	}
}

// giveBack gives the slot of tiles back, once what reads it last has been enqueued on
// a stream.
func (h *HeadLoop) giveBack(b *bundle, last kernels.Stream) {
	last.Record(b.slot.Free)
	h.ring.Return(b.slot)
	b.slot = nil
}
