package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// tiles writes the matrix products. The 8-row (4 with 16 registers) tiles of
// three vectors keep 24 (12) sums in registers, which hides the latency of a
// fused multiply–add and needs fewer loads than multiplications.
func (g *isa) tiles() {
	floats := func(b, x, acc reg.VecPhysical) { g.VFMADD231PS(b, x, acc) }
	for rows := 1; rows <= g.w/2; rows *= 2 {
		for _, nv := range []int{3, 1} {
			g.tile("tile", "", rows, nv, floats)
			if g.wide() {
				g.tile("pairs", "\nElements are pairs of bf16, which are multiplied and added up as one.", rows, nv, g.dotPairs)
			}
		}
	}
	for rows := 1; rows <= 4; rows *= 2 {
		g.values(rows, 3)
		g.values(rows, 1)
		if g.wide() {
			g.values(rows, 4)
		}
	}
}

// tile writes a tile of elements that multiply adds the products of.
func (g *isa) tile(name, doc string, rows, nv int, multiply func(b, x, acc reg.VecPhysical)) {
	g.begin(fmt.Sprintf("%s%dx%d", name, rows, nv),
		"c *float32, ldc uintptr, a *float32, ars, aks uintptr, b *float32, ldb uintptr, k, mode int, alpha *float32",
		fmt.Sprintf("computes C[%d, %d] from A[%d, k]·B[k, %d]. Element (r, i) of A is at a + r·ars + i·aks;\n"+
			"strides are in bytes; mode is one of the tile constants; k > 0.%s", rows, nv*g.w, rows, nv*g.w, doc))
	a, ars, aks := g.arg("a"), g.arg("ars"), g.arg("aks")
	b, ldb, k := g.arg("b"), g.arg("ldb"), g.arg("k")
	at := g.rowsAt(a, ars, rows)
	acc := g.vs(0, rows*nv)
	bv := g.vs(rows*nv, nv)
	spare := g.vs(rows*nv+nv, min(4, len(ymm)*g.w/8-rows*nv-nv))
	for _, r := range acc {
		g.zero(r)
	}
	g.Label("loop")
	for j, r := range bv {
		g.VMOVUPS(mem(b, j*g.bytes()), r)
	}
	for r := range rows {
		x := spare[r%len(spare)]
		g.VBROADCASTSS(at(r, 0), x)
		for j := range nv {
			multiply(bv[j], x, acc[r*nv+j])
		}
	}
	g.ADDQ(aks, a)
	g.ADDQ(ldb, b)
	g.DECQ(k)
	g.JNZ(operand.LabelRef("loop"))

	c, ldc, mode, alpha := g.arg("c"), g.arg("ldc"), g.arg("mode"), g.arg("alpha")
	cAt := g.rowsAt(c, ldc, rows)
	g.CMPQ(mode, operand.Imm(1))
	g.JLT(operand.LabelRef("store"))
	g.JEQ(operand.LabelRef("add"))
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

// values writes the tiles of attention with few queries: A's rows are a key
// block's weights, B its values, C a row of sums for each query. While it
// multiplies, it asks for the memory that comes next.
func (g *isa) values(rows, nv int) {
	g.begin(fmt.Sprintf("values%dx%d", rows, nv),
		"c *float32, ldc uintptr, a *float32, ars uintptr, b *float32, ldb uintptr, k int, alpha, next *float32",
		fmt.Sprintf("computes C[%d, %d] = C·alpha[row] + A[%d, k]·B[k, %d].\n"+
			"Strides are in bytes; k > 0. It asks for as many bytes from next on as it\nreads of B.", rows, nv*g.w, rows, nv*g.w))
	a, ars, b, ldb, k, next := g.arg("a"), g.arg("ars"), g.arg("b"), g.arg("ldb"), g.arg("k"), g.arg("next")
	at := g.rowsAt(a, ars, rows)
	acc := g.vs(0, rows*nv)
	bv, x := g.vs(rows*nv, nv), g.v(rows*nv+nv)
	for _, r := range acc {
		g.zero(r)
	}
	g.Label("loop")
	for line := 0; line < nv*g.bytes(); line += 64 {
		g.PREFETCHT1(mem(next, line))
	}
	for j, r := range bv {
		g.VMOVUPS(mem(b, j*g.bytes()), r)
	}
	for r := range rows {
		g.VBROADCASTSS(at(r, 0), x)
		for j := range nv {
			g.VFMADD231PS(bv[j], x, acc[r*nv+j])
		}
	}
	g.ADDQ(operand.Imm(4), a)
	g.ADDQ(ldb, b)
	g.ADDQ(operand.U32(uint32(nv*g.bytes())), next)
	g.DECQ(k)
	g.JNZ(operand.LabelRef("loop"))

	c, ldc, alpha := g.arg("c"), g.arg("ldc"), g.arg("alpha")
	cAt := g.rowsAt(c, ldc, rows)
	for r := range rows {
		g.VBROADCASTSS(mem(alpha, 4*r), x)
		for j := range nv {
			g.VFMADD231PS(cAt(r, j*g.bytes()), x, acc[r*nv+j])
			g.VMOVUPS(acc[r*nv+j], cAt(r, j*g.bytes()))
		}
	}
	g.end()
}
