package transfer

import (
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
	slabs := NewSlabs(base)
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
	if held, used := slabs.Bytes(); held != 0 || used != 0 {
		t.Fatalf("after everything was freed, %d bytes are held and %d used", held, used)
	}
	base.AssertSize(t, 0)
}
