package transfer

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"unsafe"

	"github.com/apache/arrow/go/v17/arrow/memory"
)

const (
	slabBytes     = 64 << 20
	slabAlignment = 64
	// spareBytes of empty slabs are kept for the next text: short texts would
	// otherwise take and pin the same memory again and again.
	spareBytes = 1 << 30
)

// Slabs is an Arrow allocator that takes memory from another one in large
// slabs and hands out exact parts of them: taking (and, for a GPU, pinning)
// host memory is slow by the piece. Parts freed are used again. It has a
// budget, and it can take slabs ahead of need, in the background. It is safe
// for concurrent use.
type Slabs struct {
	base   memory.Allocator
	budget int64
	spare  int64 // bytes of empty slabs that are kept

	mu     sync.Mutex
	change sync.Cond // all, busy or closed have changed
	all    []*slab
	held   int64 // bytes of all
	busy   bool  // a goroutine is getting a slab from base
	closed bool
}

type slab struct {
	data []byte
	free []extent // by offset, never adjacent
	used int
}

type extent struct{ from, to int }

var _ memory.Allocator = (*Slabs)(nil)

// NewSlabs returns an empty allocator over base with a budget in bytes; 0
// means as much as the machine has free whenever more is needed.
func NewSlabs(base memory.Allocator, budget int64) *Slabs {
	s := &Slabs{base: base, budget: budget, spare: spareBytes}
	s.change.L = &s.mu
	return s
}

// Keep makes the slabs keep up to so many bytes of empty ones, until something else
// needs the room. It is to be called before the first Allocate.
func (s *Slabs) Keep(bytes int64) { s.spare = bytes }

// Allocate returns size bytes, aligned for vectors, of unspecified content. As
// Arrow's interface has it, it panics when there are none: with a
// *HostMemoryError past the budget, or as base does.
func (s *Slabs) Allocate(size int) []byte {
	if size == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		for _, b := range s.all {
			if part := b.take(size); part != nil {
				return part
			}
		}
		if s.busy {
			s.change.Wait() // it may be for us
			continue
		}
		s.grow(size)
	}
}

// Ahead makes sure, in the background, that count parts of size bytes can be
// had at once. It does nothing past the budget: the allocation itself will say
// what is missing.
func (s *Slabs) Ahead(size, count int) {
	s.mu.Lock()
	if s.busy || s.closed {
		s.mu.Unlock()
		return // one at a time; it is a hint
	}
	missing := count
	for _, b := range s.all {
		missing -= b.room(size)
	}
	s.busy = true
	s.mu.Unlock()
	go func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		defer func() {
			s.busy = false
			s.change.Broadcast()
			if bug, ok := recover().(runtime.Error); ok {
				panic(bug) // anything else is the allocation's to say
			}
		}()
		for missing > 0 && !s.closed && s.allow(int64(bytesFor(size))) == nil {
			s.grow(size)
			missing -= s.all[len(s.all)-1].room(size)
			s.busy = true
		}
		if !slices.ContainsFunc(s.all, func(b *slab) bool { return b.used > 0 }) {
			s.drop(s.spare) // the text that this was for has gone
		}
	}()
}

// bytesFor returns how large a slab for parts of size bytes is: some 64 MiB, but
// no more than whole parts take.
func bytesFor(size int) int {
	step := (size + slabAlignment - 1) &^ (slabAlignment - 1)
	return max(step, slabBytes/step*step)
}

// grow adds a slab for a part of size bytes. It holds the lock but for the
// time that base takes, and panics as Allocate does.
func (s *Slabs) grow(size int) {
	bytes := bytesFor(size)
	if err := s.admit(int64(bytes)); err != nil {
		panic(err)
	}
	s.busy = true
	s.held += int64(bytes) // what others ask for meanwhile comes on top
	data, failure := func() (data []byte, failure any) {
		s.mu.Unlock()
		defer s.mu.Lock()
		defer func() { failure = recover() }()
		return s.base.Allocate(bytes), nil
	}()
	s.busy = false
	s.change.Broadcast()
	if failure != nil {
		s.held -= int64(bytes)
		panic(failure)
	}
	s.all = append(s.all, &slab{data: data, free: []extent{{0, len(data)}}})
}

// Room returns the *HostMemoryError that allocating bytes, in whatever parts,
// would come to, and takes nothing. what names the asker.
func (s *Slabs) Room(bytes int64, what string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	free := s.held
	for _, b := range s.all {
		free -= int64(b.used)
	}
	if err := s.allow(bytes - free); err != nil {
		err.What = what
		return err
	}
	return nil
}

// admit returns a *HostMemoryError if bytes more are too many, even without
// the slabs that are empty.
func (s *Slabs) admit(bytes int64) *HostMemoryError {
	if s.allow(bytes) == nil {
		return nil
	}
	s.drop(0)
	return s.allow(bytes)
}

// allow compares what more is asked for with what there is.
func (s *Slabs) allow(bytes int64) *HostMemoryError {
	left := s.budget - s.held
	if s.budget == 0 {
		machine, known := HostMemory()
		if known && bytes > machine.Available-hostReserve {
			debug.FreeOSMemory() // what Go's heap has given up may be enough
			machine, known = HostMemory()
		}
		if !known {
			return nil
		}
		left = machine.Available - hostReserve
	}
	if bytes <= left {
		return nil
	}
	return &HostMemoryError{Asked: bytes, Left: max(left, 0), Held: s.held, Budget: s.budget}
}

// drop gives empty slabs back until at most keep bytes of them are left.
func (s *Slabs) drop(keep int64) {
	s.all = slices.DeleteFunc(s.all, func(b *slab) bool {
		if b.used > 0 {
			return false
		}
		if keep -= int64(len(b.data)); keep >= 0 {
			return false
		}
		s.held -= int64(len(b.data))
		s.base.Free(b.data)
		return true
	})
}

// IsLike reports whether other slabs come from the same allocator.
func (s *Slabs) IsLike(other *Slabs) bool { return s.base == other.base }

// Trim gives all empty slabs back.
func (s *Slabs) Trim() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(0)
}

// Close gives the empty slabs back and ends the background work. Parts still
// in use keep their slabs, which go back when they are freed.
func (s *Slabs) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for s.busy {
		s.change.Wait()
	}
	s.drop(0)
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
	for _, owner := range s.all {
		if !owner.put(b) {
			continue
		}
		if owner.used == 0 && s.closed {
			s.drop(0)
		} else if owner.used == 0 {
			s.drop(s.spare)
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
		used += int64(b.used)
	}
	return s.held, used
}

// room returns how many parts of size bytes fit.
func (b *slab) room(size int) int {
	step := (size + slabAlignment - 1) &^ (slabAlignment - 1)
	n := 0
	for _, e := range b.free {
		n += (e.to - e.from + step - size) / step // the last may end short
	}
	return n
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
