//go:build cuda && cgo && linux

package cuda

import (
	"math/rand/v2"
	"testing"

	"headinfer/kernels"
	"headinfer/kernels/cuda/driver"
)

func randomProblems(r *rand.Rand, count int) []problem {
	problems := make([]problem, count)
	longest := []int{600, 5000, 200_000}[r.IntN(3)]
	for i := range problems {
		p := problem{heads: 1 + r.IntN(8), keys: r.IntN(longest)}
		p.Q.Rows, p.Group = 1+r.IntN(16), 1+r.IntN(4)
		problems[i] = p
	}
	return problems
}

// The longest block is as short as the room for blocks allows, and blocks that
// divide keys are never more than there is room for their results.
func TestDivide(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 2000 {
		problems, slots := randomProblems(r, 1+r.IntN(listProblems)), 2*(1+r.IntN(140))
		divide(problems, slots, slots/2)
		units, blocks, dividing, longest := 0, 0, 0, 0
		for _, p := range problems {
			n := p.units() * p.splits
			units += p.units()
			blocks += n
			if p.splits > 1 {
				dividing += n
			}
			if p.splits > max(1, slots/2) {
				t.Fatalf("keys are divided between %d blocks, with %d slots", p.splits, slots)
			}
			if p.splits < slots/2 { // could be divided further
				longest = max(longest, ceil(p.keys, p.splits))
			}
		}
		room := slots
		if units > slots {
			room = units + slots/2
		}
		if dividing > slots || blocks > room {
			t.Fatalf("%d blocks, of which %d divide keys, of %d units and %d slots", blocks, dividing, units, slots)
		}
		if longest <= keysApart {
			continue
		}
		shorter := 0
		for _, p := range problems {
			shorter += p.units() * min(max(1, ceil(p.keys, longest-1)), slots/2)
		}
		if shorter <= room {
			t.Fatalf("the longest block has %d keys; %d blocks of fewer have room among %d", longest, shorter, room)
		}
	}
	for heads, want := range map[int]int{1: 132, 2: 132, 8: 33} {
		alone := []problem{{heads: heads, keys: 131072}}
		alone[0].Q.Rows, alone[0].Group = 1, 4
		if divide(alone, 264, 132); alone[0].splits != want {
			t.Errorf("the keys of %d heads are divided into %d parts between 264 blocks, want %d", heads, alone[0].splits, want)
		}
	}
}

func TestSlots(t *testing.T) {
	const h100, a100, rtx4090 = 227 << 10, 163 << 10, 99 << 10 // shared memory of a block
	for _, c := range []struct{ shared, headDim, want int }{
		{h100, 128, 20}, {h100, 64, 20}, {a100, 128, 10}, {a100, 64, 20}, {rtx4090, 128, 10}, {rtx4090, 64, 10},
	} {
		if got := slots(driver.Properties{Multiprocessors: 10, SharedBytes: c.shared}, c.headDim); got != c.want {
			t.Errorf("with %d KiB and head_dim %d there are %d slots, want %d", c.shared>>10, c.headDim, got, c.want)
		}
	}
}

func TestLongSplits(t *testing.T) {
	h100 := driver.Properties{Multiprocessors: 132, SharedBytes: 227 << 10}
	alone := func(heads, rows, keys int) *problem {
		p := &problem{heads: heads, keys: keys}
		p.Q.Rows, p.Group, p.HeadDim = rows, 4, longHeadDim
		return p
	}
	for _, c := range []struct{ heads, rows, keys, want int }{
		{8, 1, 32768, 16}, {8, 8, 32768, 16}, {8, 9, 32768, 0}, {8, 1, 8192, 0},
		{1, 1, 131072, 128}, {2, 1, 32768, 0}, {4, 8, 32768, 32}, {40, 1, 131072, 0}, {131, 1, 4096, 1}, {200, 1, 131072, 0},
	} {
		if got := longSplits(alone(c.heads, c.rows, c.keys), h100); got != c.want {
			t.Errorf("%d heads, %d tokens and %d keys: %d splits, want %d", c.heads, c.rows, c.keys, got, c.want)
		}
	}
	capped := alone(8, 1, 32768)
	capped.SoftCap = 50
	small := h100
	small.SharedBytes = 163 << 10
	other := alone(8, 1, 32768)
	other.HeadDim = 64
	for _, got := range []int{longSplits(capped, h100), longSplits(alone(8, 1, 32768), small), longSplits(other, h100)} {
		if got != 0 {
			t.Errorf("%d splits of the kernel for many keys, where there is none", got)
		}
	}
	// The workspace is taken for as many results as slots blocks leave.
	r := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		p := alone(1+r.IntN(200), 1+r.IntN(8), r.IntN(300_000))
		if got := longSplits(p, h100); p.heads*got > h100.Multiprocessors {
			t.Fatalf("%d heads are divided between %d blocks each, on %d multiprocessors", p.heads, got, h100.Multiprocessors)
		}
	}
}

func TestWhole(t *testing.T) {
	for splits, want := range map[int]int{1: 1, 31: 31, 32: 32, 33: 32, 39: 32, 132: 128} {
		if got := whole(splits); got != want {
			t.Errorf("%d splits are made %d, want %d", splits, got, want)
		}
	}
}

func TestList(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, count := range []int{1, 2, listProblems} {
		problems := randomProblems(r, count)
		for i := range problems {
			problems[i].KV = make([]kernels.KV, 1+r.IntN(maxPieces))
			problems[i].splits = 1 + i%3
		}
		l := newList(problems)
		words, table := problemWords, 0
		if count > 1 {
			table = 1 + listProblems
			words = table + listProblems*problemWords
		}
		if len(l.args) != words {
			t.Fatalf("%d problems are %d words, want %d", count, len(l.args), words)
		}
		block, result, row := 0, 0, 0
		for i, p := range problems {
			if table > 0 && (l.args[1+i] != uint64(block) || l.rowsFrom[i] != uint64(row)) {
				t.Errorf("problem %d begins with block %d and row %d, want %d and %d", i, l.args[1+i], l.rowsFrom[i], block, row)
			}
			end := l.args[table+(i+1)*problemWords-2:][:2]
			if want := [2]uint64{uint64(p.splits), uint64(result)}; [2]uint64(end) != want {
				t.Errorf("problem %d has splits and results %d, want %d", i, end, want)
			}
			block += p.units() * p.splits
			if p.splits > 1 {
				row += p.heads * p.Group * p.Q.Rows
				result += p.heads * p.Group * p.Q.Rows * p.splits
			}
		}
		if l.blocks != block || l.rows != row || l.results != result {
			t.Errorf("%d blocks, %d rows and %d results, want %d, %d and %d", l.blocks, l.rows, l.results, block, row, result)
		}
	}
}
