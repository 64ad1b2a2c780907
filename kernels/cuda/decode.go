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
	// The kernel for many keys has one block a multiprocessor. On an H100 it is the
	// faster with 1,000 keys a multiprocessor and 32 rows; with 500 keys, or with 64
	// rows, the other is, by 5%.
	longHeadDim, longKeys, longRows = 128, 768, 32
	longBlock, longShared           = 256, 196608
	// longTogether is how many results of a row a thread joins for it; with twice
	// the threads, 8 tokens and 32K keys take 1 µs longer.
	longTogether = 8
	// Up to rowSplits results of a row are joined by a warp, which asks for all of them
	// at once: 8 tokens and 32K keys take 1 µs less than with a block a row. With 32
	// results a block is faster.
	rowSplits = 16
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
// the longest are divided. A unit's keys go to at most `most` blocks, one for each
// multiprocessor: with few units that reads as fast, and leaves fewer results to
// combine. Either way at most slots blocks divide keys with others.
func divide(problems []problem, slots, most int) {
	units, longest := 0, keysApart
	for i := range problems {
		units += problems[i].units()
		longest = max(longest, problems[i].keys)
	}
	room := slots
	if units > slots {
		room = units + slots/2
	}
	parts := func(p *problem, keys int) int { return min(max(1, ceil(p.keys, keys)), most) }
	keys := keysApart + sort.Search(longest-keysApart, func(more int) bool {
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

// slots is how many blocks of the kernels for few rows run at once: as many as
// the shared memory holds, up to the 2 a multiprocessor that registers allow.
func slots(p driver.Properties, headDim int) int {
	const reserved = 1024 // of each block, by the driver
	return p.Multiprocessors * min(2, max(1, (p.SharedBytes+reserved)/(decodeShared[headDim]+reserved)))
}

// longSplits is between how many blocks of the kernel for many keys a problem's
// are divided, or 0 where it is not the faster, leaves multiprocessors idle or does
// not fit.
func longSplits(p *problem, of driver.Properties) int {
	if p.HeadDim != longHeadDim || p.capped() || p.Q.Rows*p.Group > longRows || of.SharedBytes < longShared {
		return 0
	}
	splits := whole(of.Multiprocessors / p.heads)
	if p.heads*p.keys < longKeys*of.Multiprocessors || 16*p.heads*splits < 15*of.Multiprocessors {
		return 0
	}
	return splits
}

// attendByKeys attends to problems of a head dimension in one launch, and in
// another joins the results of blocks that divide keys between them.
func (d *Device) attendByKeys(s *stream, problems []problem) error {
	properties, headDim := d.context.Properties(), problems[0].HeadDim
	decode, combine, block, shared, long := "attention_decode", "attention_combine", decodeBlock, decodeShared[headDim], 0
	if len(problems) == 1 {
		long = longSplits(&problems[0], properties)
	}
	switch {
	case long > 0:
		problems[0].splits = long
		decode, block, shared = "attention_decode_long", longBlock, longShared
	case len(problems) == 1:
		divide(problems, slots(properties, headDim), properties.Multiprocessors)
		problems[0].splits = whole(problems[0].splits)
	default:
		divide(problems, slots(properties, headDim), properties.Multiprocessors)
		decode, combine = "attention_decode_list", "attention_combine_list"
	}
	// What takes longest comes first, so that nothing is left waiting for it.
	slices.SortStableFunc(problems, func(a, b problem) int { return cmp.Compare(b.keys*a.splits, a.keys*b.splits) })
	l := newList(problems)
	if err := d.atLeast(&d.work.partial, int64(l.results)*int64(headDim+1)*4, "partial attention"); err != nil {
		return err
	}
	capped := slices.ContainsFunc(problems, func(p problem) bool { return p.capped() })
	partial := word(d.work.partial.Data)
	args := append(l.args, partial, partial+4*uint64(l.results)*uint64(headDim))
	err := d.launchEarly(s, headKernel(decode, headDim, capped), driver.Dim{X: l.blocks, Y: 1, Z: 1}, block, shared, args...)
	if err != nil || l.rows == 0 {
		return err
	}
	if len(problems) > 1 {
		copy(args[1:], l.rowsFrom)
	}
	block = combineBlock
	if l.rows <= properties.Multiprocessors {
		block *= 2
	}
	if long > 0 && long <= rowSplits {
		return d.launchEarly(s, "attention_combine_rows_"+suffix, driver.Dim{X: l.rows, Y: 1, Z: 1}, 32, 0, args...)
	}
	if long > 0 {
		block = min(block, headDim/4*ceil(long, longTogether))
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
	return int64(slots(d.context.Properties(), headDim)) * fewRows * int64(headDim+1) * 4
}
