package model

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
	"unsafe"

	"headinfer/kernels"
	"headinfer/transfer"
)

// Segment is the next tokens of one sequence in a pass. They take the
// positions from Sequence.Tokens() on.
type Segment struct {
	Sequence *transfer.Sequence
	Tokens   []int32
	// Length is how long the text is for what depends on that (dynamic and
	// longrope rotary embeddings): the same for all of a text's passes.
	Length int
}

// Pass is what the head loop sees of a forward pass. Its tensors are rewritten
// layer by layer, in the order of the compute stream.
type Pass struct {
	Segments []Segment
	Rows     []transfer.Range // of each segment
	Past     []int            // tokens each sequence's blocks held when the pass began
	Query    kernels.Tensor   // [rows, heads*head_dim], rotated
	Output   kernels.Tensor   // as Query: attention's result
	LSE      kernels.Tensor   // f32 [heads, rows]
	Group    int              // query heads a KV head
	HeadDim  int
	Scale    float32 // of scores
	SoftCap  float32 // of scores; 0: none
	MaxRows  int     // of the passes that the decoder is ready for
	Compute  kernels.Stream

	newKV  [2]kernels.KV
	unread int // the layer whose Output nothing reads; -1: none
}

// Unread reports whether nothing reads a layer's Output: that of the last one, in a
// pass without logits. Its keys and values are all that such a layer is for.
func (p *Pass) Unread(layer int) bool { return layer == p.unread }

// NewKV returns the pass's own keys and values of a layer, [KV heads, rows,
// head_dim]. Two layers' are kept, so that one can be copied away while the
// next is computed.
func (p *Pass) NewKV(layer int) kernels.KV { return p.newKV[layer%2] }

// Heads is the head loop: it attends to each layer's past and new keys and
// values, by tiles and in an order of its own, and keeps the new ones.
type Heads interface {
	// Begin plans a pass. From here on, tiles may be fetched.
	Begin(ctx context.Context, p *Pass) error
	// Attend is called once a layer, in order, when the layer's queries and
	// new keys and values have been enqueued. It returns once the attention
	// has been enqueued on p.Compute, in such a way that the next layer's
	// NewKV may be written by what is enqueued next.
	Attend(ctx context.Context, layer int) error
	// End finishes the pass; the new keys and values are in the sequences for
	// any pass that begins later.
	End(ctx context.Context) error
}

// Decoder is a model on a device. One pass runs at a time.
type Decoder struct {
	Config  Config
	dev     kernels.Device
	heads   Heads
	line    *transfer.Timeline
	compute kernels.Stream
	weights *weights
	ropes   []Rope // the distinct ones, as Config.Rope and, if there is one, LocalRope
	maxRows int
	maxSegs int
	waited  time.Duration

	buffers                            []kernels.Buffer
	host                               []byte           // where lastLogits is copied to
	hidden, normed                     kernels.Tensor   // [rows, hidden]
	qkv                                kernels.Tensor   // [rows, (heads + 2 KV heads)*head_dim]
	attended                           kernels.Tensor   // [rows, heads*head_dim]
	gateUp                             kernels.Tensor   // [rows, 2*ffn], in the place of qkv and attended
	cos, sin                           []kernels.Tensor // of each rope: [rows, half of what is rotated]
	lse                                kernels.Tensor   // [heads, rows]
	newKV                              [2]kernels.KV
	lastHidden, lastNormed, lastLogits kernels.Tensor // [segments, hidden] twice, [segments, vocabulary]
}

// NewDecoder puts a checkpoint's weights on dev. It needs the checkpoint open
// for as long as it lives, and Grow before the first pass.
func NewDecoder(c *Checkpoint, dev kernels.Device, heads Heads, line *transfer.Timeline) (*Decoder, error) {
	d := &Decoder{Config: c.Config, dev: dev, heads: heads, line: line}
	d.ropes = c.Config.ropes()
	var err error
	d.compute = dev.NewStream(string(transfer.Compute))
	if d.weights, err = loadWeights(c, dev, d.compute); err != nil {
		return nil, err
	}
	return d, nil
}

