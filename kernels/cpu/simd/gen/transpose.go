package main

import "github.com/mmcloughlin/avo/operand"

// transpose writes the 8×8 transposition. A 512-bit version would shuffle as
// much for each element and be no faster where 512-bit shuffles take two
// passes, so that only AVX2 has one and both levels use it.
func (g *isa) transpose() {
	if g.wide() {
		return
	}
	g.begin("transpose8", "dst *float32, ldd uintptr, src *float32, lds uintptr, blocks int",
		"writes dst[c][0:8] = src[0:8][c] for 8·blocks columns c;\nstrides are in bytes.")
	dst, ldd, src, lds, blocks := g.arg("dst"), g.arg("ldd"), g.arg("src"), g.arg("lds"), g.arg("blocks")
	in, out := g.rowsAt(src, lds, 8), g.rowsAt(dst, ldd, 8)
	g.Label("loop")
	for half := range 2 {
		in4, mid, cols := ymm[0:4], ymm[4:8], ymm[8:12]
		for r := range 4 {
			g.VMOVUPS(in(r, 16*half), in4[r].AsX())
			g.VINSERTF128(operand.Imm(1), in(r+4, 16*half), in4[r], in4[r])
		}
		g.VUNPCKLPS(in4[1], in4[0], mid[0])
		g.VUNPCKHPS(in4[1], in4[0], mid[1])
		g.VUNPCKLPS(in4[3], in4[2], mid[2])
		g.VUNPCKHPS(in4[3], in4[2], mid[3])
		g.VUNPCKLPD(mid[2], mid[0], cols[0])
		g.VUNPCKHPD(mid[2], mid[0], cols[1])
		g.VUNPCKLPD(mid[3], mid[1], cols[2])
		g.VUNPCKHPD(mid[3], mid[1], cols[3])
		for c := range 4 {
			g.VMOVUPS(cols[c], out(4*half+c, 0))
		}
	}
	g.ADDQ(operand.Imm(32), src)
	g.LEAQ(operand.Mem{Base: dst, Index: ldd, Scale: 8}, dst)
	g.DECQ(blocks)
	g.JNZ(operand.LabelRef("loop"))
	g.end()
}
