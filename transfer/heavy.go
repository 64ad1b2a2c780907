package transfer

import (
	"cmp"
	"fmt"
	"slices"
	"unsafe"

	"headinfer/kernels"
)

// Heavy says which tokens a sequence keeps, by KV head: so many of those that
// have received most attention, and so many of the last ones. The others are
// dropped, lossily (heavy hitters: H2O, Zhang et al. 2023). The zero Heavy keeps all.
type Heavy struct{ Most, Recent int }

// evictAfter is how many tokens too many are let stand, so that a decode does
// not drop one at every step.
const evictAfter = 64

// Kept returns the most tokens that are kept from pass to pass.
func (h Heavy) Kept() int { return h.Most + h.Recent + evictAfter - 1 }

func massBytes(shape Shape, capacity int) int64 {
	return int64(shape.Layers) * int64(shape.KVHeads) * int64(capacity) * int64(kernels.F32.BlockBytes())
}

func (h Heavy) gatherBytes(shape Shape) int64 {
	return int64(h.Most+h.Recent) * shape.TokenBytes() / 2
}

// evictor drops a sequence's tokens.
type evictor struct {
	Heavy
	dev      kernels.Device
	mass     kernels.Buffer // f32 [layers, KV heads, capacity]: attention received so far
	gathered kernels.Buffer // the keys or values of one head that are kept
	host     []byte         // as mass
	capacity int
}

// KeepHeavy makes a sequence in the device's memory keep only what h says.
func (s *Sequence) KeepHeavy(dev kernels.Device, h Heavy) { s.evict = &evictor{Heavy: h, dev: dev} }

// fit takes what it needs for a cache with room for some tokens.
func (e *evictor) fit(shape Shape, capacity int) (err error) {
	switch {
	case e == nil || capacity <= e.capacity:
		return nil
	case e.capacity > 0:
		return fmt.Errorf("a KV cache that drops tokens has room for passes of %d tokens and cannot grow", e.capacity-e.Kept())
	}
	bytes := massBytes(shape, capacity)
	if e.mass, err = e.dev.Alloc(bytes, kernels.KVCache, "attention received by the KV cache"); err != nil {
		return err
	}
	if e.gathered, err = e.dev.Alloc(e.gatherBytes(shape), kernels.KVCache, "keys or values that are kept"); err != nil {
		return err
	}
	if e.host, err = kernels.AllocateHost(e.dev.Host(), int(bytes), "attention received"); err != nil {
		return err
	}
	clear(e.host)
	e.capacity = capacity
	return nil
}

func (e *evictor) release() {
	if e == nil {
		return
	}
	e.dev.Free(e.mass)
	e.dev.Free(e.gathered)
	e.dev.Host().Free(e.host)
	e.mass, e.gathered, e.host, e.capacity = kernels.Buffer{}, kernels.Buffer{}, nil, 0
}

// rows views all of the mass, a row a layer and head, where data lies.
func (e *evictor) rows(shape Shape, data unsafe.Pointer) kernels.Tensor {
	return kernels.Matrix(data, kernels.F32, shape.Layers*shape.KVHeads, e.capacity)
}

// Mass returns where the attention that the first n tokens of heads [h0, h1) of
// a layer receive is added up, f32 [heads, n], and whether it is.
func (s *Sequence) Mass(layer, h0, h1, n int) (mass kernels.Tensor, ok bool) {
	if s.evict == nil {
		return kernels.Tensor{}, false
	}
	first := layer * s.shape.KVHeads
	return s.evict.rows(s.shape, s.evict.mass.Data).RowRange(first+h0, first+h1).ColRange(0, n), true
}

// Prepare enqueues what a sequence needs before its first pass.
func (s *Sequence) Prepare(stream kernels.Stream) {
	if e := s.evict; e != nil && s.tokens == 0 {
		e.dev.Random(stream, e.rows(s.shape, e.mass.Data), 0, 0, 0) // zeros
	}
}

// Evict drops what is too much, once nothing enqueued uses the sequence, and
// returns when that is done.
func (s *Sequence) Evict(stream kernels.Stream) error {
	e := s.evict
	if e == nil || s.stored <= e.Kept() {
		return nil
	}
	device, host := e.rows(s.shape, e.mass.Data), e.rows(s.shape, unsafe.Pointer(unsafe.SliceData(e.host)))
	e.dev.CopyOut(stream, host, device)
	if err := stream.Synchronize(); err != nil {
		return err
	}
	masses := unsafe.Slice((*float32)(host.Data), host.Rows*host.Cols)
	for layer := range s.shape.Layers {
		for head := range s.shape.KVHeads {
			mass := masses[(layer*s.shape.KVHeads+head)*e.capacity:][:e.capacity]
			kept := e.choose(mass[:s.stored])
			for i, from := range kept { // from is never before i
				mass[i] = mass[from]
			}
			clear(mass[len(kept):])
			s.gather(stream, layer, head, kept)
		}
	}
	e.dev.CopyIn(stream, device, host)
	s.stored = e.Most + e.Recent
	return stream.Synchronize()
}

// choose returns which tokens are kept of those that have received some mass
// each, in order.
func (h Heavy) choose(mass []float32) []int32 {
	old := len(mass) - h.Recent
	kept := make([]int32, len(mass))
	for i := range kept {
		kept[i] = int32(i)
	}
	slices.SortStableFunc(kept[:old], func(a, b int32) int { return cmp.Compare(mass[b], mass[a]) })
	kept = slices.Delete(kept, h.Most, old)
	slices.Sort(kept)
	return kept
}

// gather enqueues the move of a head's kept tokens to the front.
func (s *Sequence) gather(stream kernels.Stream, layer, head int, kept []int32) {
	e := s.evict
	all := kernels.Matrix(e.gathered.Data, s.shape.DType, len(kept), s.shape.HeadDim)
	for _, side := range []func(kernels.KV) kernels.Tensor{kernels.KV.Keys, kernels.KV.Values} {
		done, first := 0, 0
		for _, piece := range s.View(layer, head, head+1, 0, s.stored) {
			ids := make([]int32, 0, len(kept)-done)
			for _, k := range kept[done:] {
				if int(k) < first+piece.Tokens {
					ids = append(ids, k-int32(first))
				}
			}
			table := kernels.Matrix(side(piece).Data, s.shape.DType, piece.Tokens, s.shape.HeadDim)
			e.dev.Embed(stream, all.RowRange(done, done+len(ids)), table, ids)
			done, first = done+len(ids), first+piece.Tokens
		}
		done = 0
		for _, piece := range s.View(layer, head, head+1, 0, len(kept)) {
			to := kernels.Matrix(side(piece).Data, s.shape.DType, piece.Tokens, s.shape.HeadDim)
			e.dev.CopyWithin(stream, to, all.RowRange(done, done+piece.Tokens))
			done += piece.Tokens
		}
	}
}