// Attach gives a decoder that no pass is running on another head loop, and a time line.
func (d *Decoder) Attach(heads Heads, line *transfer.Timeline) { d.heads, d.line = heads, line }

// Compute is the stream that the decoder enqueues on.
func (d *Decoder) Compute() kernels.Stream { return d.compute }

// Waited returns how long the last pass waited for the device once all of it was
// enqueued: what is left of the pass is the host's own time.
func (d *Decoder) Waited() time.Duration { return d.waited }

// MaxRows returns how many tokens a pass may have.
func (d *Decoder) MaxRows() int { return d.maxRows }

// MaxSegments returns how many sequences a pass may have.
func (d *Decoder) MaxSegments() int { return d.maxSegs }

// Grow makes passes of up to rows tokens in up to segments sequences possible.
// No pass may be running. If memory is short, it is refused and what was possible
// stays so; after any other failure no pass is possible until it succeeds.
func (d *Decoder) Grow(rows, segments int) error {
	if rows <= d.maxRows && segments <= d.maxSegs {
		return nil
	}
	rows, segments = max(rows, d.maxRows), max(segments, d.maxSegs)
	// A refusal says what all of the buffers take, and leaves those that there are.
	if err := d.dev.Ledger().Room(d.More(rows, segments), kernels.Activations, fmt.Sprintf("a pass of %d tokens", rows)); err != nil {
		return err
	}
	d.Close()
	if err := d.allocate(rows, segments); err != nil {
		d.Close()
		return err
	}
	d.maxRows, d.maxSegs = rows, segments
	return nil
}

// More returns how many bytes the buffers of such passes take beyond those that there
// are.
func (d *Decoder) More(rows, segments int) int64 {
	var bytes int64
	sized := *d // layOut sets its tensors
	sized.layOut(rows, segments, func(_ string, dt kernels.DType, rows, cols int) kernels.Tensor {
		bytes += bufferBytes(dt, rows, cols)
		return kernels.Tensor{}
	})
	for _, b := range d.buffers {
		bytes -= b.Bytes
	}
	return bytes
}

func bufferBytes(dt kernels.DType, rows, cols int) int64 {
	return int64(rows) * int64(cols) * int64(dt.BlockBytes())
}

// allocate takes the buffers of a pass.
func (d *Decoder) allocate(rows, segments int) error {
	var failure error
	d.layOut(rows, segments, func(what string, dt kernels.DType, rows, cols int) kernels.Tensor {
		if failure != nil {
			return kernels.Tensor{}
		}
		b, err := d.dev.Alloc(bufferBytes(dt, rows, cols), kernels.Activations, what)
		if err != nil {
			failure = err
			return kernels.Tensor{}
		}
		d.buffers = append(d.buffers, b)
		return kernels.Matrix(b.Data, dt, rows, cols)
	})
	if failure != nil {
		return failure
	}
	c := d.Config
	var err error
	if d.host, err = kernels.AllocateHost(d.dev.Host(), 4*segments*c.Vocab, "logits"); err != nil {
		return err
	}
	return d.dev.Prepare(kernels.Workload{
		Rows: rows, Columns: max(c.Hidden, c.Heads*c.HeadDim, c.FFN), KVHeads: c.KVHeads, Group: c.Group(), HeadDim: c.HeadDim,
	})
}

