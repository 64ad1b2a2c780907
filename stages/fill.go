package stages

import (
	"context"
	"errors"
	"fmt"
	"unsafe"

	"headinfer/kernels"
	"headinfer/transfer"
)

// Between leastFill and fillBytes of random numbers are made at a time.
const (
	fillBytes = 64 << 20
	leastFill = 1 << 20
)

// Fill gives an empty text a cache of random keys and values, of standard
// deviation 1, as if tokens had been read: for measuring what follows at
// lengths that take too long to read. room is as in Prefill.
func (t *Text) Fill(ctx context.Context, tokens, room int) (err error) {
	e := t.engine
	if len(t.Tokens) > 0 {
		return fmt.Errorf("a text that holds %d tokens cannot be filled", len(t.Tokens))
	}
	if h := e.loop.heavy; h != (transfer.Heavy{}) {
		return errors.New("a cache that drops tokens holds what their attention chose, and cannot be filled; read a prompt, or set heads.offload.heavy=none")
	}
	t.Sequence.Expect(tokens + room)
	if err := e.reserve(t, tokens, 1); err != nil {
		return err
	}
	e.passes.Lock()
	defer e.passes.Unlock()
	e.loop.trim()
	f, err := e.newFiller(t.Sequence, tokens)
	if err != nil {
		return e.explain(err)
	}
	defer func() {
		err = errors.Join(err, f.stream.Synchronize())
		e.Device.Free(f.made)
	}()
	for layer := range f.plain.Layers {
		if err := f.fill(ctx, layer); err != nil {
			return err
		}
	}
	t.Tokens = make([]int32, tokens)
	return t.Sequence.Advance(tokens)
}

// filler puts random keys and values into a sequence.
type filler struct {
	loop     *HeadLoop
	dev      kernels.Device
	stream   kernels.Stream
	sequence *transfer.Sequence
	plain    transfer.Shape
	tokens   int
	made     kernels.Buffer // what is made at a time, and after it the same encoded
	step     int            // tokens of that
	seed     uint64
}

func (e *Engine) newFiller(sequence *transfer.Sequence, tokens int) (*filler, error) {
	f := &filler{
		loop: e.loop, dev: e.Device, stream: e.decoder.Compute(),
		sequence: sequence, plain: e.loop.plain, tokens: tokens,
	}
	token := int64(f.plain.KVHeads) * f.plain.TokenBytes()
	if f.loop.encodes() {
		token += int64(f.plain.KVHeads) * f.loop.shape.TokenBytes()
	}
	const least = 512 // tokens, whole records
	f.step = max(int(min(fillBytes, max(e.Device.Ledger().Left(), leastFill))/token)/least*least, least)
	var err error
	f.made, err = e.Device.Alloc(int64(f.step)*token, kernels.Workspace, "random keys and values")
	return f, err
}

// fill makes a layer's.
func (f *filler) fill(ctx context.Context, layer int) error {
	if f.sequence.Slides(layer) {
		f.recent(layer)
		return nil
	}
	heads, record := f.plain.KVHeads, f.loop.shape.DType.Block()
	stored := f.tokens / record * record
	for lo := 0; lo < stored; lo += f.step {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n := min(f.step, stored-lo)
		made := f.random(n)
		if f.loop.encodes() {
			encoded := f.view(f.loop.shape, f.plain.SlotBytes(heads, f.step), n)
			f.dev.QuantizeKV(f.stream, encoded, []kernels.KV{made})
			made = encoded
		}
		move := f.dev.CopyWithin
		if f.loop.onHost {
			move = f.dev.CopyOut
		}
		for _, to := range f.sequence.View(layer, 0, heads, lo, lo+n) {
			part := made.TokenRange(0, to.Tokens)
			move(f.stream, to.Keys(), part.Keys())
			move(f.stream, to.Values(), part.Values())
			made = made.TokenRange(to.Tokens, made.Tokens)
		}
	}
	if rest := f.tokens - stored; rest > 0 {
		made, to := f.random(rest), f.sequence.TailPlace(layer).TokenRange(0, rest)
		f.dev.CopyWithin(f.stream, to.Keys(), made.Keys())
		f.dev.CopyWithin(f.stream, to.Values(), made.Values())
	}
	return nil
}

// recent makes what a layer with a window keeps.
func (f *filler) recent(layer int) {
	for hi := f.tokens; hi > f.tokens-f.plain.Local.Seen(f.tokens); {
		n := min(f.step, hi-(f.tokens-f.plain.Local.Seen(f.tokens)))
		made := f.random(n)
		for _, to := range f.sequence.Recent(layer, hi-n, hi) {
			part := made.TokenRange(0, to.Tokens)
			f.dev.CopyWithin(f.stream, to.Keys(), part.Keys())
			f.dev.CopyWithin(f.stream, to.Values(), part.Values())
			made = made.TokenRange(to.Tokens, made.Tokens)
		}
		hi -= n
	}
}

// random makes n tokens' keys and values.
func (f *filler) random(n int) kernels.KV {
	made := f.view(f.plain, 0, n)
	f.dev.Random(f.stream, made.Keys(), f.seed, 0, 1)
	f.dev.Random(f.stream, made.Values(), f.seed+1, 0, 1)
	f.seed += 2
	return made
}

// view lays out n tokens of a shape at an offset of what is made at a time.
func (f *filler) view(shape transfer.Shape, offset int64, n int) kernels.KV {
	k := unsafe.Add(f.made.Data, offset)
	return kernels.KV{
		K: k, V: unsafe.Add(k, shape.SlotBytes(shape.KVHeads, f.step)/2), DType: shape.DType,
		Heads: shape.KVHeads, Tokens: n, HeadDim: shape.HeadDim, HeadStride: n * shape.HeadDim,
	}
}
