package main

import (
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// pairs writes what rounds activations to bf16 (AVX512-BF16).
func (g *isa) pairs() {
	if !g.wide() {
		return
	}
	g.begin("roundPairs", "dst, src *float32, blocks int", "rounds blocks of 32 floats to bf16, to nearest even.")
	dst, src, blocks := g.arg("dst"), g.arg("src"), g.arg("blocks")
	low, high := g.v(0), g.v(1)
	g.Label("loop")
	g.VMOVUPS(mem(src, 0), low)
	g.VMOVUPS(mem(src, 64), high)
	g.evex(prefixF2, 0x72, low, high, low) // VCVTNE2PS2BF16
	g.VMOVUPS(low, mem(dst, 0))
	g.SUBQ(operand.I8(-128), src)
	g.ADDQ(operand.Imm(64), dst)
	g.DECQ(blocks)
	g.JNZ(operand.LabelRef("loop"))
	g.end()
}

// dotPairs adds to each float of acc the products of a pair of bf16 of x and of b.
func (g *isa) dotPairs(b, x, acc reg.VecPhysical) {
	g.evex(prefixF3, 0x52, b, x, acc) // VDPBF16PS
}

// Prefixes of an instruction, as EVEX encodes them.
const (
	prefixF3 = 2
	prefixF2 = 3
)

// evex emits an instruction of map 0F38 that neither avo nor Go's assembler knows, of
// three 512-bit registers: the last source, the first, and the destination (Intel's
// manual, volume 2, section 2.7).
func (g *isa) evex(prefix, opcode uint32, b, a, dst reg.VecPhysical) {
	inverted := func(r reg.VecPhysical, bit int) uint32 { return uint32(r.PhysicalIndex())>>bit&1 ^ 1 }
	d, s, t := uint32(dst.PhysicalIndex()), uint32(a.PhysicalIndex()), uint32(b.PhysicalIndex())
	p0 := inverted(dst, 3)<<7 | inverted(b, 4)<<6 | inverted(b, 3)<<5 | inverted(dst, 4)<<4 | 2
	p1 := (s&15^15)<<3 | 1<<2 | prefix
	p2 := uint32(2)<<5 | inverted(a, 4)<<3
	g.Instruction(&ir.Instruction{Opcode: "LONG", Operands: []operand.Op{operand.U32(0x62 | p0<<8 | p1<<16 | p2<<24)}})
	g.Instruction(&ir.Instruction{Opcode: "WORD", Operands: []operand.Op{operand.U16(opcode | (0xc0|d&7<<3|t&7)<<8)}})
}