// layOut sets the buffers of a pass to what matrix makes of their shapes.
func (d *Decoder) layOut(rows, segments int, matrix func(what string, dt kernels.DType, rows, cols int) kernels.Tensor) {
	c, dt := d.Config, d.dev.Info().Activations
	width := c.Heads * c.HeadDim
	d.hidden = matrix("hidden states", dt, rows, c.Hidden)
	d.normed = matrix("normalised hidden states", dt, rows, c.Hidden)
	// Attention is over when the feed-forward network begins: both use the same
	// memory, and the gated linear unit's result takes the place of its gate.
	qkv := width + 2*c.KVHeads*c.HeadDim
	layer := matrix("attention and feed-forward", dt, rows, max(qkv+width, 2*c.FFN))
	d.qkv = kernels.Matrix(layer.Data, dt, rows, qkv)
	if layer.Data != nil { // not while sizes are only added up
		d.attended = kernels.Matrix(unsafe.Add(layer.Data, d.qkv.Bytes()), dt, rows, width)
	}
	d.gateUp = kernels.Matrix(layer.Data, dt, rows, 2*c.FFN)
	d.cos, d.sin = nil, nil
	for _, rope := range d.ropes {
		d.cos = append(d.cos, matrix("rotary table", kernels.F32, rows, rope.Dim/2))
		d.sin = append(d.sin, matrix("rotary table", kernels.F32, rows, rope.Dim/2))
	}
	d.lse = matrix("log-sum-exp of attention", kernels.F32, c.Heads, rows)
	for i := range d.newKV {
		k := matrix("new keys", dt, c.KVHeads*rows, c.HeadDim)
		v := matrix("new values", dt, c.KVHeads*rows, c.HeadDim)
		d.newKV[i] = kernels.KV{
			K: k.Data, V: v.Data, DType: dt, Heads: c.KVHeads, Tokens: rows,
			HeadDim: c.HeadDim, HeadStride: rows * c.HeadDim,
		}
	}
	d.lastHidden = matrix("last hidden states", dt, segments, c.Hidden)
	d.lastNormed = matrix("last hidden states", dt, segments, c.Hidden)
	d.lastLogits = matrix("logits", kernels.F32, segments, c.Vocab)
}

// Close gives the buffers of passes back. The device must be idle.
func (d *Decoder) Close() {
	for _, b := range d.buffers {
		d.dev.Free(b)
	}
	d.dev.Host().Free(d.host)
	d.buffers, d.host = nil, nil
	d.maxRows, d.maxSegs = 0, 0
}

// Forward runs one pass: it appends the segments' tokens to their sequences,
// which must have room, and, if logits is set, returns for each segment the
// logits [vocabulary] that follow its last token.
func (d *Decoder) Forward(ctx context.Context, segments []Segment, logits bool) ([][]float32, error) {
	p, ids, positions, err := d.plan(segments, logits)
	if err != nil {
		return nil, err
	}
	if err := d.heads.Begin(ctx, p); err != nil {
		return nil, err
	}
	rows := len(ids)
	d.line.Around(d.compute, transfer.Compute, step("embedding"), func() {
		d.embed(ids)
		d.rotary(p, positions)
	})
	for l := range d.weights.layers {
		w := &d.weights.layers[l]
		d.line.Around(d.compute, transfer.Compute, layerStep{l, "project"}, func() { d.project(p, l, w, rows) })
		if err := d.heads.Attend(ctx, l); err != nil {
			return nil, err
		}
		if l+1 < len(d.weights.layers) {
			d.line.Around(d.compute, transfer.Compute, layerStep{l, "feed-forward"}, func() { d.feedForward(w, d.all(rows)) })
		} else if logits {
			// Of what the last layer makes, logits take the last rows only.
			var last activations
			d.line.Around(d.compute, transfer.Compute, layerStep{l, "feed-forward"}, func() {
				last = d.last(p)
				d.feedForward(w, last)
			})
			d.line.Around(d.compute, transfer.Compute, step("logits"), func() { d.logits(last) })
		}
	}
	if err := d.heads.End(ctx); err != nil {
		return nil, err
	}
	enqueued := time.Now()
	if err := d.compute.Synchronize(); err != nil {
		return nil, err
	}
	d.waited = time.Since(enqueued)
	d.line.Settle()
	for _, s := range segments {
		if err := s.Sequence.Advance(len(s.Tokens)); err != nil {
			return nil, err
		}
	}
	if !logits {
		return nil, nil
	}
	host := slices.Clone(unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(d.host))), len(segments)*d.Config.Vocab))
	if limit := d.Config.LogitCap; limit > 0 {
		for i, l := range host {
			host[i] = float32(limit * math.Tanh(float64(l)/limit))
		}
	}
	return slices.Collect(slices.Chunk(host, d.Config.Vocab)), nil
}

// step and layerStep name spans of the time line.
type step string

func (s step) String() string { return string(s) }

type layerStep struct {
	layer int
	name  string
}

func (s layerStep) String() string { return fmt.Sprintf("L%d %s", s.layer, s.name) }

