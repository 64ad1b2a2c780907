//go:build cuda && cgo && linux

package cuda

import (
	"cmp"
	"slices"
	"sort"

	"headinfer/kernels/cuda/driver"
)

const (
	// fewRows is up to how many rows (query tokens × query heads of a KV head)
	// the keys are divided between blocks.
	fewRows = 64
	// keysApart is the fewest keys worth a block of their own.
	keysApart = 256
	// listProblems is how many problems one launch takes.
	listProblems = 64
	// problemWords are the words of a problem.
	problemWords = 32
)

// decodeShared is the shared memory of the kernels for few rows by head dimension.
var decodeShared = map[int]int{64: 65536, 96: 98304, 128: 98304, 256: 98304}

// units is how many blocks share no rows or heads with one another.
func (p *problem) units() int { return p.heads * ceil(p.Q.Rows*p.Group, fewRows) }

// parts is how many blocks divide a unit's keys, with up to so many keys each.
func (p *problem) parts(keys int) int { return max(1, ceil(p.keys, keys)) }

// divide divides the keys of problems that are launched together between blocks:
// with one wave of blocks, slots, evenly; where there are more units than that,
// the longest are divided. Either way at most slots blocks divide keys with others.
func divide(problems []problem, slots int) {
	units, most := 0, keysApart
	for i := range problems {
		units += problems[i].units()
		most = max(most, problems[i].keys)
	}
	room := slots
	if units > slots {
		room = units + slots/2
	}
	keys := keysApart + sort.Search(most-keysApart, func(more int) bool {
		blocks := 0
		for i := range problems {
			blocks += problems[i].units() * problems[i].parts(keysApart+more)
		}
		return blocks <= room
	})
	for i := range problems {
		problems[i].splits = problems[i].parts(keys)
	}
}

// slots is how many blocks of the kernels for few rows run at once.
func (d *Device) slots() int { return 2 * d.context.Properties().Multiprocessors }

// attendByKeys attends to problems of a head dimension in one launch. The last of
// the blocks that divide keys between them joins their results.
func (d *Device) attendByKeys(s *stream, problems []problem) error {
	divide(problems, d.slots())
	// What takes longest comes first, so that nothing is left waiting for it.
	slices.SortStableFunc(problems, func(a, b problem) int { return cmp.Compare(b.keys*a.splits, a.keys*b.splits) })
	args, blocks, results := listWords(problems)
	headDim := problems[0].HeadDim
	if err := d.atLeast(&d.work.partial, int64(results)*int64(headDim+1)*4, "partial attention"); err != nil {
		return err
	}
	counters, err := d.counters(s)
	if err != nil {
		return err
	}
	kernel := "attention_decode"
	if len(problems) > 1 {
		kernel = "attention_decode_list"
	}
	capped := slices.ContainsFunc(problems, func(p problem) bool { return p.capped() })
	partial := word(d.work.partial.Data)
	return d.launch(s, headKernel(kernel, headDim, capped), driver.Dim{X: blocks, Y: 1, Z: 1}, 128, decodeShared[headDim],
		append(args, partial, partial+4*uint64(results)*uint64(headDim), counters)...)
}

// listWords are problems as the kernels take them: one by itself, several with a
// table of the first block of each. Those whose keys are divided take results of
// the workspace, each a row of one block.
func listWords(problems []problem) (args []uint64, blocks, results int) {
	table := 0
	if len(problems) > 1 {
		table = 1 + listProblems
		args = make([]uint64, table, table+listProblems*problemWords+3)
		args[0] = integer(len(problems))
	}
	units := 0
	for i := range problems {
		p := &problems[i]
		if table > 0 {
			args[1+i] = integer(blocks)
		}
		args = append(append(args, attentionWords(p.AttentionArgs)...), boundWords(p.AttentionArgs)...)
		args = append(args, integer(p.splits), integer(results), integer(units))
		blocks += p.units() * p.splits
		if p.splits > 1 {
			results += p.heads * p.Group * p.Q.Rows * p.splits
			units += p.units()
		}
	}
	if table > 0 {
		args = args[:table+listProblems*problemWords]
	}
	return args, blocks, results
}

// counters returns what blocks count themselves with: all 0 between launches.
func (d *Device) counters(s *stream) (uint64, error) {
	if err := d.atLeast(&d.work.counters, d.counterBytes(), "attention's counters"); err != nil {
		return 0, err
	}
	if !d.work.cleared {
		if err := s.Fill(pointer(d.work.counters.Data), 0, d.work.counters.Bytes); err != nil {
			return 0, err
		}
		d.work.cleared = true
	}
	return word(d.work.counters.Data), nil
}

// partialBytes and counterBytes bound what attendByKeys takes of the workspace:
// results of at most slots blocks, of fewRows rows each, and a counter for no more.
func (d *Device) partialBytes(headDim int) int64 {
	return int64(d.slots()) * fewRows * int64(headDim+1) * 4
}

func (d *Device) counterBytes() int64 { return 4 * int64(d.slots()) }
