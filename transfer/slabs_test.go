package transfer

import (
	"errors"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/apache/arrow/go/v17/arrow/memory"
)

func TestSlabsHandOutApartAndTakeBack(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	base := memory.NewCheckedAllocator(memory.DefaultAllocator)
	slabs := NewSlabs(base, 0)
	type part struct {
		data []byte
		mark byte
	}
	var live []part
	check := func(p part) {
		for i, v := range p.data {
			if v != p.mark {
				t.Fatalf("byte %d of a part of %d is %d, not %d: parts overlap", i, len(p.data), v, p.mark)
			}
		}
	}
	for step := range 2000 {
		if len(live) > 0 && r.IntN(2) == 0 {
			i := r.IntN(len(live))
			check(live[i])
			if r.IntN(4) == 0 {
				size := r.IntN(300_000) + 1
				grown := slabs.Reallocate(size, live[i].data)
				keep := min(size, len(live[i].data))
				check(part{grown[:keep], live[i].mark})
				for j := range grown {
					grown[j] = live[i].mark
				}
				live[i].data = grown
				continue
			}
			slabs.Free(live[i].data)
			live = append(live[:i], live[i+1:]...)
			continue
		}
		size := r.IntN(200_000) + 1
		if r.IntN(200) == 0 {
			size = slabBytes + r.IntN(1000)
		}
		p := part{slabs.Allocate(size), byte(step)}
		if len(p.data) != size {
			t.Fatalf("asked for %d bytes, got %d", size, len(p.data))
		}
		if uintptr(unsafe.Pointer(&p.data[0]))%slabAlignment != 0 {
			t.Fatalf("a part of %d bytes is not aligned", size)
		}
		for i := range p.data {
			p.data[i] = p.mark
		}
		live = append(live, p)
	}
	if held, used := slabs.Bytes(); used == 0 || used > held {
		t.Fatalf("%d bytes used of %d", used, held)
	}
	for _, p := range live {
		check(p)
		slabs.Free(p.data)
	}
	if held, used := slabs.Bytes(); held > spareBytes || used != 0 {
		t.Fatalf("after everything was freed, %d bytes are held and %d used", held, used)
	}
	slabs.Close()
	if held, _ := slabs.Bytes(); held != 0 {
		t.Fatalf("after the end, %d bytes are held", held)
	}
	base.AssertSize(t, 0)
}

// counted counts and announces what is taken of it.
type counted struct {
	memory.Allocator
	taken chan int
}

func (c counted) Allocate(size int) []byte {
	b := c.Allocator.Allocate(size)
	c.taken <- size
	return b
}

func TestSlabsAreTakenAheadOfNeed(t *testing.T) {
	base := counted{memory.DefaultAllocator, make(chan int, 100)}
	slabs := NewSlabs(base, 0)
	slabs.Ahead(slabBytes/2, 5)
	for range 3 {
		if n := <-base.taken; n != slabBytes {
			t.Fatalf("a slab of %d bytes", n)
		}
	}
	var parts [][]byte
	for range 5 {
		parts = append(parts, slabs.Allocate(slabBytes/2))
	}
	if n := len(base.taken); n > 0 {
		t.Errorf("%d more slabs were taken for parts that had been asked for ahead", n)
	}
	for _, p := range parts {
		slabs.Free(p)
	}
	slabs.Close()
	if held, used := slabs.Bytes(); held != 0 || used != 0 {
		t.Errorf("in the end %d bytes are held and %d used", held, used)
	}
}

func TestSlabsKeepToTheirBudget(t *testing.T) {
	slabs := NewSlabs(memory.DefaultAllocator, 3*slabBytes)
	defer slabs.Close()
	first := slabs.Allocate(slabBytes)
	slabs.Allocate(slabBytes)
	slabs.Ahead(2*slabBytes, 1) // does nothing
	refused := func(size int) (err error) {
		defer func() { err, _ = recover().(error) }()
		slabs.Allocate(size)
		return nil
	}
	err := refused(2 * slabBytes)
	if e, ok := errors.AsType[*HostMemoryError](err); !ok || e.Asked != 2*slabBytes || e.Left != slabBytes || e.Budget != 3*slabBytes || e.Held != 2*slabBytes {
		t.Fatalf("got %+v", err)
	}
	slabs.Free(first) // an empty slab is kept, and given up when the budget needs it
	if err := refused(2 * slabBytes); err != nil {
		t.Error(err)
	}
}

// TestSlabsKeepWhatTheyAreTold keeps all of what a text has taken for the next, until
// something else needs the room.
func TestSlabsKeepWhatTheyAreTold(t *testing.T) {
	base := memory.NewCheckedAllocator(memory.DefaultAllocator)
	slabs := NewSlabs(base, 4*slabBytes)
	slabs.Keep(4 * slabBytes)
	var parts [][]byte
	for range 3 {
		parts = append(parts, slabs.Allocate(slabBytes))
	}
	for _, p := range parts {
		slabs.Free(p)
	}
	if held, used := slabs.Bytes(); held != 3*slabBytes || used != 0 {
		t.Errorf("%d bytes are held and %d used", held, used)
	}
	// Larger than what is kept and what is left of the budget.
	large := slabs.Allocate(2 * slabBytes)
	if held, used := slabs.Bytes(); held != 2*slabBytes || used != 2*slabBytes {
		t.Errorf("%d bytes are held and %d used", held, used)
	}
	slabs.Free(large)
	slabs.Trim()
	if held, _ := slabs.Bytes(); held != 0 {
		t.Errorf("%d bytes are held after Trim", held)
	}
	if !slabs.IsLike(NewSlabs(base, 0)) || slabs.IsLike(NewSlabs(memory.DefaultAllocator, 0)) {
		t.Error("IsLike is not about the allocator")
	}
	slabs.Close()
	base.AssertSize(t, 0)
}
