package stages

import (
	"context"
	"fmt"

	"headinfer/config"
	"headinfer/graph"
	"headinfer/kernels"
	"headinfer/transfer"
)

type offloadOptions struct {
	To          string        `yaml:"to" default:"host" enum:"host,device" doc:"Where the cache lies between uses." example:"host"`
	DType       string        `yaml:"dtype" default:"same" enum:"same,int8,int4" doc:"Encoding of the cache. same is the activations' own, which loses nothing. int8 and int4 are lossy: keys are rounded to 8 or 4 bits by channel and values by token (KIVI), but for the last few tokens, which stay as they are." example:"int8"`
	ScaleGroup  config.Count  `yaml:"scale_group" default:"64" min:"32" unit:"numbers" doc:"With int8 or int4, how many numbers share a scale and a minimum, 32 or 64: so many tokens of a key's channel, so many channels of a token's value. The two take 4 bytes." example:"32"`
	Heavy       config.Choice `yaml:"heavy" default:"none" words:"none" min:"1" unit:"tokens" doc:"With a number, lossy: after a pass each KV head keeps only so many tokens, those that have received most attention so far, and the last ones (heavy_recent); the others are dropped for good (H2O's heavy hitters). The cache lies on the device and does not grow." example:"none"`
	HeavyRecent config.Count  `yaml:"heavy_recent" default:"512" min:"1" unit:"tokens" doc:"With heavy, how many of the last tokens are kept." example:"512"`
	Pinned      bool          `yaml:"pinned" default:"true" doc:"The cache's host memory is pinned, so that a GPU's copies go at the speed of the link and hold nobody up. false is for measuring what that is worth. Nothing is pinned for the CPU, and it makes no difference there." example:"false"`
	Write       string        `yaml:"write" default:"append" enum:"append,whole" doc:"What goes to the host in a pass: its own new keys and values, or beside them all that each tile has brought to the device, as it lies in its slot. whole is for measuring what appending is worth." example:"whole"`
}

type offload struct{ loop *HeadLoop }

// Check refuses what does not go together within the stage.
func (o *offloadOptions) Check() []config.OptionError {
	var bad []config.OptionError
	if o.ScaleGroup != 32 && o.ScaleGroup != 64 {
		bad = append(bad, config.OptionError{Option: "scale_group", What: "is " + o.ScaleGroup.String(), Want: "32 or 64"})
	}
	if o.To == "device" && !o.Pinned {
		bad = append(bad, config.OptionError{Option: "pinned", What: "is for a cache on the host", Want: "to: host, or pinned: true"})
	}
	if o.To == "device" && o.Write != "append" {
		bad = append(bad, config.OptionError{Option: "write", What: "is for a cache on the host", Want: "to: host, or write: append"})
	}
	if o.Heavy.Is("none") {
		return bad
	}
	if o.To != "device" {
		bad = append(bad, config.OptionError{Option: "heavy", What: "is for a cache on the device", Want: "to: device, or heavy: none"})
	}
	if o.DType != "same" {
		bad = append(bad, config.OptionError{Option: "heavy", What: "is for a cache that is not encoded", Want: "dtype: same, or heavy: none"})
	}
	return bad
}

func newOffload(loop headEnv, o *offloadOptions) (graph.Stage[Attended, Stored], error) {
	loop.onHost, loop.pageable, loop.whole = o.To == "host", !o.Pinned, o.Write == "whole"
	if err := o.encoding(loop); err != nil {
		return nil, err
	}
	if !o.Heavy.Is("none") {
		loop.heavy = transfer.Heavy{Most: o.Heavy.N, Recent: int(o.HeavyRecent)}
		loop.lossy = append(loop.lossy, fmt.Sprintf("heads.offload.heavy=%d: each KV head keeps the tokens that received most attention, %d of them, and the last %d", loop.heavy.Most, loop.heavy.Most, loop.heavy.Recent))
	}
	return &offload{loop}, nil
}

