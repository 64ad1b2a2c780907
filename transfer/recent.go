package transfer

import (
	"fmt"
	"unsafe"

	"headinfer/kernels"
)

// recent is where a sequence keeps what its layers with a window still see: a
// circle of one token less than the window, for each of them, on the device and
// in the activations' type. Token t lies at place t modulo its size. The zero
// recent is that of a sequence without such layers.
type recent struct {
	dev    kernels.Device
	stream kernels.Stream // on which it is moved to a larger place
	shape  Shape
	buffer kernels.Buffer
	places int
}

// KeepRecent makes a sequence keep what the shape's layers with a window see, on
// dev, in d. On the stream they are moved to a larger place.
func (s *Sequence) KeepRecent(dev kernels.Device, stream kernels.Stream, d kernels.DType) {
	if s.shape.Local == nil {
		return
	}
	s.recent = recent{dev: dev, stream: stream, shape: s.shape}
	s.recent.shape.DType = d
}

// RecentBytes returns what the layers with a window take for a text of some
// tokens, in the activations' type.
func (s Shape) RecentBytes(tokens int) int64 {
	if s.Local == nil {
		return 0
	}
	return int64(s.Layers-s.Full()) * int64(s.KVHeads) * int64(min(tokens, s.Local.Window-1)) * s.TokenBytes()
}

// fits reports whether a text of some tokens finds its place.
func (r *recent) fits(tokens int) bool {
	return r.dev == nil || r.places >= min(tokens, r.shape.Local.Window-1)
}

// fit makes places for a text of some tokens. What a smaller circle held has
// not gone around it, and moves to the same places.
func (r *recent) fit(tokens int) error {
	if r.fits(tokens) {
		return nil
	}
	grown := *r
	err := grown.resize(r, min(max(tokens, 2*r.places), r.shape.Local.Window-1))
	if err == nil {
		r.release()
		*r = grown
	}
	return err
}

// resize takes memory of so many places, and moves to it what from holds: no more
// than these.
func (r *recent) resize(from *recent, places int) (err error) {
	r.buffer, err = r.dev.Alloc(r.shape.RecentBytes(places), kernels.KVCache, fmt.Sprintf("the last %d tokens of layers with a window", places))
	if err != nil {
		return err
	}
	r.places = places
	if from.places == 0 {
		return nil
	}
	for layer := range r.shape.Layers {
		if r.shape.local(layer) {
			src, dst := from.layer(layer), r.layer(layer).TokenRange(0, from.places)
			r.dev.CopyWithin(r.stream, dst.Keys(), src.Keys())
			r.dev.CopyWithin(r.stream, dst.Values(), src.Values())
		}
	}
	if err = r.stream.Synchronize(); err != nil {
		r.release()
	}
	return err
}

func (r *recent) release() {
	if r.dev != nil {
		r.dev.Free(r.buffer)
	}
	r.buffer, r.places = kernels.Buffer{}, 0
}

// layer views a layer's circle.
func (r *recent) layer(layer int) kernels.KV {
	side := int64(r.shape.KVHeads) * int64(r.places) * r.shape.TokenBytes() / 2
	k := unsafe.Add(r.buffer.Data, 2*int64(layer-r.shape.full(layer))*side)
	return r.shape.view(k, unsafe.Add(k, side), r.shape.KVHeads, r.places)
}

// Recent returns where tokens [lo, hi) of a layer with a window lie, held already
// or to be written, in order of position. There may be no more of them than the
// layer keeps.
func (s *Sequence) Recent(layer, lo, hi int) []kernels.KV {
	if lo == hi {
		return nil
	}
	circle, places := s.recent.layer(layer), s.recent.places
	from := lo % places
	to := from + hi - lo
	if to <= places {
		return []kernels.KV{circle.TokenRange(from, to)}
	}
	return []kernels.KV{circle.TokenRange(from, places), circle.TokenRange(0, to-places)}
}

// Slides reports whether a layer has a window.
func (s *Sequence) Slides(layer int) bool { return s.shape.local(layer) }

// Seen returns how many of some tokens a layer with a window keeps for those
// that follow.
func (l Local) Seen(tokens int) int { return min(tokens, l.Window-1) }
