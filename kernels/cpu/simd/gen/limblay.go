package main

import (
	"github.com/mmcloughlin/avo/operand"
)

// limbBlock writes the function that makes limbs of 32 numbers.
func (g *isa) limbBlock() {
	g.begin("limbBlock", "dst *byte, half uintptr, x, scale *float32",
		"writes the limbs of 32 numbers, the lowest first and 128 bytes apart,\n"+
			"the last 16 numbers' half bytes behind the first's; then, to scale, what an integer\n"+
			"is worth, and the sums of the first 16 numbers and of the last.")
	dst, half, x, scale := g.arg("dst"), g.arg("half"), g.arg("x"), g.arg("scale")
	v, t := g.vs(0, 2), g.vs(2, 2)
	magnitude := g.v(4)
	g.VMOVDQU64(g.everywhere(0x7fffffff), magnitude)
	for i := range v {
		g.VMOVUPS(mem(x, 64*i), v[i])
		g.VPANDD(magnitude, v[i], t[i])
	}
	// Magnitudes compare as integers, and what is not a number comes last.
	g.VPMAXUD(t[1], t[0], t[0])
	g.VEXTRACTI64X4(operand.Imm(1), t[0], t[1].AsY())
	g.VPMAXUD(t[1].AsY(), t[0].AsY(), t[0].AsY())
	g.VEXTRACTI128(operand.Imm(1), t[0].AsY(), t[1].AsX())
	a, b := t[0].AsX(), t[1].AsX()
	g.VPMAXUD(b, a, a)
	for _, by := range []uint64{0x4e, 0xb1} {
		g.VPSHUFD(operand.Imm(by), a, b)
		g.VPMAXUD(b, a, a)
	}
	most, exponent, by := g.GP32(), g.GP32(), g.GP32()
	g.VMOVD(a, most)
	// The exponent, or one more if the largest would not be below 0x7f7f80.
	g.LEAL(operand.Mem{Base: most, Disp: 0x10101}, exponent)
	g.SHRL(operand.Imm(23), exponent)
	g.MOVL(operand.U32(23), by)
	g.CMPL(exponent, by)
	g.CMOVLCS(by, exponent)
	// by = 2^(22-e), and an integer is worth 2^(e-22).
	g.MOVL(operand.U32(276), by)
	g.SUBL(exponent, by)
	g.SHLL(operand.Imm(23), by)
	g.SUBL(operand.Imm(22), exponent)
	g.SHLL(operand.Imm(23), exponent)
	nan := g.GP32()
	g.MOVL(operand.U32(0x7fc00000), nan)
	g.CMPL(most, operand.U32(0x7f800000))
	g.CMOVLCC(nan, exponent)
	g.VPBROADCASTD(by, g.v(5))
	g.VMOVD(exponent, g.v(6).AsX())
	for i := range v {
		g.VMULPS(g.v(5), v[i], v[i])
		g.VCVTPS2DQ(v[i], v[i])
		g.VEXTRACTI64X4(operand.Imm(1), v[i], t[i].AsY())
		g.VPADDD(v[i].AsY(), t[i].AsY(), t[i].AsY())
	}
	g.VPHADDD(t[1].AsY(), t[0].AsY(), t[0].AsY())
	g.VEXTRACTI128(operand.Imm(1), t[0].AsY(), b)
	g.VPADDD(b, a, a)
	g.VPHADDD(a, a, a)
	g.VCVTDQ2PS(a, a)
	g.VBROADCASTSS(g.v(6).AsX(), b)
	g.VMULPS(b, a, a)
	g.MOVL(exponent, mem(scale, 0))
	g.VMOVLPS(a, mem(scale, 4))
	round := g.v(7)
	g.VMOVDQU64(g.everywhere(128), round)
	for limb := range 3 {
		for i := range v {
			to := mem(dst, limbBytes*limb)
			if i == 1 {
				to.Index, to.Scale = half, 1
			}
			g.VPMOVDB(v[i], to)
			if limb < 2 {
				g.VPADDD(round, v[i], v[i])
				g.VPSRAD(operand.Imm(8), v[i], v[i])
			}
		}
	}
	g.end()
}
