package plan

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestLongest compares with trying every length, for random models, methods and
// rooms.
func TestLongest(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	one := func(n int) int { return 1 + r.IntN(n) }
	edges := map[string]int{}
	for range 300 {
		kv := one(4)
		m := Model{
			Layers: one(4), Hidden: 8 * one(8), Heads: kv * one(4), KVHeads: kv, HeadDim: 64, FFN: one(100), Vocab: one(500),
			WeightBytes: int64(r.IntN(100_000)), ElementBytes: []int64{2, 4}[r.IntN(2)],
		}
		m.Local, m.Window = r.IntN(m.Layers+1), one(300)
		how := Method{Chunk: r.IntN(2) * one(200)}
		if r.IntN(3) > 0 {
			how.OnHost, how.Group, how.Slots, how.Span = true, one(6), one(3), r.IntN(2)*one(300)
		}
		if r.IntN(3) == 0 {
			how.Bits, how.ScaleGroup, how.Group, how.Span = []int{4, 8}[r.IntN(2)], []int{32, 64}[r.IntN(2)], one(6), 0
		}
		const most = 1500
		some := m.Memory(how, one(most), one(most))
		room := Room{Device: some.Device() + int64(r.IntN(3000)), Host: some.HostKV + int64(r.IntN(3000))}
		if r.IntN(2) == 0 {
			room.Both = some.Device() + some.HostKV - int64(r.IntN(3000))
		}
		want := 0
		for n := 1; n <= most; n++ {
			if room.Holds(m.Memory(how, n, n)) {
				want = n
			}
		}
		if got := m.Longest(how, room, most); got != want {
			t.Fatalf("%+v %+v in %+v: %d tokens, want %d", m, how, room, got, want)
		}
		switch want {
		case 0:
			edges["none"]++
		case most:
			edges["all"]++
		default:
			edges["some"]++
		}
	}
	if edges["some"] < 50 {
		t.Errorf("of 300 cases, %v", edges)
	}
}

// TestLongestOnPaper has figures that can be followed, of Llama-3-8B on a card of
// 24 GiB: the order that the paper reports (table 3).
func TestLongestOnPaper(t *testing.T) {
	card := Room{Device: 24 * gib, Host: 4096 * gib}
	longest := func(how Method) int { return llama3.Longest(how, card, math.MaxInt32) }
	host := func(group int) Method { return Method{Chunk: 8192, OnHost: true, Group: group, Slots: 2} }
	// 131,072 bytes a token in 24 GiB less the weights and a chunk's activations.
	left := card.Device - llama3.WeightBytes - llama3.Activations(8192, 1)
	if got, want := longest(Method{Chunk: 8192}), int(left/131072); got != want {
		t.Errorf("chunked prefill: %d tokens, want %d", got, want)
	}
	// Two tiles of a head: 1,024 bytes a token.
	if got, want := longest(host(1)), int(left/1024); got != want {
		t.Errorf("a head at a time: %d tokens, want %d", got, want)
	}
	last := 0
	for _, how := range []Method{Standard(), {Chunk: 8192}, host(8), host(4), host(2), host(1)} {
		n := longest(how)
		if n <= last {
			t.Errorf("%+v: %d tokens, and what takes more holds %d", how, n, last)
		}
		last = n
	}
	// The paper's machine: 512 GiB of host memory hold 4M tokens, its longest.
	if got := llama3.Longest(host(1), Room{Device: 24 * gib, Host: 512 * gib}, math.MaxInt32); got != 4<<20 {
		t.Errorf("in 512 GiB of host memory: %d tokens", got)
	}
	if got := llama3.Longest(host(1), Room{Device: llama3.WeightBytes, Host: gib}, 1000); got != 0 {
		t.Errorf("where only the weights fit: %d tokens", got)
	}
}

func TestAdapt(t *testing.T) {
	m := Model{Layers: 2, Hidden: 8, Heads: 8, KVHeads: 6, HeadDim: 64, FFN: 8, Vocab: 8, ElementBytes: 2}
	how := Method{Chunk: 10, OnHost: true, Group: 1, Slots: 2}
	at := func(group int) int64 {
		how.Group = group
		return m.Memory(how, 1000, 1000).Device()
	}
	for _, c := range []struct {
		device int64
		want   int
	}{{at(6), 6}, {at(6) - 1, 3}, {at(3), 3}, {at(3) - 1, 2}, {at(2) - 1, 1}, {at(1), 1}, {0, 1}} {
		how.Group = 1
		if got := m.Adapt(how, Room{Device: c.device, Host: 1 << 40}, 1000).Group; got != c.want {
			t.Errorf("in %d bytes, tiles of %d heads, want %d", c.device, got, c.want)
		}
	}
}
