package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// behind is at with another origin.
func behind(at at, origin int) at { return func(disp int) operand.Mem { return at(origin + disp) } }

// line is 16 bytes in memory.
func (g *isa) line(name string, words [4]uint32) operand.Mem { return g.once(name, words[:]) }

// bytesOf is a byte 32 times.
func (g *isa) bytesOf(name string, b uint32) operand.Mem {
	words := make([]uint32, 8)
	for i := range words {
		words[i] = b * 0x01010101
	}
	return g.once(name, words)
}

// once is a table that several functions use.
func (g *isa) once(name string, words []uint32) operand.Mem {
	m, ok := g.tables[name]
	if !ok {
		m = g.table(name, words)
		g.tables[name] = m
	}
	return m
}

// scaled multiplies v by a float of the stack.
func (g *isa) scaled(by operand.Mem, v, out, t reg.VecPhysical) {
	if g.wide() {
		g.VMULPS_BCST(by, v, out)
		return
	}
	g.VBROADCASTSS(by, t)
	g.VMULPS(t, v, out)
}

// q2k looks two bits up in a group's four values.
func (g *isa) q2k(at, stack at, k []reg.VecPhysical, emit emitter) {
	t := g.free()
	scales, minima, scale, least := t[0], t[1], t[2], t[3]
	g.scaleMin(behind(at, 80), scale, least)
	for i := range 16 / g.w {
		g.VPMOVZXBD(at(i*g.w), minima)
		g.and(k[0], minima, scales)
		g.VPSRLD(operand.Imm(4), minima, minima)
		g.VCVTDQ2PS(scales, scales)
		g.VCVTDQ2PS(minima, minima)
		g.VMULPS(scale, scales, scales)
		g.VMULPS(least, minima, minima)
		if g.wide() {
			g.q2kWide(at, k, scales, minima, emit)
			return
		}
		g.VMOVUPS(scales, stack(i*g.w))
		g.VMOVUPS(minima, stack(16+i*g.w))
	}
	q, table, index, out := t[:2], t[3], t[4], t[5]
	for half := range 4 { // of 128 elements, those of 16 bytes
		for i := range q {
			g.VPMOVZXBD(at(16+16*half+8*i), q[i])
		}
		for run := range 4 {
			group := half/2*8 + 2*run + half%2
			g.VBROADCASTSS(stack(group), table)
			g.VBROADCASTSS(stack(16+group), out)
			g.VFMSUB213PS(out, k[1], table)
			for i := range q {
				from := q[i]
				if run > 0 {
					g.VPSRLD(operand.Imm(uint64(2*run)), from, index)
					from = index
				}
				g.VPERMILPS(from, table, out)
				emit(2*group+i, out)
			}
		}
	}
}

// q2kWide has in one table the four groups whose values lie in the same bytes: the
// first has the first four entries.
func (g *isa) q2kWide(at at, k []reg.VecPhysical, scales, minima reg.VecPhysical, emit emitter) {
	t := g.free()
	q, table, least, index, out := t[2], t[3], t[4], t[5], t[6]
	mask, entries, groups := k[2], k[2:6], k[6:]
	for half := range 4 {
		g.VPERMPS(scales, groups[half], table)
		g.VPERMPS(minima, groups[half], least)
		g.VFMSUB213PS(least, k[1], table)
		g.VPMOVZXBD(at(16+16*half), q)
		for run := range 4 {
			if run == 0 {
				g.VPANDD(mask, q, index)
			} else {
				g.VPSRLD(operand.Imm(uint64(2*run)), q, index)
				g.VPTERNLOGD(operand.Imm(andOr), entries[run], mask, index)
			}
			g.VPERMPS(table, index, out)
			emit(half/2*8+2*run+half%2, out)
		}
	}
}

// q2kConstants are those of q2kWide after the first two.
func (g *isa) q2kConstants() []operand.Mem {
	k := []operand.Mem{g.all("entry", 3)}
	for run := 1; run < 4; run++ {
		k = append(k, g.all(fmt.Sprintf("entries%d", run), uint32(4*run)))
	}
	for half := range 4 {
		groups := make([]uint32, 16)
		for i := range groups {
			groups[i] = uint32(half/2*8 + i/4*2 + half%2)
		}
		k = append(k, g.table(fmt.Sprintf("groups%d", half), groups))
	}
	return k
}

// q3k looks three bits up in a group's eight values, which are bytes first.
func (g *isa) q3k(at, stack at, k []reg.VecPhysical, emit emitter) {
	t := g.free()
	g.q3Scales(at, t[0], t[1], t[3], func(i int, v reg.VecPhysical) { g.VMOVUPS(v, stack(i*g.w)) })
	// Values, a run of 32 at a time.
	low, high, a, b := t[0].AsY(), t[1].AsY(), t[2].AsY(), t[3].AsY()
	table, out, index := t[4], t[5], t[6]
	three, four := t[7].AsY(), t[8].AsY()
	g.VMOVDQU(g.bytesOf("q3two", 0x03), three)
	g.VMOVDQU(g.bytesOf("q3third", 0x04), four)
	g.VMOVDQU(at(0), high)
	for run := range 8 {
		if run%4 == 0 {
			g.VMOVDQU(at(32+8*run), low)
		}
		g.masked(2*(run%4), three, low, a)
		g.masked(run-2, four, high, b)
		g.VPOR(a, b, a)
		g.widened(t[2], stack(16), false, index, func(i int) {
			if i*g.w%16 == 0 {
				g.scaled(stack(2*run+i*g.w/16), k[0], table, out)
			}
			g.VPERMPS(table, index, out)
			emit(32*run/g.w+i, out)
		})
	}
}

