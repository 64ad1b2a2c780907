package main

import "github.com/mmcloughlin/avo/operand"

// peak writes the two loops that a kernel's figure is a share of.
func (g *isa) peak() {
	const sums = 12 // more than the latency times the multiply–adds of a cycle
	g.begin("peakFMA", "rounds int", "does rounds of 12 independent multiply–adds.")
	n := g.arg("rounds")
	for _, r := range g.vs(0, sums+2) {
		g.zero(r)
	}
	g.Label("loop")
	for _, r := range g.vs(0, sums) {
		g.VFMADD231PS(g.v(sums), g.v(sums+1), r)
	}
	g.DECQ(n)
	g.JNZ(operand.LabelRef("loop"))
	g.end()

	g.begin("readAll", "p *byte, chunks int", "reads chunks of 512 bytes.")
	p, n := g.arg("p"), g.arg("chunks")
	g.Label("loop")
	for i := range 512 / g.bytes() {
		g.VMOVUPS(mem(p, i*g.bytes()), g.v(i%8))
	}
	g.ADDQ(operand.U32(512), p)
	g.DECQ(n)
	g.JNZ(operand.LabelRef("loop"))
	g.end()
}
