package stages

import (
	"context"
	"errors"
	"fmt"
	"unsafe"

	"headinfer/kernels"
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
	t.Sequence.Expect(tokens + room)
	if err := e.reserve(t, tokens, 1); err != nil {
		return err
	}
	e.passes.Lock()
	defer e.passes.Unlock()
	shape, stream := t.Sequence.Shape(), e.decoder.Compute()
	e.loop.trim()
	token := int64(shape.KVHeads) * shape.TokenBytes()
	bytes := max(min(fillBytes, max(e.Device.Ledger().Left(), leastFill)), 512*token)
	bytes -= bytes % 512 // both halves aligned
	made, err := e.Device.Alloc(bytes, kernels.Workspace, "random keys and values")
	if err != nil {
		return e.explain(err)
	}
	defer func() {
		err = errors.Join(err, stream.Synchronize())
		e.Device.Free(made)
	}()
	move := e.Device.CopyWithin
	if e.loop.onHost {
		move = e.Device.CopyOut
	}
	seed, step := uint64(0), int(bytes/token)
	for layer := range shape.Layers {
		for lo := 0; lo < tokens; lo += step {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			n := min(step, tokens-lo)
			random := kernels.KV{
				K: made.Data, V: unsafe.Add(made.Data, bytes/2), DType: shape.DType,
				Heads: shape.KVHeads, Tokens: n, HeadDim: shape.HeadDim, HeadStride: n * shape.HeadDim,
			}
			e.Device.Random(stream, random.Keys(), seed, 0, 1)
			e.Device.Random(stream, random.Values(), seed+1, 0, 1)
			seed += 2
			for _, to := range t.Sequence.View(layer, 0, shape.KVHeads, lo, lo+n) {
				part := random.TokenRange(0, to.Tokens)
				move(stream, to.Keys(), part.Keys())
				move(stream, to.Values(), part.Values())
				random = random.TokenRange(to.Tokens, random.Tokens)
			}
		}
	}
	t.Tokens = make([]int32, tokens)
	return t.Sequence.Advance(tokens)
}