// Process enqueues the copies of the pass's own keys and values of the tiles'
// heads: with the last tile of a segment and of these heads, once a pass.
func (o *offload) Process(_ context.Context, in Attended, emit func(Stored) error) (err error) {
	h, b := o.loop, in.bundle
	set := b.layer % 2
	if b.tiles[0].Last { // then all are
		ready := h.projected[set]
		if b.tiles[0].Local || h.encodes() {
			ready = h.attended[set]
		}
		out := h.outwardAfter(ready, b.pass)
		h.around(out, transfer.CopyOut, b, func() {
			var within moves
			for _, t := range b.tiles {
				if err = h.store(t, &within); err != nil {
					return
				}
			}
			h.dev.Scatter(out, within.to, within.from)
		})
		if err != nil {
			return err
		}
	}
	if b.slot != nil {
		h.writeBack(b)
	}
	// The last of these stands for all of the layer's.
	if h.onHost {
		h.outward(b.pass).Record(h.kept[set])
	}
	return emit(Stored{b})
}

// writeBack enqueues the copies of tiles from their slot to where they came from, once
// they are attended to, and gives the slot back.
func (h *HeadLoop) writeBack(b *bundle) {
	out := h.outwardAfter(h.attended[b.layer%2], b.pass)
	h.around(out, transfer.CopyOut, b, func() {
		for _, t := range b.tiles {
			at := 0
			for _, to := range h.held(t) {
				h.move(h.dev.CopyOut, out, to, t.slot.TokenRange(at, at+to.Tokens))
				at += to.Tokens
			}
		}
	})
	h.moved.Out.Add(b.bytes(h.shape))
	h.giveBack(b, out)
}

// moves are copies within the device that are enqueued together.
type moves struct{ to, from []kernels.Tensor }

// add is a mover that enqueues nothing yet.
func (m *moves) add(_ kernels.Stream, to, from kernels.Tensor) {
	m.to, m.from = append(m.to, to), append(m.from, from)
}

// store enqueues what becomes of the pass's own keys and values of a tile, but for
// plain copies within the device, which it adds to others.
func (h *HeadLoop) store(t *tile, within *moves) error {
	branch := t.sequence().Base() != nil
	away := h.onHost && !branch
	switch {
	case t.Local:
		h.keepRecent(t, within.add)
	case h.encodes() && !branch:
		move := mover(h.dev.CopyWithin)
		if away {
			move = h.dev.CopyOut
		}
		return h.encode(t, move)
	case away:
		h.keep(t, h.dev.CopyOut)
	default:
		h.keep(t, within.add)
	}
	return nil
}

// keep enqueues the copies of a tile's own keys and values as they are.
func (h *HeadLoop) keep(t *tile, move mover) {
	rows, past := t.pass.Rows[t.Segment], t.pass.Past[t.Segment]
	from := t.pass.NewKV(t.Layer).HeadRange(t.Head.From, t.Head.To).TokenRange(rows.From, rows.To)
	h.write(t, past, from, move)
}

// keepRecent enqueues the copies of what a layer with a window keeps of the
// pass's own keys and values. Attention must have read what lies there.
func (h *HeadLoop) keepRecent(t *tile, move mover) {
	rows, sequence := t.pass.Rows[t.Segment], t.sequence()
	end := sequence.Tokens() + rows.Len()
	kept := min(rows.Len(), h.plain.Local.Seen(end))
	from := t.pass.NewKV(t.Layer).TokenRange(rows.To-kept, rows.To)
	at := 0
	for _, to := range sequence.Recent(t.Layer, end-kept, end) {
		h.move(move, h.outward(t.pass), to, from.TokenRange(at, at+to.Tokens))
		at += to.Tokens
	}
}

// mover is one of a device's copies.
type mover func(s kernels.Stream, dst, src kernels.Tensor)

// write enqueues the copies of keys and values to where the cache has the tokens
// from past on.
func (h *HeadLoop) write(t *tile, past int, from kernels.KV, move mover) {
	at, sequence := 0, t.sequence()
	for _, to := range sequence.View(t.Layer, t.Head.From, t.Head.To, past, past+from.Tokens) {
		h.move(move, h.outward(t.pass), to, from.TokenRange(at, at+to.Tokens))
		at += to.Tokens
	}
	if h.onHost && sequence.Base() == nil {
		h.moved.Out.Add(h.shape.SlotBytes(t.Head.Len(), from.Tokens))
	}
}

// move enqueues the copy of keys and values.
func (h *HeadLoop) move(move mover, s kernels.Stream, to, from kernels.KV) {
	if from.Tokens > 0 {
		move(s, to.Keys(), from.Keys())
		move(s, to.Values(), from.Values())
	}
}