// q3Scales gives the 16 scales of Q3_K, times that of the super-block, to use: 8
// bytes of low halves, then 4 of the high bits. It overwrites a, b and out.
func (g *isa) q3Scales(at at, a, b, out reg.VecPhysical, use func(i int, v reg.VecPhysical)) {
	x, y := b.AsX(), out.AsX()
	g.scale(behind(at, 108), a)
	g.VMOVDDUP(at(96), x)
	g.VPSRLVQ(g.line("q3lows", [4]uint32{0, 0, 4, 0}), x, x)
	g.VPAND(g.bytesOf("q3low", 0x0f), x, x)
	g.VPBROADCASTD(at(104), y)
	g.VPSRLVD(g.line("q3highs", [4]uint32{0, 2, 4, 6}), y, y)
	g.VPSLLD(operand.Imm(4), y, y)
	g.VPAND(g.bytesOf("q3high", 0x30), y, y)
	g.VPOR(x, y, x)
	g.VPSUBB(g.bytesOf("q3offset", 0x20), x, x)
	for i := range 16 / g.w {
		if i > 0 {
			g.VPSRLDQ(operand.Imm(8), x, x)
		}
		g.VPMOVSXBD(x, out)
		g.VCVTDQ2PS(out, out)
		g.VMULPS(a, out, out)
		use(i, out)
	}
}

// widened makes integers of the 32 bytes in v, a vector after the other in out, for
// use. Sixteen lanes overwrite v; eight need room on the stack.
func (g *isa) widened(v reg.VecPhysical, room operand.Mem, signed bool, out reg.VecPhysical, use func(i int)) {
	widen := g.VPMOVZXBD
	if signed {
		widen = g.VPMOVSXBD
	}
	if g.wide() {
		widen(v.AsX(), out)
		use(0)
		g.VEXTRACTI128(operand.Imm(1), v.AsY(), v.AsX())
		widen(v.AsX(), out)
		use(1)
		return
	}
	g.VMOVDQU(v.AsY(), room)
	for i := range 4 {
		widen(room.Offset(8*i), out)
		use(i)
	}
}

// masked leaves, in out, the bits of 32 bytes that are in mask after a shift right,
// or left if n is negative.
func (g *isa) masked(n int, mask, from, out reg.Register) {
	switch {
	case n > 0:
		g.VPSRLW(operand.Imm(uint64(n)), from, out)
		from = out
	case n < 0:
		g.VPSLLW(operand.Imm(uint64(-n)), from, out)
		from = out
	}
	g.VPAND(mask, from, out)
}

// sixBits leaves the 8 scales and 8 minima of Q4_K and Q5_K on the stack, times
// those of the super-block.
func (g *isa) sixBits(at, stack at) {
	t := g.free()
	x, y := t[0].AsX(), t[1].AsX()
	if g.wide() {
		halves := make([]uint32, 16)
		for i := 8; i < 16; i++ {
			halves[i] = 1
		}
		g.VMOVDQU32(g.once("k4halves", halves), t[4])
		g.sixFloats(at, t[4], t)
		g.VMOVUPS(t[2], stack(0))
		return
	}
	g.sixBytes(at, x, y)
	g.scaleMin(at, t[2], t[3])
	for i := range 2 {
		if i > 0 {
			g.VPSRLDQ(operand.Imm(8), x, x)
		}
		g.VPMOVZXBD(x, t[1])
		g.VCVTDQ2PS(t[1], t[1])
		g.VMULPS(t[2+i], t[1], t[1])
		g.VMOVUPS(t[1], stack(8*i))
	}
}

// sixBytes makes bytes of the scales and minima of Q4_K and Q5_K, in x.
func (g *isa) sixBytes(at at, x, y reg.Register) {
	// Words of the bytes: low scales and high bits, low minima and high bits, low
	// halves of the last scales and minima.
	g.VMOVDQU(at(4), y)
	g.VPSHUFD(operand.Imm(0b10_01_10_00), y, x)
	g.VPSHUFD(operand.Imm(0b01_01_00_00), y, y)
	g.VPSRLVD(g.line("k4lows", [4]uint32{0, 0, 0, 4}), x, x)
	g.VPAND(g.line("k4low", [4]uint32{0x3f3f3f3f, 0x0f0f0f0f, 0x3f3f3f3f, 0x0f0f0f0f}), x, x)
	g.VPSRLD(operand.Imm(2), y, y)
	g.VPAND(g.line("k4high", [4]uint32{0, 0x30303030, 0, 0x30303030}), y, y)
	g.VPOR(x, y, x)
}

