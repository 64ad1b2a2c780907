package transfer

import (
	"cmp"
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
	stream   kernels.Stream
	mass     kernels.Buffer // f32 [layers, KV heads, capacity]: attention received so far
	gathered kernels.Buffer // the keys or values of one head that are kept
	host     []byte         // as mass
	capacity int
	rows     int // of a pass: so many tokens are named at a time
}

// KeepHeavy makes a sequence in the device's memory keep only what h says. What
// that takes is moved on the stream.
func (s *Sequence) KeepHeavy(dev kernels.Device, stream kernels.Stream, h Heavy) {
	s.evict = &evictor{Heavy: h, dev: dev, stream: stream}
}

// fit takes what it needs for a cache with room for some tokens, read in passes
// of up to rows. If it fails, everything is as it was.
func (e *evictor) fit(shape Shape, capacity, rows int) error {
	if e == nil {
		return nil
	}
	e.rows = max(e.rows, rows)
	if capacity <= e.capacity {
		return nil
	}
	grown, bytes := *e, massBytes(shape, capacity)
	grown.mass, grown.gathered, grown.host, grown.capacity = kernels.Buffer{}, kernels.Buffer{}, nil, capacity
	var err error
	if grown.mass, err = e.dev.Alloc(bytes, kernels.KVCache, "attention received by the KV cache"); err != nil {
		return err
	}
	if grown.gathered, err = e.dev.Alloc(e.gatherBytes(shape), kernels.KVCache, "keys or values that are kept"); err == nil {
		grown.host, err = kernels.AllocateHost(e.dev.Host(), int(bytes), "attention received")
	}
	if err == nil {
		all := grown.table(shape, grown.mass.Data)
		e.dev.Random(e.stream, all, 0, 0, 0) // zeros
		if e.capacity > 0 {
			e.dev.CopyWithin(e.stream, all.ColRange(0, e.capacity), e.table(shape, e.mass.Data))
		}
		err = e.stream.Synchronize()
	}
	if err != nil {
		grown.release()
		return err
	}
	e.release()
	*e = grown
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

// table views all of the mass, a row a layer and head, where data lies.
func (e *evictor) table(shape Shape, data unsafe.Pointer) kernels.Tensor {
	return kernels.Matrix(data, kernels.F32, shape.Layers*shape.KVHeads, e.capacity)
}

// Mass returns where the attention that the first n tokens of heads [h0, h1) of
// a layer receive is added up, f32 [heads, n], and whether it is.
func (s *Sequence) Mass(layer, h0, h1, n int) (mass kernels.Tensor, ok bool) {
	if s.evict == nil {
		return kernels.Tensor{}, false
	}
	first := layer * s.shape.KVHeads
	return s.evict.table(s.shape, s.evict.mass.Data).RowRange(first+h0, first+h1).ColRange(0, n), true
}

// Evict drops what is too much. Nothing enqueued may use the sequence. It
// returns when that is done.
func (s *Sequence) Evict() error {
	e := s.evict
	if e == nil || s.stored <= e.Kept() {
		return nil
	}
	stream := e.stream
	device, host := e.table(s.shape, e.mass.Data), e.table(s.shape, unsafe.Pointer(unsafe.SliceData(e.host)))
	e.dev.CopyOut(stream, host, device)
	if err := stream.Synchronize(); err != nil {
		return err
	}
	masses := unsafe.Slice((*float32)(host.Data), host.Rows*host.Cols)
	for layer := range s.shape.Layers {
		if s.shape.local(layer) {
			continue // keeps its window, whatever it receives
		}
		for head := range s.shape.KVHeads {
			mass := masses[(layer*s.shape.KVHeads+head)*e.capacity:][:e.capacity]
			kept := e.choose(mass[:s.stored])
			for i, from := range kept { // from is never before i
				mass[i] = mass[from]
			}
			clear(mass[len(kept):])
			s.gather(layer, head, kept)
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
func (s *Sequence) gather(layer, head int, kept []int32) {
	e := s.evict
	all := kernels.Matrix(e.gathered.Data, s.shape.DType, len(kept), s.shape.HeadDim)
	for _, side := range []func(kernels.KV) kernels.Tensor{kernels.KV.Keys, kernels.KV.Values} {
		done, first := 0, 0
		for _, piece := range s.View(layer, head, head+1, 0, s.stored) {
			var ids []int32
			for _, k := range kept[done:] {
				if int(k) < first+piece.Tokens {
					ids = append(ids, k-int32(first))
				}
			}
			table := kernels.Matrix(side(piece).Data, s.shape.DType, piece.Tokens, s.shape.HeadDim)
			// As many at a time as the device is prepared for.
			for some := range slices.Chunk(ids, e.rows) {
				e.dev.Embed(e.stream, all.RowRange(done, done+len(some)), table, some, 1)
				done += len(some)
			}
			first += piece.Tokens
		}
		done = 0
		for _, piece := range s.View(layer, head, head+1, 0, len(kept)) {
			to := kernels.Matrix(side(piece).Data, s.shape.DType, piece.Tokens, s.shape.HeadDim)
			e.dev.CopyWithin(e.stream, to, all.RowRange(done, done+piece.Tokens))
			done += piece.Tokens
		}
	}
}
