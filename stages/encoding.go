package stages

import (
	"fmt"

	"headinfer/kernels"
)

// encodings are the values of offload's dtype, with their codes by how many
// numbers share a scale.
var encodings = map[string]struct {
	bits  int
	codes map[int]kernels.DType
}{
	"int8": {8, map[int]kernels.DType{32: kernels.Int8G32, 64: kernels.Int8G64}},
	"int4": {4, map[int]kernels.DType{32: kernels.Int4G32, 64: kernels.Int4G64}},
}

// encoding sets the cache's encoding, and says what it loses.
func (o *offloadOptions) encoding(loop *HeadLoop) error {
	e, ok := encodings[o.DType]
	if !ok {
		return nil
	}
	group := int(o.ScaleGroup)
	if loop.plain.HeadDim%group != 0 {
		return fmt.Errorf("option scale_group: a head of the model has %d channels, which is not a whole number of groups of %d; %s", loop.plain.HeadDim, group, otherGroup(loop.plain.HeadDim))
	}
	loop.shape.DType = e.codes[group]
	loop.lossy = append(loop.lossy, fmt.Sprintf("heads.offload.dtype=%s: keys and values are kept in %d bits, %d of them to a scale", o.DType, e.bits, group))
	return nil
}

func otherGroup(headDim int) string {
	if headDim%32 == 0 {
		return "set heads.offload.scale_group=32"
	}
	return "set heads.offload.dtype=same"
}

// encodes reports whether the cache is kept in an encoding of its own.
func (h *HeadLoop) encodes() bool { return h.shape.DType != h.plain.DType }

// records rounds tokens up to whole records of the cache.
func (h *HeadLoop) records(tokens int) int {
	block := h.shape.DType.Block()
	return (tokens + block - 1) / block * block
}

// checkEncoding refuses tiles that would cut the cache's records apart.
func (h *HeadLoop) checkEncoding() error {
	block := h.shape.DType.Block()
	for _, c := range []struct {
		option string
		tokens int
	}{{"span", h.cut.Span}, {"recent", h.cut.Keep.Recent}, {"sinks", h.cut.Keep.Sinks}} {
		if c.tokens%block != 0 {
			return fmt.Errorf("heads.attention.%s=%d is not a multiple of %d, and heads.offload.dtype keeps so many tokens in a record; set it to %d", c.option, c.tokens, block, h.records(c.tokens))
		}
	}
	return nil
}

// decode enqueues the decoding of a tile's past, which is encoded, and makes
// that the tile's past.
func (h *HeadLoop) decode(t *tile) error {
	whole, err := h.plain.Tile(h.decoded.Data, h.decoded.Bytes, t.Head.Len(), t.Token.Len())
	if err != nil {
		return err
	}
	at := 0
	for _, piece := range t.past {
		h.dev.DequantizeKV(t.pass.Compute, whole.TokenRange(at, at+piece.Tokens), piece)
		at += piece.Tokens
	}
	t.past = []kernels.KV{whole}
	return nil
}

// encode enqueues what becomes of a tile's tail and the pass's own keys and
// values: the records that they fill are encoded and go where the cache lies,
// and the rest is the new tail. Attention must have read them.
func (h *HeadLoop) encode(t *tile, move mover) error {
	sequence, rows, past := t.sequence(), t.pass.Rows[t.Segment], t.pass.Past[t.Segment]
	own := t.pass.NewKV(t.Layer).HeadRange(t.Head.From, t.Head.To).TokenRange(rows.From, rows.To)
	tail := sequence.Tail(t.Layer).HeadRange(t.Head.From, t.Head.To)
	place := sequence.TailPlace(t.Layer).HeadRange(t.Head.From, t.Head.To)
	all, block := tail.Tokens+own.Tokens, h.shape.DType.Block()
	full := all / block * block
	if full == 0 {
		h.move(h.dev.CopyWithin, h.outward(t.pass), place.TokenRange(tail.Tokens, all), own)
		return nil
	}
	encoded, err := h.shape.Tile(h.encoded.Data, h.encoded.Bytes, t.Head.Len(), full)
	if err != nil {
		return err
	}
	cut := full - tail.Tokens
	pieces := []kernels.KV{tail, own.TokenRange(0, cut)}
	if tail.Tokens == 0 {
		pieces = pieces[1:]
	}
	h.dev.QuantizeKV(h.outward(t.pass), encoded, pieces)
	h.write(t, past, encoded, move)
	h.move(h.dev.CopyWithin, h.outward(t.pass), place.TokenRange(0, all-full), own.TokenRange(cut, own.Tokens))
	return nil
}