// sixFloats leaves them in t[2], times those of the super-block, for sixteen lanes:
// halves is 0 in the lower lanes and 1 in the upper. It overwrites t[:4].
func (g *isa) sixFloats(at at, halves reg.VecPhysical, t []reg.VecPhysical) {
	x, y := t[0].AsX(), t[1].AsX()
	g.sixBytes(at, x, y)
	g.VPMOVZXBD(x, t[2])
	g.VCVTPH2PS(at(0), y)
	g.VPERMPS(t[1], halves, t[3])
	g.VCVTDQ2PS(t[2], t[2])
	g.VMULPS(t[3], t[2], t[2])
}

// q4k looks four bits up in a group's sixteen values, or scales them one by one.
func (g *isa) q4k(at, stack at, k []reg.VecPhysical, emit emitter) {
	g.sixBits(at, stack)
	t := g.free()
	q, scale, least, out := t[:32/g.w], t[6], t[7], t[8]
	for group := range 8 {
		g.VBROADCASTSS(stack(group), scale)
		if g.wide() {
			g.VFMSUB213PS_BCST(stack(8+group), k[0], scale) // the table
		} else {
			g.VBROADCASTSS(stack(8+group), least)
		}
		for i := range q {
			if group%2 == 0 {
				g.VPMOVZXBD(at(16+16*group+i*g.w), q[i])
			} else {
				g.VPSRLD(operand.Imm(4), q[i], q[i])
			}
			if g.wide() {
				g.VPERMPS(scale, q[i], out)
			} else {
				from := q[i]
				if group%2 == 0 {
					g.VPAND(k[0], from, out)
					from = out
				}
				g.VCVTDQ2PS(from, out)
				g.VFMSUB213PS(least, scale, out)
			}
			emit(32*group/g.w+i, out)
		}
	}
}

// q5k converts five bits, which are bytes first.
func (g *isa) q5k(at, stack at, _ []reg.VecPhysical, emit emitter) {
	g.sixBits(at, stack)
	t := g.free()
	low, fifth, a, b := t[0].AsY(), t[1].AsY(), t[2].AsY(), t[3].AsY()
	scale, least, out := t[4], t[5], t[6]
	nibble, bit := t[7].AsY(), t[8].AsY()
	g.VMOVDQU(g.bytesOf("q5low", 0x0f), nibble)
	g.VMOVDQU(g.bytesOf("q5fifth", 0x10), bit)
	g.VMOVDQU(at(16), fifth)
	for group := range 8 {
		if group%2 == 0 {
			g.VMOVDQU(at(48+16*group), low)
		}
		g.masked(group%2*4, nibble, low, a)
		g.masked(group-4, bit, fifth, b)
		g.VPOR(a, b, a)
		g.VBROADCASTSS(stack(group), scale)
		g.VBROADCASTSS(stack(8+group), least)
		g.widened(t[2], stack(16), false, out, func(i int) {
			g.VCVTDQ2PS(out, out)
			g.VFMSUB213PS(least, scale, out)
			emit(32*group/g.w+i, out)
		})
	}
}

// q6k converts six bits, which are signed bytes first.
func (g *isa) q6k(at, stack at, _ []reg.VecPhysical, emit emitter) {
	t := g.free()
	g.scale(behind(at, 208), t[0])
	for i := range 16 / g.w {
		g.VPMOVSXBD(at(192+i*g.w), t[1])
		g.VCVTDQ2PS(t[1], t[1])
		g.VMULPS(t[0], t[1], t[1])
		g.VMOVUPS(t[1], stack(i*g.w))
	}
	nibble, two, offset := t[6].AsY(), t[7].AsY(), t[8].AsY()
	g.VMOVDQU(g.bytesOf("q6low", 0x0f), nibble)
	g.VMOVDQU(g.bytesOf("q6high", 0x30), two)
	g.VMOVDQU(g.bytesOf("q6offset", 0x20), offset)
	lows, high := []reg.Register{t[0].AsY(), t[1].AsY()}, t[2].AsY()
	for run := range 8 {
		a, b := t[3].AsY(), t[4].AsY()
		if run%4 == 0 {
			g.VMOVDQU(at(16*run), lows[0])
			g.VMOVDQU(at(16*run+32), lows[1])
			g.VMOVDQU(at(128+8*run), high)
		}
		g.masked(run%4/2*4, nibble, lows[run%2], a)
		g.masked(run%4*2-4, two, high, b)
		g.VPOR(a, b, a)
		g.VPSUBB(offset, a, a)
		out := t[5]
		g.widened(t[3], stack(16), true, out, func(i int) {
			g.VCVTDQ2PS(out, out)
			g.scaled(stack(2*run+i*g.w/16), out, out, t[4])
			emit(32*run/g.w+i, out)
		})
	}
}