func (d *Decoder) plan(segments []Segment, logits bool) (p *Pass, ids, positions []int32, err error) {
	if len(segments) == 0 || len(segments) > d.maxSegs {
		return nil, nil, nil, fmt.Errorf("a pass of %d segments; the decoder takes 1 to %d", len(segments), d.maxSegs)
	}
	p = &Pass{
		Segments: segments, Group: d.Config.Group(), HeadDim: d.Config.HeadDim, MaxRows: d.maxRows, Compute: d.compute,
		Scale: float32(d.Config.ScoreScale()), SoftCap: float32(d.Config.ScoreCap), unread: -1,
	}
	if !logits {
		p.unread = d.Config.Layers - 1
	}
	for i, s := range segments {
		for _, other := range segments[:i] {
			if other.Sequence == s.Sequence {
				return nil, nil, nil, errors.New("a pass with two segments of one sequence")
			}
		}
		past := s.Sequence.Tokens()
		if len(s.Tokens) == 0 || !s.Sequence.Fits(past+len(s.Tokens)) {
			return nil, nil, nil, fmt.Errorf("a segment of %d tokens on a sequence of %d with room for %d", len(s.Tokens), past, s.Sequence.Capacity())
		}
		if past+len(s.Tokens) > math.MaxInt32 {
			return nil, nil, nil, fmt.Errorf("position %d does not fit in 32 bits", past+len(s.Tokens))
		}
		p.Rows = append(p.Rows, transfer.Range{From: len(ids), To: len(ids) + len(s.Tokens)})
		p.Past = append(p.Past, s.Sequence.Stored())
		for i := range s.Tokens {
			positions = append(positions, int32(past+i))
		}
		ids = append(ids, s.Tokens...)
	}
	rows := len(ids)
	if rows > d.maxRows {
		return nil, nil, nil, fmt.Errorf("a pass of %d tokens; the decoder takes at most %d", rows, d.maxRows)
	}
	p.Query = d.qkv.RowRange(0, rows).ColRange(0, d.Config.Heads*d.Config.HeadDim)
	p.Output = d.attended.RowRange(0, rows)
	p.LSE = d.lse.ColRange(0, rows)
	for i := range p.newKV {
		p.newKV[i] = d.newKV[i].TokenRange(0, rows)
	}
	return p, ids, positions, nil
}

// embed enqueues the pass's hidden states.
func (d *Decoder) embed(ids []int32) {
	scale := d.Config.Embedding
	if scale == 0 {
		scale = 1
	}
	d.dev.Embed(d.compute, d.hidden.RowRange(0, len(ids)), d.weights.embedding, ids, float32(scale))
}

// rotary enqueues the tables of each rope: for most, all rows are turned alike, and
// some depend on how long the text is.
func (d *Decoder) rotary(p *Pass, positions []int32) {
	for i, rope := range d.ropes {
		for from := 0; from < len(p.Rows); {
			f, scale := rope.Frequencies(p.Segments[from].Length)
			to := from + 1
			for ; to < len(p.Rows); to++ {
				if g, other := rope.Frequencies(p.Segments[to].Length); other != scale || !slices.Equal(f, g) {
					break
				}
			}
			lo, hi := p.Rows[from].From, p.Rows[to-1].To
			d.dev.RotaryTable(d.compute, d.cos[i].RowRange(lo, hi), d.sin[i].RowRange(lo, hi), positions[lo:hi], f, scale)
			from = to
		}
	}
}

// table returns the rotary table of a layer; a layer without one has no rows.
func (d *Decoder) table(layer, rows int) (cos, sin kernels.Tensor) {
	c, which := d.Config, 0
	if c.NoRope != nil && c.NoRope[layer] || c.Rope.Dim == 0 {
		return kernels.Tensor{}, kernels.Tensor{}
	}
	if c.LocalRope != nil && c.slides(layer) {
		which = 1
	}
	return d.cos[which].RowRange(0, rows), d.sin[which].RowRange(0, rows)
}

