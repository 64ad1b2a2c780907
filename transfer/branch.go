package transfer

import (
	"errors"

	"headinfer/kernels"
)

// Branch returns a cache whose text begins with all of s's tokens and goes on by
// itself, on dev and in d, the activations' type. What s holds is shared, and must
// not change from here on; it may be no branch itself, and drop no tokens. s gives its memory back when it and all of its branches
// have been released.
func (s *Sequence) Branch(dev kernels.Memory, d kernels.DType) (*Sequence, error) {
	if s.base != nil || s.evict != nil {
		return nil, errors.New("a cache that has branched itself, or drops tokens, cannot be branched")
	}
	shape := s.shape
	shape.DType = d
	b := NewDeviceSequence(shape, dev)
	var err error
	if b.recent, err = s.recent.clone(); err != nil {
		return nil, err
	}
	b.base, b.tokens = s, s.tokens
	s.branches++
	return b, nil
}

// Base returns the cache that s branched from, or nil.
func (s *Sequence) Base() *Sequence { return s.base }

// leave lets go of the cache that s branched from.
func (s *Sequence) leave() {
	if s.base == nil {
		return
	}
	base := s.base
	s.base = nil
	if base.branches--; base.branches == 0 && base.left {
		base.free()
	}
}

// clone copies what is kept, so that two texts can go on from it.
func (r *recent) clone() (recent, error) {
	c := *r
	if r.dev == nil || r.places == 0 {
		return c, nil
	}
	c.buffer, c.places = kernels.Buffer{}, 0
	if err := c.resize(r, r.places); err != nil {
		return recent{}, err
	}
	return c, nil
}
