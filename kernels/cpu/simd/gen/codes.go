package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// codes writes what decodes a cache's keys and values. A block is an f16 scale,
// an f16 minimum and 32 or 64 codes; of 4 bits, it is Q4_1 if it has 32.
func (g *isa) codes() {
	g.blocks("Int8G32", 32, 8)
	g.blocks("Int8G64", 64, 8)
	g.blocks("Int4G64", 64, 4)
	g.codedKeys(8)
	g.codedKeys(4)
}

// blocks writes the decoder of blocks that follow each other, as those of
// values do: each number is its code times the scale plus the minimum.
func (g *isa) blocks(name string, size, bits int) {
	g.begin("decode"+name, "dst *float32, src *byte, blocks int", fmt.Sprintf("decodes blocks of %d elements.", size))
	dst, src, blocks := g.arg("dst"), g.arg("src"), g.arg("blocks")
	scale, least, mask := g.v(8), g.v(9), g.v(10)
	at := func(disp int) operand.Mem { return mem(src, disp) }
	if bits == 4 {
		g.VMOVUPS(g.all("nibbles"+name, 15), mask)
	}
	g.Label("loop")
	g.scaleMin(at, scale, least)
	part := 0
	number := func(code reg.VecPhysical) {
		g.VCVTDQ2PS(code, code)
		g.VFMADD213PS(least, scale, code)
		g.VMOVUPS(code, mem(dst, part*g.bytes()))
		part++
	}
	if bits == 8 {
		for i := range size / g.w {
			g.VPMOVZXBD(at(4+g.w*i), g.v(i))
			number(g.v(i))
		}
	} else {
		words := size / 2 / g.w
		for i := range words {
			g.VPMOVZXBD(at(4+g.w*i), g.v(i))
			g.and(mask, g.v(i), g.v(words+i))
		}
		for i := range words {
			number(g.v(words + i))
		}
		for i := range words {
			g.VPSRLD(operand.Imm(4), g.v(i), g.v(i))
			number(g.v(i))
		}
	}
	g.ADDQ(operand.U32(uint32(4+size*bits/8)), src)
	g.ADDQ(operand.U32(uint32(4*size)), dst)
	g.DECQ(blocks)
	g.JNZ(operand.LabelRef("loop"))
	g.end()
}

func (g *isa) and(mask, x, out reg.VecPhysical) {
	if g.wide() {
		g.VPANDD(mask, x, out)
	} else {
		g.VPAND(mask, x, out)
	}
}

