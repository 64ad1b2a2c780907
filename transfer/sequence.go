package transfer

import (
	"fmt"
	"unsafe"

	"github.com/apache/arrow/go/v17/arrow/memory"

	"headinfer/kernels"
)

// Shape is what a key–value cache of a model looks like.
type Shape struct {
	Layers  int
	KVHeads int
	HeadDim int
	DType   kernels.DType
}

// TokenBytes returns the bytes of K and V of one token in one KV head of one layer.
func (s Shape) TokenBytes() int64 {
	return 2 * int64(s.HeadDim) * int64(s.DType.BlockBytes())
}

// Bytes returns the bytes of the whole cache of some tokens.
func (s Shape) Bytes(tokens int) int64 {
	return int64(s.Layers) * int64(s.KVHeads) * int64(tokens) * s.TokenBytes()
}

// Sequence is the key–value cache of one text. It has one writer.
type Sequence struct {
	shape    Shape
	place    placer
	admit    func(bytes int64, tokens int) error // nil: no budget
	layers   []chain
	tokens   int
	capacity int
}

// chain is one layer's blocks in order of position.
type chain []*block

type block struct {
	kv      kernels.KV // Tokens is the capacity
	release func()
}

// placer makes a block's memory for K and V, bytes each.
type placer func(bytes int64, what string) (k, v unsafe.Pointer, release func(), err error)

// NewHostSequence returns an empty cache in host memory taken from alloc.
func NewHostSequence(shape Shape, alloc memory.Allocator) *Sequence {
	return newSequence(shape, func(bytes int64, what string) (k, v unsafe.Pointer, release func(), err error) {
		defer func() {
			if r := recover(); r != nil {
				err = fmt.Errorf("%s: %s of host memory: %v", what, kernels.FormatBytes(2*bytes), r)
			}
		}()
		buf := memory.NewBufferWithAllocator(alloc.Allocate(int(2*bytes)), alloc)
		k = unsafe.Pointer(unsafe.SliceData(buf.Bytes()))
		return k, unsafe.Add(k, bytes), buf.Release, nil
	})
}

// NewDeviceSequence returns an empty cache in the device's memory.
func NewDeviceSequence(shape Shape, dev kernels.Memory) *Sequence {
	s := newSequence(shape, func(bytes int64, what string) (k, v unsafe.Pointer, release func(), err error) {
		b, err := dev.Alloc(2*bytes, kernels.KVCache, what)
		if err != nil {
			return nil, nil, nil, err
		}
		return b.Data, unsafe.Add(b.Data, bytes), func() { dev.Free(b) }, nil
	})
	s.admit = func(bytes int64, tokens int) error {
		return dev.Ledger().Room(bytes, kernels.KVCache, fmt.Sprintf("KV cache of %d tokens", tokens))
	}
	return s
}

func newSequence(shape Shape, place placer) *Sequence {
	return &Sequence{shape: shape, place: place, layers: make([]chain, shape.Layers)}
}

// Shape returns the cache's shape.
func (s *Sequence) Shape() Shape { return s.shape }

// Tokens returns how many tokens every layer holds.
func (s *Sequence) Tokens() int { return s.tokens }

// Capacity returns how many tokens fit without another block.
func (s *Sequence) Capacity() int { return s.capacity }

// Reserve makes room for a total of tokens, in one more block a layer if it
// must. If it fails, the sequence is as it was.
func (s *Sequence) Reserve(tokens int) error {
	more := tokens - s.capacity
	if more <= 0 {
		return nil
	}
	// Ask for the whole first: an error that names one layer's share of what
	// is missing would help nobody.
	if s.admit != nil {
		if err := s.admit(s.shape.Bytes(more), tokens); err != nil {
			return err
		}
	}
	bytes := int64(s.shape.KVHeads) * int64(more) * s.shape.TokenBytes() / 2
	made := make([]*block, 0, s.shape.Layers)
	for l := range s.layers {
		k, v, release, err := s.place(bytes, fmt.Sprintf("KV cache of %d tokens, layer %d of %d", tokens, l+1, s.shape.Layers))
		if err != nil {
			for _, b := range made {
				b.release()
			}
			return err
		}
		made = append(made, &block{release: release, kv: kernels.KV{
			K: k, V: v, DType: s.shape.DType, Heads: s.shape.KVHeads,
			Tokens: more, HeadDim: s.shape.HeadDim, HeadStride: more * s.shape.HeadDim,
		}})
	}
	for l, b := range made {
		s.layers[l] = append(s.layers[l], b)
	}
	s.capacity = tokens
	return nil
}

// Advance counts n tokens as held, once every layer's have been written.
func (s *Sequence) Advance(n int) error {
	if n < 0 || s.tokens+n > s.capacity {
		return fmt.Errorf("sequence of %d tokens with room for %d cannot take %d more", s.tokens, s.capacity, n)
	}
	s.tokens += n
	return nil
}

// View returns where tokens [lo, hi) of heads [h0, h1) of a layer lie, held
// already or to be written, in order of position.
func (s *Sequence) View(layer, h0, h1, lo, hi int) []kernels.KV {
	var views []kernels.KV
	for _, b := range s.layers[layer] {
		if from, to := max(lo, 0), min(hi, b.kv.Tokens); from < to {
			views = append(views, b.kv.HeadRange(h0, h1).TokenRange(from, to))
		}
		lo, hi = lo-b.kv.Tokens, hi-b.kv.Tokens
	}
	return views
}

// Release gives all memory back. Nothing may use the sequence afterwards.
func (s *Sequence) Release() {
	for l, c := range s.layers {
		for _, b := range c {
			b.release()
		}
		s.layers[l] = nil
	}
	s.tokens, s.capacity = 0, 0
}
