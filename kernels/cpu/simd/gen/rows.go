package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// rows writes the element-by-element functions. They are bound by memory, so
// that one vector a step is enough.
func (g *isa) rows() {
	g.reduction("sumSquares", "returns Σ x².", func(x operand.Mem, s, t reg.VecPhysical) {
		g.VMOVUPS(x, t)
		g.VFMADD231PS(t, t, s)
	}, false)
	g.reduction("maxRow", "returns the largest element.", func(x operand.Mem, s, _ reg.VecPhysical) {
		g.VMAXPS(x, s, s)
	}, true)
	g.elementwise("addRow", "y, x *float32", "adds x to y.", func(p map[string]operand.Mem, _ []reg.VecPhysical) {
		g.VMOVUPS(p["x"], g.v(0))
		g.VADDPS(p["y"], g.v(0), g.v(0))
		g.VMOVUPS(g.v(0), p["y"])
	}, []string{"y", "x"}, nil)
	g.elementwise("scaleRow", "y, x, w *float32", "writes y = x·a·w.", func(p map[string]operand.Mem, k []reg.VecPhysical) {
		g.VMULPS(p["x"], k[0], g.v(0))
		g.VMULPS(p["w"], g.v(0), g.v(0))
		g.VMOVUPS(g.v(0), p["y"])
	}, []string{"y", "x", "w"}, []string{"a"})
	g.elementwise("addScaleRow", "y, x, w *float32", "adds x·a·w to y.", func(p map[string]operand.Mem, k []reg.VecPhysical) {
		g.VMULPS(p["x"], k[0], g.v(0))
		g.VMOVUPS(p["y"], g.v(1))
		g.VFMADD231PS(p["w"], g.v(0), g.v(1))
		g.VMOVUPS(g.v(1), p["y"])
	}, []string{"y", "x", "w"}, []string{"a"})
	g.elementwise("blendRow", "y, x *float32", "writes y = a·y + b·x.", func(p map[string]operand.Mem, k []reg.VecPhysical) {
		g.VMULPS(p["y"], k[0], g.v(0))
		g.VFMADD231PS(p["x"], k[1], g.v(0))
		g.VMOVUPS(g.v(0), p["y"])
	}, []string{"y", "x"}, []string{"a", "b"})
	g.elementwise("timesRow", "y, x *float32", "writes y = a·x.", func(p map[string]operand.Mem, k []reg.VecPhysical) {
		g.VMULPS(p["x"], k[0], g.v(0))
		g.VMOVUPS(g.v(0), p["y"])
	}, []string{"y", "x"}, []string{"a"})
	g.elementwise("rotateRow", "x0, x1, cos, sin *float32", "turns the pairs (x0[i], x1[i]).", func(p map[string]operand.Mem, _ []reg.VecPhysical) {
		a, b, c, s := g.v(0), g.v(1), g.v(2), g.v(3)
		g.VMOVUPS(p["x0"], a)
		g.VMOVUPS(p["x1"], b)
		g.VMOVUPS(p["cos"], c)
		g.VMOVUPS(p["sin"], s)
		g.VMULPS(s, b, g.v(4))
		g.VFMSUB231PS(c, a, g.v(4))
		g.VMULPS(s, a, a)
		g.VFMADD231PS(c, b, a)
		g.VMOVUPS(g.v(4), p["x0"])
		g.VMOVUPS(a, p["x1"])
	}, []string{"x0", "x1", "cos", "sin"}, nil)
}

func (g *isa) elementwise(name, params, doc string, body func(map[string]operand.Mem, []reg.VecPhysical), pointers, scalars []string) {
	list := params + ", vectors int"
	for _, s := range scalars {
		list += ", " + s + " float32"
	}
	g.begin(name, list, doc)
	n := g.arg("vectors")
	at, regs := map[string]operand.Mem{}, []reg.GPVirtual{}
	for _, p := range pointers {
		r := g.arg(p)
		at[p], regs = mem(r, 0), append(regs, r)
	}
	var k []reg.VecPhysical
	for i, s := range scalars {
		k = append(k, g.v(8+i))
		g.broadcast(s, k[i])
	}
	g.Label("loop")
	body(at, k)
	for _, r := range regs {
		g.ADDQ(operand.Imm(uint64(g.bytes())), r)
	}
	g.DECQ(n)
	g.JNZ(operand.LabelRef("loop"))
	g.end()
}

func (g *isa) reduction(name, doc string, step func(x operand.Mem, s, t reg.VecPhysical), maximum bool) {
	g.begin(name, "x *float32, vectors int) (r float32", doc)
	x, n := g.arg("x"), g.arg("vectors")
	s := g.v(0)
	if maximum {
		g.VMOVUPS(mem(x, 0), s)
	} else {
		g.zero(s)
	}
	g.Label("loop")
	step(mem(x, 0), s, g.v(1))
	g.ADDQ(operand.Imm(uint64(g.bytes())), x)
	g.DECQ(n)
	g.JNZ(operand.LabelRef("loop"))
	if maximum {
		g.maxLanes(s, g.v(1))
	} else {
		g.sumLanes(s, g.v(1))
	}
	g.Store(s.AsX(), g.Return("r"))
	g.end()
}

// maxLanes leaves the largest of v's lanes in its lane 0.
func (g *isa) maxLanes(v, t reg.VecPhysical) {
	if g.wide() {
		g.VEXTRACTF64X4(operand.Imm(1), v, t.AsY())
		g.VMAXPS(t.AsY(), v.AsY(), v.AsY())
	}
	g.VEXTRACTF128(operand.Imm(1), v.AsY(), t.AsX())
	g.VMAXPS(t.AsX(), v.AsX(), v.AsX())
	g.VPERMILPS(operand.Imm(0x4e), v.AsX(), t.AsX())
	g.VMAXPS(t.AsX(), v.AsX(), v.AsX())
	g.VPERMILPS(operand.Imm(0xb1), v.AsX(), t.AsX())
	g.VMAXPS(t.AsX(), v.AsX(), v.AsX())
}