// codedKeys writes the decoder of a record of keys, in which a block is a
// channel's. The codes of w channels are read in strips of 16 bytes, as 4 words
// each, and transposed as words: then a lane is a channel, and a word holds the
// codes of 4 tokens, or of 8. To transpose numbers instead would shuffle as
// often for each vector that is written as this does for 4 or 8.
func (g *isa) codedKeys(bits int) {
	g.begin(fmt.Sprintf("keys%d", bits), "dst *float32, ldd uintptr, src *byte, block uintptr, strips, groups int",
		fmt.Sprintf("decodes groups of %d channels of a record of keys: the\nblocks, each an f16 scale, an f16 minimum and strips of 16 bytes of codes,\n"+
			"are block bytes apart, and the rows of dst, a token's each, ldd bytes. It asks\nfor as many rows after these.", g.w))
	dst, ldd, src, block := g.arg("dst"), g.arg("ldd"), g.arg("src"), g.arg("block")
	strips, groups := g.arg("strips"), g.arg("groups")
	in := g.rowsAt(src, block, 8)
	upper := src
	above := in
	if g.wide() {
		upper = g.GP64()
		above = g.sameRows(upper, src, in)
	}
	channel := func(c, disp int) operand.Mem {
		if c < 8 {
			return in(c, disp)
		}
		return above(c-8, disp)
	}
	// Rows of the tokens in the low and the high halves of bytes.
	low, n := g.GP64(), g.GP64()
	outs := []func(row, disp int) operand.Mem{g.rowsAt(low, ldd, 4)}
	bases := []reg.GPVirtual{low}
	if bits == 4 {
		high := g.GP64()
		g.MOVQ(strips, high)
		g.IMULQ(ldd, high)
		g.SHLQ(operand.Imm(4), high)
		g.ADDQ(dst, high)
		outs, bases = append(outs, g.sameRows(high, low, outs[0])), append(bases, high)
	}
	// The rows of the record after this one are asked for: they are written down a
	// column, in an order that the hardware does not foresee.
	next := g.GP64()
	ahead := g.sameRows(next, low, outs[0])
	scale, least, mask, word := g.v(12), g.v(13), g.v(14), g.v(15)
	g.VMOVUPS(g.all(fmt.Sprintf("mask%d", bits), 1<<bits-1), mask)

	g.Label("group")
	if g.wide() {
		g.LEAQ(operand.Mem{Base: src, Index: block, Scale: 8}, upper)
	}
	g.channelScales(channel, scale, least)
	g.MOVQ(dst, low)
	g.MOVQ(strips, n)
	g.MOVQ(strips, next)
	g.IMULQ(ldd, next)
	g.SHLQ(operand.Imm(uint64(4+len(outs)-1)), next)
	g.ADDQ(dst, next)
	g.Label("strip")
	for _, tokens := range g.words(channel) {
		for range outs {
			for row := range 4 {
				g.PREFETCHT0(ahead(row, 0))
			}
			g.LEAQ(operand.Mem{Base: next, Index: ldd, Scale: 4}, next)
		}
		for b := range 4 {
			for half, out := range outs {
				shift := 8*b + 4*half
				code := word
				switch {
				case shift == 0:
					g.and(mask, tokens, code)
				case shift+bits == 32:
					g.VPSRLD(operand.Imm(uint64(shift)), tokens, code)
				default:
					g.VPSRLD(operand.Imm(uint64(shift)), tokens, code)
					g.and(mask, code, code)
				}
				g.VCVTDQ2PS(code, code)
				g.VFMADD213PS(least, scale, code)
				g.VMOVUPS(code, out(b, 0))
			}
		}
		for _, base := range bases {
			g.LEAQ(operand.Mem{Base: base, Index: ldd, Scale: 4}, base)
		}
	}
	g.ADDQ(operand.Imm(16), src)
	if g.wide() {
		g.ADDQ(operand.Imm(16), upper)
	}
	g.DECQ(n)
	g.JNZ(operand.LabelRef("strip"))

	// src stands 4 bytes before the end of the group's first block, low at the row
	// that high began with.
	g.ADDQ(operand.Imm(4), src)
	if g.wide() {
		g.LEAQ(operand.Mem{Base: src, Index: block, Scale: 8}, src)
	}
	g.LEAQ(in(7, 0), src)
	g.ADDQ(operand.Imm(uint64(g.bytes())), dst)
	if bits == 4 {
		g.LEAQ(mem(low, g.bytes()), bases[1])
	}
	g.DECQ(groups)
	g.JNZ(operand.LabelRef("group"))
	g.end()
}

// channelScales gathers the scales and minima of w channels' blocks. Pairs of
// halves become pairs of floats, and a shuffle parts scales from minima.
func (g *isa) channelScales(channel func(c, disp int) operand.Mem, scale, least reg.VecPhysical) {
	for eight := range g.w / 8 {
		for four := range 2 {
			x := ymm[four].AsX()
			g.VMOVD(channel(8*eight+4*four, 0), x)
			for i := 1; i < 4; i++ {
				g.VPINSRD(operand.Imm(uint64(i)), channel(8*eight+4*four+i, 0), x, x)
			}
			g.VCVTPH2PS(x, ymm[four])
		}
		for i, out := range []reg.VecPhysical{scale, least} {
			to := out
			if eight > 0 {
				to = ymm[2]
			}
			g.VSHUFPS(operand.Imm(0x88+0x55*uint64(i)), ymm[1], ymm[0], to.AsY())
			g.VPERMPD(operand.Imm(0xd8), to.AsY(), to.AsY())
			if eight > 0 {
				g.VINSERTF64X4(operand.Imm(1), to.AsY(), out, out)
			}
		}
	}
}

// words reads 16 bytes of each of w channels and returns vectors of a word of
// each channel, in order.
func (g *isa) words(channel func(c, disp int) operand.Mem) []reg.VecPhysical {
	in, mid := g.vs(0, 4), g.vs(4, 4)
	for c, x := range in {
		g.VMOVUPS(channel(c, 4), x.AsX())
		for part := 1; part < g.w/4; part++ {
			from := channel(c+4*part, 4)
			if g.wide() {
				g.VINSERTF32X4(operand.Imm(uint64(part)), from, x, x)
			} else {
				g.VINSERTF128(operand.Imm(1), from, x, x)
			}
		}
	}
	g.VUNPCKLPS(in[1], in[0], mid[0])
	g.VUNPCKHPS(in[1], in[0], mid[1])
	g.VUNPCKLPS(in[3], in[2], mid[2])
	g.VUNPCKHPS(in[3], in[2], mid[3])
	g.VUNPCKLPD(mid[2], mid[0], in[0])
	g.VUNPCKHPD(mid[2], mid[0], in[1])
	g.VUNPCKLPD(mid[3], mid[1], in[2])
	g.VUNPCKHPD(mid[3], mid[1], in[3])
	return in
}
