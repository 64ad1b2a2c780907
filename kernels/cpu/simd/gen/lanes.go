package main

import (
	"math"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Super-blocks times a vector that is laid out for them, for sixteen lanes. A lane
// keeps the 4 bytes of its word of the block's values, whose codes are pulled out
// one byte after the other, where others widen every byte to a lane of its own. A
// code becomes a float by what its bits add to the mantissa of a power of two: one
// operation puts them there, and one takes the power off, and the centre of the
// codes with it. That leaves small numbers around zero, whose products with x are
// summed, and a group's scale comes to four of these sums. The minima, and the
// scales times the centre, come to the sums of x over groups, which are beside x.
//
// Codes of up to five bits are looked up instead, in a table of what they stand
// for, once they are the lowest bits of their lane.
//
// What the vector's order is, see Lay.
type laneBlock struct {
	name   string
	bytes  int
	center int  // of the codes
	bits   int  // of a code
	floats int  // of x a block, with sums
	apart  bool // whether a code has bits of others beside it in its byte until it is looked up
	body   func(l *lanes)
}

// lanes is what a body works with.
type lanes struct {
	*isa
	w, x         reg.Register
	sums         []reg.VecPhysical
	least        reg.VecPhysical // what minima and centres add
	t            []reg.VecPhysical
	k            []reg.VecPhysical // constants that the block asked for
	bits, powers []reg.VecPhysical
	less         []reg.VecPhysical
	values       []reg.VecPhysical // a table of what codes stand for
	limbs        *limbSuper        // if x is in limbs
}

func (g *isa) laneProducts() {
	if !g.wide() {
		return
	}
	for _, b := range []laneBlock{
		{"Q2K", 84, 1, 2, 288, true, (*lanes).q2k},
		{"Q3K", 110, 4, 3, 256, false, (*lanes).q3k},
		{"Q4K", 144, 8, 4, 272, true, (*lanes).q4k},
		{"Q5K", 176, 16, 5, 272, false, (*lanes).q5k},
		{"Q6K", 210, 32, 6, 256, false, (*lanes).q6k},
	} {
		g.laneProduct(b, false)
		g.laneProduct(b, true)
	}
}

// Places of a code's byte in a word that a float's mantissa has room for; the
// fourth byte is shifted to the third's.
const places = 3

// laneProduct writes the product with an x that is laid out as floats, or in limbs.
func (g *isa) laneProduct(b laneBlock, inLimbs bool) {
	kind, how, floats := "lanes", "laid out for them", b.floats
	if inLimbs {
		kind, how, floats = "limbs", "in limbs", limbSuperBytes/4
	}
	g.begin(kind+b.name, "y, x *float32, w *byte, stride uintptr, blocks, groups int",
		"computes y[i] = row i of w · x for groups rows, stride bytes\napart, of 256·blocks columns; x is "+how+".")
	y, x0, w0, stride := g.arg("y"), g.arg("x"), g.arg("w"), g.arg("stride")
	blocks, groups := g.arg("blocks"), g.arg("groups")
	x, w, n := g.GP64(), g.GP64(), g.GP64()
	l := &lanes{isa: g, w: w, x: x, sums: g.vs(0, 4), least: g.v(4), t: g.vs(5, 8)}
	next := 13
	keep := func(m operand.Mem) reg.VecPhysical {
		r := g.v(next)
		next++
		g.VMOVUPS(m, r)
		return r
	}
	switch {
	case inLimbs:
		l.limbs = &limbSuper{laneBlock: b}
		if b.apart {
			l.limbs.mask = keep(g.everywhere(0x01010101 * uint32(1<<b.bits-1)))
		}
	case b.bits <= 5:
		words := make([]uint32, 16*max(1, b.bits-3))
		for i := range words {
			words[i] = math.Float32bits(float32(i&(1<<b.bits-1) - b.center))
		}
		table := g.table("values"+b.name, words)
		for i := range len(words) / 16 {
			l.values = append(l.values, keep(table.Offset(64*i)))
		}
	default:
		l.floatBits(b.center, keep)
	}
	for _, m := range g.laneConstants(b.name) {
		l.k = append(l.k, keep(m))
	}
	g.Label("row")
	g.MOVQ(x0, x)
	g.MOVQ(w0, w)
	g.MOVQ(blocks, n)
	for _, r := range append(l.sums, l.least) {
		g.zero(r)
	}
	g.Label("block")
	for line := 0; line < b.bytes; line += 64 {
		if inLimbs {
			g.PREFETCHT1(mem(w, limbAhead+line))
		} else {
			g.PREFETCHT0(mem(w, superAhead+line))
		}
	}
	b.body(l)
	g.ADDQ(operand.U32(uint32(4*floats)), x)
	g.ADDQ(operand.U32(uint32(b.bytes)), w)
	g.DECQ(n)
	g.JNZ(operand.LabelRef("block"))
	g.VADDPS(l.sums[1], l.sums[0], l.sums[0])
	g.VADDPS(l.sums[3], l.sums[2], l.sums[2])
	g.VADDPS(l.least, l.sums[0], l.sums[0])
	g.VADDPS(l.sums[2], l.sums[0], l.sums[0])
	g.sumLanes(l.sums[0], l.sums[1])
	g.VMOVSS(l.sums[0].AsX(), mem(y, 0))
	g.ADDQ(operand.Imm(4), y)
	g.ADDQ(stride, w0)
	g.DECQ(groups)
	g.JNZ(operand.LabelRef("row"))
	g.end()
}

// floatBits keeps what makes floats of the codes' bits.
func (l *lanes) floatBits(center int, keep func(operand.Mem) reg.VecPhysical) {
	for p := range places {
		power := uint32(127+23-8*p) << 23
		l.bits = append(l.bits, keep(l.everywhere(0xff<<(8*p))))
		l.powers = append(l.powers, keep(l.everywhere(power)))
		l.less = append(l.less, keep(l.everywhere(math.Float32bits(math.Float32frombits(power)+float32(center)))))
	}
}

// laneConstants are those of a body: which groups' scales the lanes of each run of
// 64 elements have, and what it masks and shifts with.
func (g *isa) laneConstants(name string) []operand.Mem {
	var k []operand.Mem
	of := func(table string, group func(run, lane int) int) {
		for run := range 4 {
			words := make([]uint32, 16)
			for lane := range words {
				words[lane] = uint32(group(run, lane))
			}
			k = append(k, g.once(table+string(rune('0'+run)), words))
		}
	}
	upper := func(name string, by uint32) operand.Mem {
		words := make([]uint32, 16)
		for lane := 8; lane < 16; lane++ {
			words[lane] = by
		}
		return g.once(name, words)
	}
	bytes := func(b uint32) operand.Mem { return g.everywhere(b * 0x01010101) }
	switch name {
	case "Q2K":
		of("runsOf32", func(run, lane int) int { return lane/8*8 + 2*run + lane%8/4 })
		return append(k, g.everywhere(15))
	case "Q3K":
		of("runsOf32", func(run, lane int) int { return lane/8*8 + 2*run + lane%8/4 })
		return append(k, bytes(3), bytes(4), upper("upper4", 4))
	case "Q4K":
		of("runsOf64", func(run, lane int) int { return run/2*4 + lane/8*2 + run%2 })
		return append(k, upper("k4halves", 1))
	case "Q5K":
		of("runsOf64", func(run, lane int) int { return run/2*4 + lane/8*2 + run%2 })
		return append(k, bytes(15), upper("k4halves", 1), bytes(16), upper("upper2", 2))
	default: // Q6K
		of("runsOf16", func(run, lane int) int { return 4*run + lane/4 })
		return append(k, bytes(15), bytes(0x30), upper("upper2", 2))
	}
}

// everywhere is a word in every lane.
func (g *isa) everywhere(word uint32) operand.Mem {
	words := make([]uint32, g.w)
	for i := range words {
		words[i] = word
	}
	return g.once("every"+hex(word), words)
}

func hex(word uint32) string {
	const digits = "0123456789abcdef"
	s := make([]byte, 8)
	for i := range s {
		s[i] = digits[word>>(28-4*i)&15]
	}
	return string(s)
}

const (
	andOr   = 0xea // a&b | c, of operands (c, b, a)
	laneRun = 64   // elements that four bytes of sixteen lanes are
)

func (l *lanes) at(disp int) operand.Mem { return mem(l.w, disp) }

// run multiplies 64 codes, a byte each in the lanes of codes, which it overwrites,
// with run i of x. Group scales are picked from scales.
func (l *lanes) run(i int, codes, scales reg.VecPhysical) {
	if l.limbs != nil {
		l.limbRun(i, codes, scales)
		return
	}
	out := l.t[6]
	l.products(i, []int{3, 0, 1, 2}, scales, func(b int) reg.VecPhysical {
		v, place := out, min(b, places-1)
		switch b {
		case 3:
			l.VPSRLD(operand.Imm(8), codes, v)
		case 2:
			v = codes
		default:
			l.VMOVDQA64(codes, v)
		}
		l.VPTERNLOGD(operand.Imm(andOr), l.powers[place], l.bits[place], v)
		l.VSUBPS(l.less[place], v, v)
		return v
	})
}

// lookUp is run for codes of which the first is in the lowest bits of a lane after a
// shift by n, whatever the bits above are.
func (l *lanes) lookUp(i, n int, codes, scales reg.VecPhysical) {
	if l.limbs != nil {
		l.limbRun(i, l.limbBytes(n, codes), scales)
		return
	}
	out := l.t[6]
	l.products(i, []int{0, 1, 2, 3}, scales, func(b int) reg.VecPhysical {
		index := codes
		if by := n + 8*b; by > 0 {
			l.VPSRLD(operand.Imm(uint64(by)), codes, out)
			index = out
		}
		if len(l.values) == 1 {
			l.VPERMPS(l.values[0], index, out)
			return out
		}
		if index == codes {
			l.VMOVDQA64(codes, out)
		}
		l.VPERMI2PS(l.values[1], l.values[0], out)
		return out
	})
}

// products multiplies the numbers that each of four bytes stands for with run i of x.
func (l *lanes) products(i int, order []int, scales reg.VecPhysical, number func(b int) reg.VecPhysical) {
	sum, scale := l.t[7], l.t[6]
	for step, b := range order {
		v, x := number(b), mem(l.x, 4*(laneRun*i+16*b))
		if step == 0 {
			l.VMULPS(x, v, sum)
		} else {
			l.VFMADD231PS(x, v, sum)
		}
	}
	l.VPERMPS(scales, l.k[i], scale)
	l.VFMADD231PS(scale, sum, l.sums[i])
}

// minima multiplies what is beside x with a vector of scales or minima.
func (l *lanes) minima(i int, v reg.VecPhysical) {
	if l.limbs != nil {
		l.limbMinima(i, v)
		return
	}
	l.VFMADD231PS(mem(l.x, 4*(superSize+16*i)), v, l.least)
}

// shifted leaves v shifted right by n bits, or left if n is negative, in out.
func (l *lanes) shifted(n int, v, out reg.VecPhysical) {
	switch {
	case n > 0:
		l.VPSRLD(operand.Imm(uint64(n)), v, out)
	case n < 0:
		l.VPSLLD(operand.Imm(uint64(-n)), v, out)
	default:
		l.VMOVDQA64(v, out)
	}
}

// q2k has runs of 32 of both halves in the same bits.
func (l *lanes) q2k() {
	q, scales, minima, scale, least := l.t[0], l.t[1], l.t[2], l.t[3], l.t[4]
	nibble := l.k[4]
	l.scaleMin(behind(l.at, 80), scale, least)
	l.VPMOVZXBD(l.at(0), minima)
	l.VPANDD(nibble, minima, scales)
	l.VPSRLD(operand.Imm(4), minima, minima)
	for i, v := range []reg.VecPhysical{scales, minima} {
		l.VCVTDQ2PS(v, v)
		l.VMULPS(l.t[3+i], v, v)
		l.minima(i, v)
	}
	l.VMOVDQU64(l.at(16), q)
	for run := range 4 {
		l.lookUp(run, 2*run, q, scales)
	}
}

// q3k is q2k with a third bit, that of the upper half four bits further.
func (l *lanes) q3k() {
	low, third, codes, bit, scales := l.t[0], l.t[1], l.t[2], l.t[3], l.t[4]
	l.q3Scales(l.at, l.t[2], l.t[3], l.t[5], func(_ int, v reg.VecPhysical) { l.VMOVAPS(v, scales) })
	two, four, upper := l.k[4], l.k[5], l.k[6]
	l.VMOVDQU64(l.at(32), low)
	l.VBROADCASTI64X4(l.at(0), third)
	l.VPSRLVD(upper, third, third)
	for run := range 4 {
		l.shifted(2*run, low, codes)
		l.VPANDD(two, codes, codes)
		l.shifted(run-2, third, bit)
		l.VPTERNLOGD(operand.Imm(andOr), codes, four, bit)
		l.lookUp(run, 0, bit, scales)
	}
}

// q4k has 64 elements in each half of 64 bytes' bits.
func (l *lanes) q4k() {
	q, scales := l.t[0], l.t[2]
	l.sixFloats(l.at, l.k[4], l.t)
	l.minima(0, scales)
	for run := range 4 {
		if run%2 == 0 {
			l.VMOVDQU64(l.at(16+32*run), q)
		}
		l.lookUp(run, run%2*4, q, scales)
	}
}

// q5k is q4k with a fifth bit: a byte has those of its place in all groups.
func (l *lanes) q5k() {
	scales := l.t[2]
	l.sixFloats(l.at, l.k[5], l.t)
	l.minima(0, scales)
	q, codes, fifth, bit := l.t[0], l.t[1], l.t[3], l.t[4]
	l.VBROADCASTI64X4(l.at(16), fifth)
	l.VPSRLVD(l.k[7], fifth, fifth)
	for run := range 4 {
		if run%2 == 0 {
			l.VMOVDQU64(l.at(48+32*run), q)
			l.VPANDD(l.k[4], q, codes)
		} else {
			l.VPSRLD(operand.Imm(4), q, codes)
			l.VPANDD(l.k[4], codes, codes)
		}
		l.shifted(run/2*4+run%2-4, fifth, bit)
		l.VPTERNLOGD(operand.Imm(andOr), codes, l.k[6], bit)
		l.lookUp(run, 0, bit, scales)
	}
}

// q6k has a half's first 64 elements in the low halves of 64 bytes, and two bits
// more of each as q2k has its own.
func (l *lanes) q6k() {
	q, high, codes, bits, scales := l.t[0], l.t[1], l.t[2], l.t[3], l.t[4]
	l.scale(behind(l.at, 208), codes)
	l.VPMOVSXBD(l.at(192), scales)
	l.VCVTDQ2PS(scales, scales)
	l.VMULPS(codes, scales, scales)
	for run := range 4 {
		if run%2 == 0 {
			l.VMOVDQU64(l.at(32*run), q)
			l.VBROADCASTI64X4(l.at(128+16*run), high)
			l.VPSRLVD(l.k[6], high, high)
			l.VPANDD(l.k[4], q, codes)
		} else {
			l.VPSRLD(operand.Imm(4), q, codes)
			l.VPANDD(l.k[4], codes, codes)
		}
		l.shifted(run%2*4-4, high, bits)
		l.VPTERNLOGD(operand.Imm(andOr), codes, l.k[5], bits)
		l.run(run, bits, scales)
	}
}
