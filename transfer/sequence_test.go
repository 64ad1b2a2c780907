package transfer

import (
	"errors"
	"slices"
	"testing"
	"unsafe"

	"github.com/apache/arrow/go/v17/arrow/memory"

	"headinfer/kernels"
	"headinfer/kernels/cpu"
)

var small = Shape{Layers: 3, KVHeads: 4, HeadDim: 8, DType: kernels.F32}

// at returns the address of one token's keys and values as views give it.
func at(t *testing.T, s *Sequence, layer, head, token int) (k, v *float32) {
	t.Helper()
	views := s.View(layer, head, head+1, token, token+1)
	if len(views) != 1 || views[0].Tokens != 1 || views[0].Heads != 1 {
		t.Fatalf("one token of one head is %d views", len(views))
	}
	return (*float32)(views[0].K), (*float32)(views[0].V)
}

func TestSequenceKeepsWhatWasWrittenAsItGrows(t *testing.T) {
	base := memory.NewCheckedAllocator(memory.DefaultAllocator)
	slabs := NewSlabs(base, 0)
	s := NewHostSequence(small, slabs)
	value := func(l, h, n int) float32 { return float32(1 + n + 1000*h + 100_000*l) }
	held := 0
	for _, total := range []int{5, 6, 6, 40} {
		if err := s.Reserve(total); err != nil {
			t.Fatal(err)
		}
		for l := range small.Layers {
			for h := range small.KVHeads {
				for n := held; n < total; n++ {
					k, v := at(t, s, l, h, n)
					*k, *v = value(l, h, n), -value(l, h, n)
				}
			}
		}
		if err := s.Advance(total - held); err != nil {
			t.Fatal(err)
		}
		held = total
	}
	// Every token has a place of its own, and views over any range agree with it.
	for l := range small.Layers {
		for h := range small.KVHeads {
			n := 3
			for _, view := range s.View(l, h, h+1, 3, 37) {
				for i := range view.Tokens {
					k := *(*float32)(unsafe.Add(view.K, i*small.HeadDim*4))
					v := *(*float32)(unsafe.Add(view.V, i*small.HeadDim*4))
					if k != value(l, h, n) || v != -value(l, h, n) {
						t.Fatalf("layer %d head %d token %d is %g, %g", l, h, n, k, v)
					}
					n++
				}
			}
			if n != 37 {
				t.Fatalf("views of tokens 3 to 37 end at %d", n)
			}
		}
	}
	if err := s.Advance(1); err == nil {
		t.Error("a full sequence took another token")
	}
	s.Release()
	slabs.Close()
	base.AssertSize(t, 0)
}

func TestDeviceSequenceIsRefusedWhole(t *testing.T) {
	dev := cpu.Open(small.Bytes(100), 1)
	defer func() {
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	}()
	s := NewDeviceSequence(small, dev)
	err := s.Reserve(101)
	var short *kernels.BudgetError
	if !errors.As(err, &short) || short.Asked != small.Bytes(101) || short.Purpose != kernels.KVCache {
		t.Fatalf("reserving past the budget gave %v", err)
	}
	if used := dev.Ledger().Usage().Used; used != 0 {
		t.Fatalf("a refused cache left %d bytes counted", used)
	}
	if err := s.Reserve(100); err != nil {
		t.Fatal(err)
	}
	s.Release()
	if u := dev.Ledger().Usage(); u.Used != 0 || u.Peak != small.Bytes(100) {
		t.Fatalf("after release %d bytes are counted, and the peak was %d", u.Used, u.Peak)
	}
}

func TestHostSequenceSaysWhatTheHostRefused(t *testing.T) {
	s := NewHostSequence(small, NewSlabs(refusing{}, 0))
	if err := s.Reserve(10); err == nil {
		t.Fatal("no error from an allocator that panics")
	} else {
		t.Log(err)
	}
}

type refusing struct{ memory.Allocator }

func (refusing) Allocate(int) []byte { panic("out of memory") }

func TestHostSequenceExtendsByDoubling(t *testing.T) {
	base := memory.NewCheckedAllocator(memory.DefaultAllocator)
	slabs := NewSlabs(base, 0)
	s := NewHostSequence(Shape{Layers: 2, KVHeads: 1, HeadDim: 8, DType: kernels.F32}, slabs)
	s.Expect(100_000)
	var got []int
	for tokens := 1; tokens < 100_000; tokens += 5000 {
		if err := s.Extend(tokens, 1); err != nil {
			t.Fatal(err)
		}
		if n := len(got); n == 0 || got[n-1] != s.Capacity() {
			got = append(got, s.Capacity())
		}
	}
	if want := []int{8192, 16384, 32768, 65536, 100_000}; !slices.Equal(got, want) {
		t.Errorf("capacities %v, want %v", got, want)
	}
	// Past what was expected, no more than is asked for.
	if err := s.Extend(100_001, 1); err != nil || s.Capacity() != 100_001 {
		t.Errorf("capacity %d, error %v", s.Capacity(), err)
	}
	s.Release()
	slabs.Close()
	base.AssertSize(t, 0)
}

func TestHostSequenceIsRefusedBeforeItBegins(t *testing.T) {
	slabs := NewSlabs(memory.DefaultAllocator, 2*slabBytes)
	defer slabs.Close()
	s := NewHostSequence(small, slabs)
	s.Expect(int(2*slabBytes/small.Bytes(1)) + 1)
	err := s.Extend(10, 1)
	if !errors.Is(err, ErrHostMemory) || s.Capacity() != 0 {
		t.Errorf("a sequence that will not fit got room for %d tokens and %v", s.Capacity(), err)
	}
	if held, _ := slabs.Bytes(); held != 0 {
		t.Errorf("%d bytes are held", held)
	}
}

// scarce has some bytes and no more.
type scarce struct {
	memory.Allocator
	left *int
}

func (a scarce) Allocate(size int) []byte {
	if *a.left -= size; *a.left < 0 {
		panic(errors.New("no more pages"))
	}
	return a.Allocator.Allocate(size)
}

func TestHostSequenceStaysWhenTheHostRunsOut(t *testing.T) {
	left := slabBytes
	slabs := NewSlabs(scarce{memory.DefaultAllocator, &left}, 0)
	shape := Shape{Layers: 2, KVHeads: 8, HeadDim: 64, DType: kernels.F32} // a slab for the first block of both layers
	s := NewHostSequence(shape, slabs)
	s.Expect(100_000)
	if err := s.Extend(1, 1); err != nil {
		t.Fatal(err)
	}
	held := s.Capacity()
	if err := s.Extend(held+1, 1); err == nil || s.Capacity() != held || len(s.View(1, 0, 1, 0, held)) != 1 {
		t.Errorf("past the host's memory the capacity is %d, was %d, and the error %v", s.Capacity(), held, err)
	}
	s.Release()
	slabs.Close()
	if bytes, used := slabs.Bytes(); bytes != 0 || used != 0 {
		t.Errorf("in the end %d bytes are held and %d used", bytes, used)
	}
}
