package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
)

// massLanes writes what sums attention over queries: lanes are keys and rows
// are queries, so that no sum crosses lanes.
func (g *isa) massLanes(nv int, t map[string]operand.Mem) {
	g.begin(fmt.Sprintf("massLanes%d", nv), "mass, s *float32, lds uintptr, lse *float32, rows int",
		fmt.Sprintf("adds to %d numbers of mass the sums over rows of\nexp(s[row]-lse[row]); rows of s are lds bytes apart.", nv*g.w))
	mass, s, lds, lse, rows := g.arg("mass"), g.arg("s"), g.arg("lds"), g.arg("lse"), g.arg("rows")
	// Every vector of a row has its own temporaries where there are 32
	// registers; else they take turns.
	sum, sub, free := g.vs(0, nv), g.v(nv), nv+1
	tmp := func(v int) int { return free }
	if g.wide() {
		tmp = func(v int) int { return free + 3*v }
	}
	e := g.exp(tmp(nv-1)+3, t)
	for _, r := range sum {
		g.zero(r)
	}
	g.Label("loop")
	g.VBROADCASTSS(mem(lse, 0), sub)
	for v, r := range sum {
		x := g.vs(tmp(v), 3)
		g.VMOVUPS(mem(s, v*g.bytes()), x[0])
		g.VSUBPS(sub, x[0], x[0])
		e.of(x[0], x[1], x[2], true)
		g.VADDPS(x[0], r, r)
	}
	g.ADDQ(lds, s)
	g.ADDQ(operand.Imm(4), lse)
	g.DECQ(rows)
	g.JNZ(operand.LabelRef("loop"))
	for v, r := range sum {
		g.VADDPS(mem(mass, v*g.bytes()), r, r)
		g.VMOVUPS(r, mem(mass, v*g.bytes()))
	}
	g.end()
}