// project normalises the hidden states and enqueues the layer's queries, keys
// and values.
func (d *Decoder) project(p *Pass, l int, w *layerWeights, rows int) {
	c := d.Config
	x, normed := d.hidden.RowRange(0, rows), d.normed.RowRange(0, rows)
	width, kv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	qkv := d.qkv.RowRange(0, rows)
	k, v := qkv.ColRange(width, width+kv), qkv.ColRange(width+kv, width+2*kv)
	d.dev.RMSNorm(d.compute, normed, x, w.inputNorm, float32(c.NormEps), false)
	d.dev.Linear(d.compute, qkv, normed, []kernels.Tensor{w.q, w.k, w.v}, false)
	cos, sin := d.table(l, rows)
	d.dev.RotateSplit(d.compute, kernels.RotateArgs{
		Q: p.Query, K: k, V: v, QBias: w.qBias, KBias: w.kBias, VBias: w.vBias,
		QNorm: w.qNorm, KNorm: w.kNorm, NormEps: float32(c.NormEps),
		Cos: cos, Sin: sin, NewKV: p.NewKV(l), HeadDim: c.HeadDim, Interleaved: c.Interleaved,
	})
}

// activations are rows of a pass on their way through the rest of a layer.
type activations struct{ hidden, normed, attended kernels.Tensor }

// all are a pass's rows.
func (d *Decoder) all(rows int) activations {
	return activations{d.hidden.RowRange(0, rows), d.normed.RowRange(0, rows), d.attended.RowRange(0, rows)}
}

// last are the last rows of a pass's segments, put together.
func (d *Decoder) last(p *Pass) activations {
	n := len(p.Segments)
	if n == p.Output.Rows {
		return d.all(n)
	}
	// Attention has read its queries: their place is free.
	t := activations{d.lastHidden.RowRange(0, n), d.lastNormed.RowRange(0, n), kernels.Matrix(d.qkv.Data, d.attended.DType, n, d.attended.Cols)}
	var places, rows []kernels.Tensor
	gather := func(to, from kernels.Tensor) {
		for i, r := range p.Rows {
			places, rows = append(places, to.RowRange(i, i+1)), append(rows, from.RowRange(r.To-1, r.To))
		}
	}
	// Neighbours of one size are copied together.
	gather(t.hidden, d.hidden)
	gather(t.attended, d.attended)
	d.dev.Scatter(d.compute, places, rows)
	return t
}

// feedForward adds the attention's projection, and the gated linear unit's
// result, to the hidden states.
func (d *Decoder) feedForward(w *layerWeights, t activations) {
	c := d.Config
	gateUp := d.gateUp.RowRange(0, t.hidden.Rows)
	gated := gateUp.ColRange(0, c.FFN)
	d.add(t.hidden, t.normed, t.attended, w.o, w.afterAttention)
	d.dev.RMSNorm(d.compute, t.normed, t.hidden, w.ffnNorm, float32(c.NormEps), false)
	d.dev.Linear(d.compute, gateUp, t.normed, []kernels.Tensor{w.gate, w.up}, false)
	d.dev.GLU(d.compute, gated, gateUp, c.Activation)
	d.add(t.hidden, t.normed, gated, w.down, w.afterFFN)
}

// add adds part·wᵀ to the hidden states x, normalised first if there is a norm
// for that; normed is written over then.
func (d *Decoder) add(x, normed, part, w, norm kernels.Tensor) {
	if norm.Rows == 0 {
		d.dev.Linear(d.compute, x, part, []kernels.Tensor{w}, true)
		return
	}
	d.dev.Linear(d.compute, normed, part, []kernels.Tensor{w}, false)
	d.dev.RMSNorm(d.compute, x, normed, norm, float32(d.Config.NormEps), true)
}

// logits enqueues the output layer and the copy of its result to d.host, which holds
// it once the stream has run dry.
func (d *Decoder) logits(last activations) {
	c, n := d.Config, last.hidden.Rows
	out := d.lastLogits.RowRange(0, n)
	d.dev.RMSNorm(d.compute, last.normed, last.hidden, d.weights.norm, float32(c.NormEps), false)
	d.dev.Linear(d.compute, out, last.normed, []kernels.Tensor{d.weights.output}, false)
	d.dev.CopyOut(d.compute, kernels.Matrix(unsafe.Pointer(unsafe.SliceData(d.host)), kernels.F32, n, c.Vocab), out)
}
