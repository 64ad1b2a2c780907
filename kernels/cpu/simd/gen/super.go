package main

import (
	"math"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Registers of the functions of super-blocks: sums first, then what a body may
// overwrite, then constants.
const (
	superSums  = 4
	superFree  = superSums
	superConst = 13
	superSize  = 256 // elements
)

// superBlock is an encoding whose groups of 16 or 32 elements have integer scales
// and minima. Its body decodes one super-block and gives each vector of elements,
// once, to emit with its place. What it needs of a super-block as a whole, the
// groups' scales and minima times those of the super-block, it leaves on the stack
// to broadcast from.
//
// Values of up to four bits are looked up where a register holds all that they can
// stand for: one multiply–add makes a group's table. Others are converted, and
// multiplied one by one.
type superBlock struct {
	name      string
	bytes     int
	constants []operand.Mem
	floats    int // on the stack
	body      func(at, stack at, k []reg.VecPhysical, emit emitter)
}

// emitter takes vector i of a super-block.
type emitter func(i int, v reg.VecPhysical)

func (g *isa) superBlocks() {
	// values has, for each index of a table, the number that some of its bits stand for.
	values := func(name string, of func(i int) int) operand.Mem {
		words := make([]uint32, g.w)
		for i := range words {
			words[i] = math.Float32bits(float32(of(i)))
		}
		return g.table(name, words)
	}
	low := g.all("lowNibble", 15)
	two := []operand.Mem{low, values("two", func(i int) int { return i & 3 })}
	three := values("three", func(i int) int { return i&7 - 4 })
	four := low
	if g.wide() {
		two = append(two, g.q2kConstants()...)
		four = values("four", func(i int) int { return i })
	}
	for _, b := range []superBlock{
		{"Q2K", 84, two, 32, g.q2k},
		{"Q3K", 110, []operand.Mem{three}, 24, g.q3k},
		{"Q4K", 144, []operand.Mem{four}, 16, g.q4k},
		{"Q5K", 176, nil, 24, g.q5k},
		{"Q6K", 210, nil, 24, g.q6k},
	} {
		g.superDecode(b)
		if !g.wide() { // see laneProducts
			g.superProduct(b)
		}
	}
}

func (g *isa) constants(from []operand.Mem) []reg.VecPhysical {
	k := g.vs(superConst, len(from))
	for i, c := range from {
		g.VMOVUPS(c, k[i])
	}
	return k
}

func (g *isa) superDecode(b superBlock) {
	g.begin("decode"+b.name, "dst *float32, src *byte, blocks int", "decodes blocks of 256 elements.")
	dst, src, blocks := g.arg("dst"), g.arg("src"), g.arg("blocks")
	k, stack := g.constants(b.constants), g.stack(b.floats)
	g.Label("loop")
	b.body(func(disp int) operand.Mem { return mem(src, disp) }, stack, k, func(i int, v reg.VecPhysical) {
		g.VMOVUPS(v, mem(dst, i*g.bytes()))
	})
	g.ADDQ(operand.U32(uint32(b.bytes)), src)
	g.ADDQ(operand.U32(4*superSize), dst)
	g.DECQ(blocks)
	g.JNZ(operand.LabelRef("loop"))
	g.end()
}

// superProduct writes matrix times vector, one row at a time: a super-block of x is
// loaded from the nearest cache for less than the row's costs to decode, and the
// matrix is read in the order it lies.
func (g *isa) superProduct(b superBlock) {
	g.begin("product"+b.name, "y, x *float32, w *byte, stride uintptr, blocks, groups int",
		"computes y[i] = row i of w · x for groups rows, stride bytes\napart, of 256·blocks columns.")
	y, x0, w0, stride := g.arg("y"), g.arg("x"), g.arg("w"), g.arg("stride")
	blocks, groups := g.arg("blocks"), g.arg("groups")
	sums := g.vs(0, superSums)
	k, stack := g.constants(b.constants), g.stack(b.floats)
	x, w, n := g.GP64(), g.GP64(), g.GP64()
	g.Label("row")
	g.MOVQ(x0, x)
	g.MOVQ(w0, w)
	g.MOVQ(blocks, n)
	for _, r := range sums {
		g.zero(r)
	}
	g.Label("block")
	for line := 0; line < b.bytes; line += 64 {
		g.PREFETCHT0(mem(w, superAhead+line))
	}
	b.body(func(disp int) operand.Mem { return mem(w, disp) }, stack, k, func(i int, v reg.VecPhysical) {
		g.VFMADD231PS(mem(x, i*g.bytes()), v, sums[i%superSums])
	})
	g.ADDQ(operand.U32(4*superSize), x)
	g.ADDQ(operand.U32(uint32(b.bytes)), w)
	g.DECQ(n)
	g.JNZ(operand.LabelRef("block"))
	g.VADDPS(sums[1], sums[0], sums[0])
	g.VADDPS(sums[3], sums[2], sums[2])
	g.VADDPS(sums[2], sums[0], sums[0])
	g.sumLanes(sums[0], sums[1])
	g.VMOVSS(sums[0].AsX(), mem(y, 0))
	g.ADDQ(operand.Imm(4), y)
	g.ADDQ(stride, w0)
	g.DECQ(groups)
	g.JNZ(operand.LabelRef("row"))
	g.end()
}

// superAhead is how many bytes before their use weights are asked for: some ten
// super-blocks, and harmless past the end.
const superAhead = 2048

// free are the registers that a body may overwrite.
func (g *isa) free() []reg.VecPhysical { return g.vs(superFree, superConst-superFree) }

// stack takes room for floats, which begins with a cache line: what is written as a
// vector is read as floats right away, which stores across lines delay.
func (g *isa) stack(floats int) at {
	const line = 64
	room, start := g.AllocLocal(4*floats+line), g.GP64()
	g.LEAQ(room.Offset(line-1), start)
	g.ANDQ(operand.I8(-line), start)
	return func(i int) operand.Mem { return mem(start, 4*i) }
}
