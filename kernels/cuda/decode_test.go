//go:build cuda && cgo && linux

package cuda

import (
	"math/rand/v2"
	"testing"

	"headinfer/kernels"
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
		divide(problems, slots)
		units, blocks, dividing, longest := 0, 0, 0, 0
		for _, p := range problems {
			n := p.units() * p.splits
			units += p.units()
			blocks += n
			if p.splits > 1 {
				dividing += n
			}
			longest = max(longest, ceil(p.keys, p.splits))
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
			shorter += p.units() * max(1, ceil(p.keys, longest-1))
		}
		if shorter <= room {
			t.Fatalf("the longest block has %d keys; %d blocks of fewer have room among %d", longest, shorter, room)
		}
	}
	alone := []problem{{heads: 8, keys: 32768}}
	alone[0].Q.Rows, alone[0].Group = 1, 4
	if divide(alone, 264); alone[0].splits != 33 {
		t.Errorf("8 heads' keys are divided into %d parts between 264 blocks, want 33", alone[0].splits)
	}
}

func TestListWords(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, count := range []int{1, 2, listProblems} {
		problems := randomProblems(r, count)
		for i := range problems {
			problems[i].KV = make([]kernels.KV, 1+r.IntN(maxPieces))
			problems[i].splits = 1 + i%3
		}
		args, blocks, results := listWords(problems)
		words, table := problemWords, 0
		if count > 1 {
			table = 1 + listProblems
			words = table + listProblems*problemWords
		}
		if len(args) != words {
			t.Fatalf("%d problems are %d words, want %d", count, len(args), words)
		}
		block, result, unit := 0, 0, 0
		for i, p := range problems {
			if table > 0 && args[1+i] != uint64(block) {
				t.Errorf("problem %d begins with block %d, want %d", i, args[1+i], block)
			}
			end := args[table+(i+1)*problemWords-3:][:3]
			if want := [3]uint64{uint64(p.splits), uint64(result), uint64(unit)}; [3]uint64(end) != want {
				t.Errorf("problem %d has splits, results and counters %d, want %d", i, end, want)
			}
			block += p.units() * p.splits
			if p.splits > 1 {
				result += p.heads * p.Group * p.Q.Rows * p.splits
				unit += p.units()
			}
		}
		if blocks != block || results != result {
			t.Errorf("%d blocks and %d results, want %d and %d", blocks, results, block, result)
		}
	}
}
