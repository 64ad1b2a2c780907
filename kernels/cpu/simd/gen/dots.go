package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// dots writes the scores of few queries: lanes are dimensions, w dot products
// run at once (queries × keys), and a tree of additions folds them into the
// lanes of one vector. Keys are read down a column of rows, in an order that the
// hardware does not foresee: they were asked for before (see values), and here
// the values are.
func (g *isa) dots() {
	for q := 1; q <= 4; q *= 2 {
		g.dot(q)
	}
}

func (g *isa) dot(queries int) {
	keys := g.w / queries
	g.begin(fmt.Sprintf("dots%d", queries),
		"s *float32, lds uintptr, q, k, v *float32, dims, groups int",
		fmt.Sprintf("writes s[i][j] = q[i]·k[j] for %d queries and groups of %d\n"+
			"keys, all of dims floats, one after another; dims is a multiple of 8. It\n"+
			"asks for the same rows of v.", queries, keys))
	s, lds, q, k, v := g.arg("s"), g.arg("lds"), g.arg("q"), g.arg("k"), g.arg("v")
	dims, groups := g.arg("dims"), g.arg("groups")
	acc := g.vs(0, g.w)
	qv := g.vs(g.w, queries)
	kv := g.v(g.w + queries)

	ld, n := g.GP64(), g.GP64()
	g.MOVQ(dims, ld)
	g.SHLQ(operand.Imm(2), ld)
	kAt := g.rowsAt(k, ld, max(queries, min(keys, 8)))
	qAt := g.sameRows(q, k, kAt)
	upper, hAt := k, kAt
	if keys > 8 {
		upper = g.GP64()
		hAt = g.sameRows(upper, k, kAt)
	}
	g.Label("group")
	if keys > 8 {
		g.LEAQ(operand.Mem{Base: k, Index: ld, Scale: 8}, upper)
	}
	g.MOVQ(dims, n)
	for _, r := range acc {
		g.zero(r)
	}
	step := func(as func(reg.VecPhysical) reg.Register, bytes int) {
		for line := 0; line < keys*bytes; line += 64 {
			g.PREFETCHT1(mem(v, line))
		}
		for i := range queries {
			g.VMOVUPS(qAt(i, 0), as(qv[i]))
		}
		for j := range keys {
			from := kAt(j%8, 0)
			if j >= 8 {
				from = hAt(j-8, 0)
			}
			g.VMOVUPS(from, as(kv))
			for i := range queries {
				g.VFMADD231PS(kv, qv[i], acc[i*keys+j])
			}
		}
		g.ADDQ(operand.U32(uint32(keys*bytes)), v)
		g.ADDQ(operand.Imm(uint64(bytes)), q)
		g.ADDQ(operand.Imm(uint64(bytes)), k)
		if keys > 8 {
			g.ADDQ(operand.Imm(uint64(bytes)), upper)
		}
	}
	g.Label("chunk")
	g.CMPQ(n, operand.Imm(uint64(g.w)))
	g.JLT(operand.LabelRef("rest"))
	step(func(v reg.VecPhysical) reg.Register { return v }, g.bytes())
	g.SUBQ(operand.Imm(uint64(g.w)), n)
	g.JMP(operand.LabelRef("chunk"))
	g.Label("rest")
	if g.wide() {
		// The last 8 of the dimensions: a 256-bit load clears the upper half.
		g.CMPQ(n, operand.Imm(8))
		g.JLT(operand.LabelRef("fold"))
		step(func(v reg.VecPhysical) reg.Register { return v.AsY() }, 32)
		g.Label("fold")
	}
	g.fold(acc, g.v(g.w+queries+1))
	out := g.rowsAt(s, lds, queries)
	switch 4 * keys {
	case 64:
		g.VMOVUPS(acc[0], out(0, 0))
	case 32:
		if !g.wide() {
			g.VMOVUPS(acc[0], out(0, 0))
			break
		}
		g.VEXTRACTF64X4(operand.Imm(1), acc[0], acc[1].AsY())
		g.VMOVUPS(acc[0].AsY(), out(0, 0))
		g.VMOVUPS(acc[1].AsY(), out(1, 0))
	case 16:
		if !g.wide() {
			g.VEXTRACTF128(operand.Imm(1), acc[0], acc[1].AsX())
			g.VMOVUPS(acc[0].AsX(), out(0, 0))
			g.VMOVUPS(acc[1].AsX(), out(1, 0))
			break
		}
		for i := range 4 {
			g.VEXTRACTF32X4(operand.Imm(uint64(i)), acc[0], out(i, 0))
		}
	case 8:
		g.VEXTRACTF128(operand.Imm(1), acc[0], acc[1].AsX())
		g.VMOVLPS(acc[0].AsX(), out(0, 0))
		g.VMOVHPS(acc[0].AsX(), out(1, 0))
		g.VMOVLPS(acc[1].AsX(), out(2, 0))
		g.VMOVHPS(acc[1].AsX(), out(3, 0))
	}
	g.ADDQ(operand.Imm(uint64(4*keys)), s)
	// k stands at the end of the group's first key, q at that of the first query.
	g.SUBQ(ld, q)
	if keys > 8 {
		g.LEAQ(operand.Mem{Base: k, Index: ld, Scale: 8}, k)
	}
	g.LEAQ(kAt(min(keys, 8)-1, 0), k)
	g.DECQ(groups)
	g.JNZ(operand.LabelRef("group"))
	g.end()
}

// sameRows addresses rows from another base with the index registers that
// from, whose base is old, already uses.
func (g *isa) sameRows(base, old reg.GPVirtual, from func(row, disp int) operand.Mem) func(row, disp int) operand.Mem {
	return func(row, disp int) operand.Mem {
		m := from(row, disp)
		if m.Base == old {
			m.Base = base
		}
		return m
	}
}

// fold adds up the lanes of each of w vectors: lane i of acc[0] becomes the
// sum of acc[i].
func (g *isa) fold(acc []reg.VecPhysical, t reg.VecPhysical) {
	pair := func(lo, hi func(a, b, dst operand.Op), a, b, to reg.VecPhysical) {
		lo(b, a, t)
		hi(b, a, to)
		g.VADDPS(t, to, to)
	}
	ops := func(f func(...operand.Op)) func(a, b, dst operand.Op) {
		return func(a, b, dst operand.Op) { f(a, b, dst) }
	}
	shuffle := func(f func(...operand.Op), imm uint64) func(a, b, dst operand.Op) {
		return func(a, b, dst operand.Op) { f(operand.Imm(imm), a, b, dst) }
	}
	n := len(acc)
	for i := 0; i < n; i += 2 {
		pair(ops(g.VUNPCKLPS), ops(g.VUNPCKHPS), acc[i], acc[i+1], acc[i])
	}
	for i := 0; i < n; i += 4 {
		pair(ops(g.VUNPCKLPD), ops(g.VUNPCKHPD), acc[i], acc[i+2], acc[i])
	}
	if !g.wide() {
		half := func(imm uint64) func(a, b, dst operand.Op) {
			return func(a, b, dst operand.Op) { g.VPERM2F128(operand.Imm(imm), a, b, dst) }
		}
		pair(half(0x20), half(0x31), acc[0], acc[4], acc[0])
		return
	}
	for i := 0; i < n; i += 8 {
		pair(shuffle(g.VSHUFF32X4, 0x44), shuffle(g.VSHUFF32X4, 0xee), acc[i], acc[i+4], acc[i])
	}
	pair(shuffle(g.VSHUFF32X4, 0x88), shuffle(g.VSHUFF32X4, 0xdd), acc[0], acc[8], acc[0])
}
