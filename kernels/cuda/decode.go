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
	problemWords = 31
	// decodeBlock is the threads of a block of the kernels for few rows, and
	// combineBlock of those that join; twice that where there are few rows.
	decodeBlock, combineBlock = 128, 128
	// combineTogether is how many results of a row are joined at a time: of many, whole
	// numbers of that are faster (32 than 33 by 3% of the whole, on an H100).
	combineTogether = 8
)

// decodeShared is the shared memory of the kernels for few rows by head dimension.
var decodeShared = map[int]int{64: 65536, 96: 98304, 128: 98304, 256: 98304}

// units is how many blocks share no rows or heads with one another.
func (p *problem) units() int { return p.heads * ceil(p.Q.Rows*p.Group, fewRows) }

// divide divides the keys of problems that are launched together between blocks:
// with one wave of blocks, slots, evenly; where there are more units than that,
// the longest are divided. A unit's keys go to at most half of the slots, a block
// for each multiprocessor: with few units that reads as fast, and leaves fewer
// results to combine. Either way at most slots blocks divide keys with others.
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
	parts := func(p *problem, keys int) int { return min(max(1, ceil(p.keys, keys)), slots/2) }
	keys := keysApart + sort.Search(most-keysApart, func(more int) bool {
		blocks := 0
		for i := range problems {
			blocks += problems[i].units() * parts(&problems[i], keysApart+more)
		}
		return blocks <= room
	})
	for i := range problems {
		problems[i].splits = parts(&problems[i], keys)
	}
}

// whole rounds many splits down to a number that is joined without a rest.
func whole(splits int) int {
	if splits < 4*combineTogether {
		return splits
	}
	return splits / combineTogether * combineTogether
}

// slots is how many blocks of the kernels for few rows run at once.
func (d *Device) slots() int { return 2 * d.context.Properties().Multiprocessors }

// attendByKeys attends to problems of a head dimension in one launch, and in
// another joins the results of blocks that divide keys between them.
func (d *Device) attendByKeys(s *stream, problems []problem) error {
	divide(problems, d.slots())
	if len(problems) == 1 {
		problems[0].splits = whole(problems[0].splits)
	}
	// What takes longest comes first, so that nothing is left waiting for it.
	slices.SortStableFunc(problems, func(a, b problem) int { return cmp.Compare(b.keys*a.splits, a.keys*b.splits) })
	l := newList(problems)
	headDim := problems[0].HeadDim
	if err := d.atLeast(&d.work.partial, int64(l.results)*int64(headDim+1)*4, "partial attention"); err != nil {
		return err
	}
	decode, combine := "attention_decode", "attention_combine"
	if len(problems) > 1 {
		decode, combine = decode+"_list", combine+"_list"
	}
	capped := slices.ContainsFunc(problems, func(p problem) bool { return p.capped() })
	partial := word(d.work.partial.Data)
	args := append(l.args, partial, partial+4*uint64(l.results)*uint64(headDim))
	err := d.launchEarly(s, headKernel(decode, headDim, capped), driver.Dim{X: l.blocks, Y: 1, Z: 1}, decodeBlock, decodeShared[headDim], args...)
	if err != nil || l.rows == 0 {
		return err
	}
	if len(problems) > 1 {
		copy(args[1:], l.rowsFrom)
	}
	block := combineBlock
	if l.rows <= d.context.Properties().Multiprocessors {
		block *= 2
	}
	return d.launchEarly(s, combine+"_"+suffix, driver.Dim{X: l.rows, Y: 1, Z: 1}, block, 0, append(args, integer(headDim))...)
}

// list is problems as the kernels take them.
type list struct {
	// One problem by itself; several with a table of the first block of each.
	args            []uint64
	blocks, results int
	// The rows whose results are joined, and what takes the table's place for that.
	rows     int
	rowsFrom []uint64
}

// newList lists problems. Those whose keys are divided take results of the
// workspace, each a row of one block.
func newList(problems []problem) list {
	var l list
	table := 0
	if len(problems) > 1 {
		table = 1 + listProblems
		l.args = make([]uint64, table, table+listProblems*problemWords+3)
		l.args[0] = integer(len(problems))
		l.rowsFrom = make([]uint64, len(problems))
	}
	for i := range problems {
		p := &problems[i]
		if table > 0 {
			l.args[1+i], l.rowsFrom[i] = integer(l.blocks), integer(l.rows)
		}
		l.args = append(append(l.args, attentionWords(p.AttentionArgs)...), boundWords(p.AttentionArgs)...)
		l.args = append(l.args, integer(p.splits), integer(l.results))
		l.blocks += p.units() * p.splits
		if p.splits > 1 {
			rows := p.heads * p.Group * p.Q.Rows
			l.rows += rows
			l.results += rows * p.splits
		}
	}
	if table > 0 {
		l.args = l.args[:table+listProblems*problemWords]
	}
	return l
}

// partialBytes bounds what attendByKeys takes of the workspace: results of at
// most slots blocks, of fewRows rows each.
func (d *Device) partialBytes(headDim int) int64 {
	return int64(d.slots()) * fewRows * int64(headDim+1) * 4
}
