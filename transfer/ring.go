package transfer

import (
	"context"
	"fmt"
	"unsafe"

	"headinfer/kernels"
)

// Ring is a fixed number of device slots that tiles pass through: two are the
// paper's ping-pong, one of which fills while the other is attended to; with
// one, copies and attention take turns. Taking a slot blocks until an earlier
// tile's attention has been enqueued, and the slot's event holds the copy
// until that attention has run.
type Ring struct {
	dev    kernels.Device
	buffer kernels.Buffer
	slots  []*Slot
	home   chan *Slot
}

// Slot is a place for a tile, or for several that are there together.
type Slot struct {
	data  unsafe.Pointer
	bytes int64
	// Filled fires when the tile has arrived, Free when it may be overwritten.
	Filled, Free kernels.Event
}

// NewRing returns a ring of slots that hold nothing until Fit.
func NewRing(dev kernels.Device, slots int) *Ring {
	r := &Ring{dev: dev, home: make(chan *Slot, slots)}
	for range slots {
		s := &Slot{Filled: dev.NewEvent(), Free: dev.NewEvent()}
		r.slots = append(r.slots, s)
		r.home <- s
	}
	return r
}

// Slots returns how many there are.
func (r *Ring) Slots() int { return len(r.slots) }

// SlotBytes returns the room in each slot.
func (r *Ring) SlotBytes() int64 { return r.buffer.Bytes / int64(len(r.slots)) }

// Bytes returns the device memory that the ring holds.
func (r *Ring) Bytes() int64 { return r.buffer.Bytes }

// Fit makes every slot hold at least bytes. It may be called only while no
// slot is out and nothing enqueued uses one. If it fails, the ring holds nothing.
func (r *Ring) Fit(bytes int64) error {
	if bytes <= r.SlotBytes() {
		return nil
	}
	r.Release()
	b, err := r.dev.Alloc(bytes*int64(len(r.slots)), kernels.KVCache, fmt.Sprintf("KV ring of %d slots", len(r.slots)))
	if err != nil {
		return err
	}
	r.buffer = b
	for i, s := range r.slots {
		s.data, s.bytes = unsafe.Add(b.Data, int64(i)*bytes), bytes
	}
	return nil
}

// Take returns the next free slot, to be given back by Return.
func (r *Ring) Take(ctx context.Context) (*Slot, error) {
	select {
	case s := <-r.home:
		return s, nil
	default:
	}
	select {
	case s := <-r.home:
		return s, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Return gives a slot back, after the attention that reads it was enqueued and
// its Free event recorded.
func (r *Ring) Return(s *Slot) { r.home <- s }

// Release gives the device memory back, under Fit's conditions.
func (r *Ring) Release() {
	r.dev.Free(r.buffer)
	r.buffer = kernels.Buffer{}
	for _, s := range r.slots {
		s.data, s.bytes = nil, 0
	}
}

// View lays out heads × tokens of a shape in the slot, after so many bytes that
// are taken: K first, then V.
func (s *Slot) View(shape Shape, taken int64, heads, tokens int) (kernels.KV, error) {
	return shape.Tile(unsafe.Add(s.data, taken), s.bytes-taken, heads, tokens)
}
