package transfer

import (
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"headinfer/kernels"
	"headinfer/kernels/cpu"
)

// TestEvictKeepsTheHeavyAndTheRecent fills a sequence of several blocks with
// numbers that say where they come from, gives its tokens random masses, and
// looks at what is left after an eviction and the one after it.
func TestEvictKeepsTheHeavyAndTheRecent(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	dev := cpu.Open(16<<20, 2)
	defer func() {
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	}()
	stream := dev.NewStream("test")
	shape := Shape{Layers: 2, KVHeads: 3, HeadDim: 4, DType: kernels.F32}
	keep := Heavy{Most: 20, Recent: 10}
	s := NewDeviceSequence(shape, dev)
	s.KeepHeavy(dev, stream, keep)
	const pass = 70
	s.Expect(10 * pass)
	// A first block that is too small, so that a second one follows.
	if err := s.Reserve(33); err != nil {
		t.Fatal(err)
	}
	if err := s.Extend(pass, pass); err != nil {
		t.Fatal(err)
	}
	if want := keep.Kept() + pass; s.Capacity() != want {
		t.Fatalf("room for %d tokens, want %d", s.Capacity(), want)
	}
	held := map[[2]int][]int32{} // by layer and head: which tokens of the text
	received := map[[3]int]float32{}
	for read := 0; read < 6*pass; read += pass {
		past := s.Stored()
		if err := s.Extend(read+pass, pass); err != nil {
			t.Fatal(err)
		}
		if err := stream.Synchronize(); err != nil {
			t.Fatal(err)
		}
		for l := range shape.Layers {
			for h := range shape.KVHeads {
				at := [2]int{l, h}
				for i := range pass {
					held[at] = append(held[at], int32(read+i))
				}
				next := past
				for _, piece := range s.View(l, h, h+1, past, past+pass) {
					for i := range piece.Tokens * shape.HeadDim {
						n := float32(read + next - past + i/shape.HeadDim)
						*(*float32)(unsafe.Add(piece.K, 4*i)) = 1000*float32(l) + 100_000*float32(h) + n
						*(*float32)(unsafe.Add(piece.V, 4*i)) = -n
					}
					next += piece.Tokens
				}
				mass, ok := s.Mass(l, h, h+1, past+pass)
				if !ok {
					t.Fatal("no mass is kept")
				}
				for i, v := range unsafe.Slice((*float32)(mass.Data), past+pass) {
					token := [3]int{l, h, int(held[at][i])}
					if v != received[token] {
						t.Fatalf("token %v has received %g, want %g", token, v, received[token])
					}
					more := r.Float32()
					*(*float32)(unsafe.Add(mass.Data, 4*i)) += more
					received[token] = v + more
				}
			}
		}
		if err := s.Advance(pass); err != nil {
			t.Fatal(err)
		}
		if err := s.Evict(); err != nil {
			t.Fatal(err)
		}
		want := past + pass
		if want > keep.Kept() {
			want = keep.Most + keep.Recent
		}
		if s.Stored() != want || s.Tokens() != read+pass {
			t.Fatalf("after %d tokens, %d of %d are stored, want %d", read+pass, s.Stored(), s.Tokens(), want)
		}
		for l := range shape.Layers {
			for h := range shape.KVHeads {
				at := [2]int{l, h}
				if len(held[at]) > want {
					old := held[at][:len(held[at])-keep.Recent]
					recent := slices.Clone(held[at][len(old):])
					slices.SortFunc(old, func(a, b int32) int {
						if received[[3]int{l, h, int(a)}] > received[[3]int{l, h, int(b)}] {
							return -1
						}
						return 1
					})
					heavy := slices.Clone(old[:keep.Most])
					slices.Sort(heavy)
					held[at] = append(heavy, recent...)
				}
				i := 0
				for _, piece := range s.View(l, h, h+1, 0, want) {
					for j := range piece.Tokens {
						token := float32(held[at][i])
						k, v := *(*float32)(unsafe.Add(piece.K, 16*j+8)), *(*float32)(unsafe.Add(piece.V, 16*j+4))
						if k != 1000*float32(l)+100_000*float32(h)+token || v != -token {
							t.Fatalf("layer %d, head %d, place %d: key %g and value %g, want those of token %g", l, h, i, k, v, token)
						}
						i++
					}
				}
			}
		}
	}
	// Larger passes find room, and what tokens have received stays.
	before, _ := s.Mass(1, 2, 3, s.Stored())
	want := slices.Clone(unsafe.Slice((*float32)(before.Data), s.Stored()))
	if err := s.Extend(10*pass, 4*pass); err != nil {
		t.Fatal(err)
	}
	after, _ := s.Mass(1, 2, 3, s.Stored())
	if got := unsafe.Slice((*float32)(after.Data), s.Stored()); !slices.Equal(got, want) {
		t.Error("what tokens have received is lost when the cache grows")
	}
	// A refusal leaves nothing behind.
	used := dev.Ledger().Usage().Used
	if err := s.Extend(1<<20, 1<<20); err == nil {
		t.Error("a cache past the budget was not refused")
	}
	if now := dev.Ledger().Usage().Used; now != used {
		t.Errorf("a refusal leaves %d bytes in use, %d before", now, used)
	}
	s.Release()
	if used = dev.Ledger().Usage().Used; used != 0 {
		t.Errorf("%d bytes are left in use", used)
	}
}
