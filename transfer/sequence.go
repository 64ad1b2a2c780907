package transfer

import (
	"errors"
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
	Local   *Local // nil: every layer keeps all tokens
}

// Local says which layers see the last tokens only, and how many, a token itself
// included (sliding window attention). What they keep never leaves the device.
type Local struct {
	Window int
	Layers []bool
}

// local reports whether a layer has a window.
func (s Shape) local(layer int) bool { return s.Local != nil && s.Local.Layers[layer] }

// full returns how many of the layers before one keep all tokens.
func (s Shape) full(layer int) int {
	n := 0
	for l := range layer {
		if !s.local(l) {
			n++
		}
	}
	return n
}

// Full returns how many layers keep all tokens.
func (s Shape) Full() int { return s.full(s.Layers) }

// TokenBytes returns the bytes of K and V of one token in one KV head of one
// layer, on average if they are encoded in records of several tokens.
func (s Shape) TokenBytes() int64 {
	return 2 * int64(s.HeadDim) / int64(s.DType.Block()) * int64(s.DType.BlockBytes())
}

// Bytes returns the bytes of the cache of some tokens, without what layers with
// a window keep.
func (s Shape) Bytes(tokens int) int64 {
	return int64(s.Full()) * int64(s.KVHeads) * int64(tokens) * s.TokenBytes()
}

// Sequence is the key–value cache of one text. It has one writer. Its blocks
// hold every token of the text, but for those of the sequence that it branched
// from, and two kinds: in an encoding that puts
// several tokens in a record, the last few that do not fill one are kept apart,
// as they are, on the device (its tail); and tokens may have been dropped.
type Sequence struct {
	shape    Shape
	place    placer
	admit    func(bytes int64, tokens int) error // is there room for so much more?
	ahead    func(size, count int)               // nil: no background work
	layers   []chain
	tokens   int // of the text
	stored   int // in the blocks
	capacity int // of the blocks
	goal     int // tokens that the text is expected to have in the end
	tail     tail
	evict    *evictor // nil: nothing is dropped
	recent   recent

	base     *Sequence // nil: the text is its own from the beginning
	branches int       // sequences that have this one as their base
	left     bool      // released while it had branches
}

// chain is one layer's blocks in order of position.
type chain []*block

type block struct {
	kv      kernels.KV // Tokens is the capacity
	release func()
}

// placer makes a block's memory for K and V, bytes each.
type placer func(bytes int64, what string) (k, v unsafe.Pointer, release func(), err error)

