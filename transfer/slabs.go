package transfer

import (
	"fmt"
	"slices"
	"sync"
	"unsafe"

	"github.com/apache/arrow/go/v17/arrow/memory"
)

const (
	slabBytes     = 64 << 20
	slabAlignment = 64
)

// Slabs is an Arrow allocator that takes memory from another one in large
// slabs and hands out exact parts of them: taking (and, for a GPU, pinning)
// host memory is slow by the piece. Parts freed are used again; a slab goes
// back when its last part has. It is safe for concurrent use.
type Slabs struct {
	base memory.Allocator
	mu   sync.Mutex
	all  []*slab
}

type slab struct {
	data []byte
	free []extent // by offset, never adjacent
	used int
}

type extent struct{ from, to int }

var _ memory.Allocator = (*Slabs)(nil)

// NewSlabs returns an empty allocator over base.
func NewSlabs(base memory.Allocator) *Slabs { return &Slabs{base: base} }

// Allocate returns size bytes, aligned for vectors, of unspecified content. As
// Arrow's interface has it, it panics if base does.
func (s *Slabs) Allocate(size int) []byte {
	if size == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.all {
		if part := b.take(size); part != nil {
			return part
		}
	}
	b := &slab{data: s.base.Allocate(max(size, slabBytes))}
	b.free = []extent{{0, len(b.data)}}
	s.all = append(s.all, b)
	return b.take(size)
}

// Reallocate returns size bytes that begin with b's, and frees b.
func (s *Slabs) Reallocate(size int, b []byte) []byte {
	if size == 0 {
		s.Free(b)
		return nil
	}
	if size <= len(b) {
		return b[:size]
	}
	grown := s.Allocate(size)
	copy(grown, b)
	s.Free(b)
	return grown
}

// Free takes back a slice that Allocate or Reallocate returned.
func (s *Slabs) Free(b []byte) {
	if cap(b) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, owner := range s.all {
		if !owner.put(b) {
			continue
		}
		if owner.used == 0 {
			s.all = slices.Delete(s.all, i, i+1)
			s.base.Free(owner.data)
		}
		return
	}
	panic(fmt.Sprintf("transfer: freed %d bytes that are not of these slabs", len(b)))
}

// Bytes returns how much the slabs hold and how much of it is in use.
func (s *Slabs) Bytes() (held, used int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.all {
		held += int64(len(b.data))
		used += int64(b.used)
	}
	return held, used
}

func (b *slab) take(size int) []byte {
	room := (size + slabAlignment - 1) &^ (slabAlignment - 1)
	for i, e := range b.free {
		// The last part of a slab may end short of the alignment.
		if e.to-e.from < size {
			continue
		}
		end := min(e.from+room, e.to)
		b.free[i].from = end
		if end == e.to {
			b.free = slices.Delete(b.free, i, i+1)
		}
		b.used += end - e.from
		// The capacity tells Free how much was taken.
		return b.data[e.from : e.from+size : end]
	}
	return nil
}

func (b *slab) put(part []byte) bool {
	from := int(uintptr(unsafe.Pointer(unsafe.SliceData(part))) - uintptr(unsafe.Pointer(unsafe.SliceData(b.data))))
	if from < 0 || from >= len(b.data) {
		return false
	}
	e := extent{from, from + cap(part)}
	b.used -= cap(part)
	at, _ := slices.BinarySearchFunc(b.free, e, func(a, b extent) int { return a.from - b.from })
	b.free = slices.Insert(b.free, at, e)
	if at+1 < len(b.free) && b.free[at].to == b.free[at+1].from {
		b.free[at].to = b.free[at+1].to
		b.free = slices.Delete(b.free, at+1, at+2)
	}
	if at > 0 && b.free[at-1].to == b.free[at].from {
		b.free[at-1].to = b.free[at].to
		b.free = slices.Delete(b.free, at, at+1)
	}
	return true
}
