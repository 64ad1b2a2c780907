package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// leadBytes is the least that is asked for ahead. With 4 KiB a core reads a sixth less.
const leadBytes = 8 << 10

// product writes matrix times vector for one encoding: four rows of the matrix
// at a time, which share the loads of x, or one.
func (g *isa) product(d decoder, rows int) {
	g.begin(fmt.Sprintf("product%s_%d", d.name, rows),
		"y, x *float32, w *byte, stride uintptr, blocks, groups int",
		fmt.Sprintf("computes y[i] = row i of w · x for groups of %d rows, stride\nbytes apart, of 32·blocks columns.", rows))
	y, x0, w0, stride := g.arg("y"), g.arg("x"), g.arg("w"), g.arg("stride")
	blocks, groups := g.arg("blocks"), g.arg("groups")
	parts := 32 / g.w
	acc := g.vs(0, 2*rows)
	k, s := g.vs(8, len(d.constants)), g.vs(10, d.shared)
	out := g.v(14)
	xs := []reg.VecPhysical{g.v(15)}
	if g.wide() {
		xs = g.vs(15, 2)
	}
	g.load(d, k)

	x, w, n := g.GP64(), g.GP64(), g.GP64()
	row := g.rowsAt(w, stride, rows)
	// The rows of a later group are asked for while this one's are multiplied: rows
	// end too soon for the hardware to see where they lead. Less than lead bytes
	// ahead, they are still under way when their turn comes.
	ahead, lead := g.GP64(), g.GP64()
	next := g.sameRows(ahead, w, row)
	g.MOVQ(stride, lead)
	g.SHLQ(operand.Imm(2), lead)
	g.MOVQ(lead, n)
	g.Label("further")
	g.CMPQ(lead, operand.U32(leadBytes))
	g.JGE(operand.LabelRef("group"))
	g.ADDQ(n, lead)
	g.JMP(operand.LabelRef("further"))
	g.Label("group")
	g.MOVQ(x0, x)
	g.MOVQ(w0, w)
	g.MOVQ(blocks, n)
	g.LEAQ(operand.Mem{Base: w0, Index: lead, Scale: 1}, ahead)
	for _, r := range acc {
		g.zero(r)
	}
	g.Label("block")
	if g.wide() {
		g.VMOVUPS(mem(x, 0), xs[0])
		g.VMOVUPS(mem(x, 64), xs[1])
	}
	for r := range rows {
		from := func(disp int) operand.Mem { return row(r, disp) }
		for line := 0; rows == 4 && line < d.bytes; line += 64 {
			g.PREFETCHT1(next(r, line))
		}
		if d.head != nil {
			d.head(from, k, s)
		}
		for i := range parts {
			d.part(i, from, out, k, s)
			if g.wide() {
				g.VFMADD231PS(xs[i], out, acc[2*r+i%2])
			} else {
				g.VFMADD231PS(mem(x, i*g.bytes()), out, acc[2*r+i%2])
			}
		}
	}
	g.SUBQ(operand.I8(-128), x)
	g.ADDQ(operand.Imm(uint64(d.bytes)), w)
	g.ADDQ(operand.Imm(uint64(d.bytes)), ahead)
	g.DECQ(n)
	g.JNZ(operand.LabelRef("block"))

	for r := range rows {
		g.VADDPS(acc[2*r+1], acc[2*r], acc[2*r])
	}
	if rows == 1 {
		g.sumLanes(acc[0], acc[1])
		g.VMOVSS(acc[0].AsX(), mem(y, 0))
	} else {
		for r := range rows {
			if g.wide() {
				g.VEXTRACTF64X4(operand.Imm(1), acc[2*r], acc[2*r+1].AsY())
				g.VADDPS(acc[2*r+1].AsY(), acc[2*r].AsY(), acc[2*r].AsY())
			}
		}
		a, b := ymm[0], ymm[4]
		g.VHADDPS(ymm[2], a, a)
		g.VHADDPS(ymm[6], b, b)
		g.VHADDPS(b, a, a)
		g.VEXTRACTF128(operand.Imm(1), a, b.AsX())
		g.VADDPS(a.AsX(), b.AsX(), a.AsX())
		g.VMOVUPS(a.AsX(), mem(y, 0))
	}
	g.ADDQ(operand.Imm(uint64(4*rows)), y)
	if rows == 4 {
		g.LEAQ(operand.Mem{Base: w0, Index: stride, Scale: 4}, w0)
	} else {
		g.ADDQ(stride, w0)
	}
	g.DECQ(groups)
	g.JNZ(operand.LabelRef("group"))
	g.end()
}

// sumLanes leaves the sum of v's lanes in its lane 0.
func (g *isa) sumLanes(v, t reg.VecPhysical) {
	if g.wide() {
		g.VEXTRACTF64X4(operand.Imm(1), v, t.AsY())
		g.VADDPS(t.AsY(), v.AsY(), v.AsY())
	}
	g.VEXTRACTF128(operand.Imm(1), v.AsY(), t.AsX())
	g.VADDPS(t.AsX(), v.AsX(), v.AsX())
	g.VHADDPS(v.AsX(), v.AsX(), v.AsX())
	g.VHADDPS(v.AsX(), v.AsX(), v.AsX())
}