// NewHostSequence returns an empty cache in host memory taken from slabs.
func NewHostSequence(shape Shape, slabs *Slabs) *Sequence {
	s := newSequence(shape, func(bytes int64, what string) (k, v unsafe.Pointer, release func(), err error) {
		data, err := kernels.AllocateHost(slabs, int(2*bytes), what)
		if short, ok := errors.AsType[*HostMemoryError](err); ok {
			short.What = what
			return nil, nil, nil, short
		}
		if err != nil {
			return nil, nil, nil, err
		}
		buf := memory.NewBufferWithAllocator(data, slabs)
		k = unsafe.Pointer(unsafe.SliceData(buf.Bytes()))
		return k, unsafe.Add(k, bytes), buf.Release, nil
	})
	s.ahead = slabs.Ahead
	s.admit = func(bytes int64, tokens int) error {
		return slabs.Room(bytes, fmt.Sprintf("KV cache of %d tokens", tokens))
	}
	return s
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

// Tokens returns how many tokens the text has so far.
func (s *Sequence) Tokens() int { return s.tokens }

// Stored returns how many of them every layer's blocks hold; those of a base are not
// among them.
func (s *Sequence) Stored() int { return s.stored }

// Capacity returns how many tokens the blocks have room for.
func (s *Sequence) Capacity() int { return s.capacity }

// Fits reports whether the text can have so many tokens without another block.
func (s *Sequence) Fits(tokens int) bool {
	return s.blocked(tokens) <= s.capacity && s.recent.fits(tokens)
}

// Takes reports whether device memory has to be taken for the text to have so
// many tokens, or as many as are expected.
func (s *Sequence) Takes(tokens int) bool {
	onDevice := s.ahead == nil && !s.Fits(tokens)
	return onDevice || !s.recent.fits(max(tokens, s.goal)) || s.tail.dev != nil && s.tail.buffer.Data == nil
}

// Expect says how many tokens the text will have in the end.
func (s *Sequence) Expect(tokens int) { s.goal = max(s.goal, tokens) }

// Goal returns how many tokens the blocks have room for or are expected to
// hold in the end.
func (s *Sequence) Goal() int {
	goal := s.blocked(s.goal)
	if s.evict != nil {
		goal = min(goal, s.evict.Kept())
	}
	return max(goal, s.capacity)
}

// blocked returns how many tokens the blocks hold when the text has so many,
// if none are dropped on the way.
func (s *Sequence) blocked(tokens int) int {
	if block := s.shape.DType.Block(); block > 1 {
		return max(tokens, s.tokens) / block * block
	}
	return s.stored + max(tokens-s.tokens, 0)
}

// firstBlock is the least that Extend adds: in copies of that many tokens of
// a head, a link gives all it can (docs/decisions.md has the figures).
const firstBlock = 8192

// Extend makes room for the text to have at least so many tokens, read in passes
// of up to rows. When it must add a block, it adds one that is as large as all
// before it, but not past the goal. On the host, the block after it is then
// taken in the background. If it fails, the blocks are as they were.
func (s *Sequence) Extend(tokens, rows int) error {
	if err := s.tail.fit(s.shape); err != nil {
		return err
	}
	if err := s.recent.fit(max(tokens, s.goal)); err != nil {
		return err
	}
	need, whole := s.blocked(tokens), max(s.blocked(tokens), s.blocked(s.goal))
	if s.evict != nil {
		most := s.evict.Kept() + rows
		need, whole = min(need, most), min(whole, most)
	}
	if err := s.evict.fit(s.shape, max(whole, s.capacity), rows); err != nil {
		return err
	}
	if need <= s.capacity {
		return nil
	}
	if s.ahead == nil { // nothing is gained by coming back for more
		return s.Reserve(whole)
	}
	// What cannot be finished is better not begun.
	if err := s.admit(s.shape.Bytes(whole-s.capacity), whole); err != nil {
		return err
	}
	if err := s.Reserve(max(need, s.next())); err != nil {
		return err
	}
	if more := s.next() - s.capacity; more > 0 {
		s.ahead(2*int(s.blockBytes(more)), s.shape.Full())
	}
	return nil
}

// next returns the capacity after another block. What would be left for a
// block less than half as large joins this one.
func (s *Sequence) next() int {
	block := max(s.capacity, firstBlock)
	if s.Goal() < s.capacity+block+block/2 {
		return s.Goal()
	}
	return s.capacity + block
}

// blockBytes returns the bytes of one layer's keys of some tokens.
func (s *Sequence) blockBytes(tokens int) int64 {
	return int64(s.shape.KVHeads) * int64(tokens) * s.shape.TokenBytes() / 2
}

// Reserve makes the blocks hold a total of tokens, with one more a layer if it
// must. If it fails, they are as they were.
func (s *Sequence) Reserve(tokens int) error {
	more := tokens - s.capacity
	if more <= 0 {
		return nil
	}
	// Ask for the whole first: an error that names one layer's share of what
	// is missing would help nobody.
	if err := s.admit(s.shape.Bytes(more), tokens); err != nil {
		return err
	}
	bytes := s.blockBytes(more)
	made := make([]*block, s.shape.Layers)
	for l := range s.layers {
		if s.shape.local(l) {
			continue
		}
		k, v, release, err := s.place(bytes, fmt.Sprintf("KV cache of %d tokens, layer %d of %d", tokens, l+1, s.shape.Layers))
		if err != nil {
			for _, b := range made[:l] {
				if b != nil {
					b.release()
				}
			}
			return err
		}
		made[l] = &block{release: release, kv: s.shape.view(k, v, s.shape.KVHeads, more)}
	}
	for l, b := range made {
		if b != nil {
			s.layers[l] = append(s.layers[l], b)
		}
	}
	s.capacity = tokens
	return nil
}

// Advance counts n tokens as held, once every layer's have been written.
func (s *Sequence) Advance(n int) error {
	if n < 0 || !s.Fits(s.tokens+n) {
		return fmt.Errorf("sequence of %d tokens with room for %d, %d of them taken, cannot take %d more", s.tokens, s.capacity, s.stored, n)
	}
	s.stored = s.blocked(s.tokens + n)
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

// Release gives all memory back, once no branch needs it. Nothing may use the
// sequence itself afterwards.
func (s *Sequence) Release() {
	s.leave()
	if s.left = s.branches > 0; !s.left {
		s.free()
	}
}

func (s *Sequence) free() {
	for l, c := range s.layers {
		for _, b := range c {
			b.release()
		}
		s.layers[l] = nil
	}
	s.tail.release()
	s.evict.release()
	s.recent.release()
	s.tokens, s.stored, s.capacity, s.goal = 0, 0, 0, 0
}
