package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
)

// tiles writes the matrix products. The 8-row (4 with 16 registers) tiles of
// three vectors keep 24 (12) sums in registers, which hides the latency of a
// fused multiply–add and needs fewer loads than multiplications.
func (g *isa) tiles() {
	top := g.w / 2
	for rows := 1; rows <= top; rows *= 2 {
		g.tile(rows, 3)
		g.tile(rows, 1)
	}
	if g.wide() {
		for rows := 1; rows <= 4; rows *= 2 {
			g.tile(rows, 4)
		}
	}
}

func (g *isa) tile(rows, nv int) {
	g.begin(fmt.Sprintf("tile%dx%d", rows, nv),
		"c *float32, ldc uintptr, a *float32, ars, aks uintptr, b *float32, ldb uintptr, k, mode int, alpha *float32",
		fmt.Sprintf("computes C[%d, %d] from A[%d, k]·B[k, %d]. Element (r, i) of A is at a + r·ars + i·aks;\n"+
			"strides are in bytes; mode is one of the tile constants; k > 0.", rows, nv*g.w, rows, nv*g.w))
	a, ars, aks := g.arg("a"), g.arg("ars"), g.arg("aks")
	b, ldb, k := g.arg("b"), g.arg("ldb"), g.arg("k")
	at := g.rowsAt(a, ars, rows)
	acc := g.vs(0, rows*nv)
	bv := g.vs(rows*nv, nv)
	spare := g.vs(rows*nv+nv, min(4, len(ymm)*g.w/8-rows*nv-nv))
	for _, r := range acc {
		g.zero(r)
	}
	loop := "loop"
	g.Label(loop)
	for j, r := range bv {
		g.VMOVUPS(mem(b, j*g.bytes()), r)
	}
	for r := range rows {
		x := spare[r%len(spare)]
		g.VBROADCASTSS(at(r, 0), x)
		for j := range nv {
			g.VFMADD231PS(bv[j], x, acc[r*nv+j])
		}
	}
	g.ADDQ(aks, a)
	g.ADDQ(ldb, b)
	g.DECQ(k)
	g.JNZ(operand.LabelRef(loop))

	c, ldc, mode, alpha := g.arg("c"), g.arg("ldc"), g.arg("mode"), g.arg("alpha")
	cAt := g.rowsAt(c, ldc, rows)
	g.CMPQ(mode, operand.Imm(1))
	g.JLT(operand.LabelRef("store"))
	g.JEQ(operand.LabelRef("add"))
	g.CMPQ(mode, operand.Imm(2))
	g.JEQ(operand.LabelRef("lanes"))
	for r := range rows {
		g.VBROADCASTSS(mem(alpha, 4*r), spare[0])
		for j := range nv {
			g.VFMADD231PS(cAt(r, j*g.bytes()), spare[0], acc[r*nv+j])
		}
	}
	g.JMP(operand.LabelRef("store"))
	g.Label("lanes")
	for j := range nv {
		g.VMOVUPS(mem(alpha, j*g.bytes()), spare[0])
		for r := range rows {
			g.VFMADD231PS(cAt(r, j*g.bytes()), spare[0], acc[r*nv+j])
		}
	}
	g.JMP(operand.LabelRef("store"))
	g.Label("add")
	for r := range rows {
		for j := range nv {
			g.VADDPS(cAt(r, j*g.bytes()), acc[r*nv+j], acc[r*nv+j])
		}
	}
	g.Label("store")
	for r := range rows {
		for j := range nv {
			g.VMOVUPS(acc[r*nv+j], cAt(r, j*g.bytes()))
		}
	}
	g.end()
}
