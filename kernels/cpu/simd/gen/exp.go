package main

import (
	"fmt"
	"math"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// expCode emits the exponential: x = n·ln2 + r with |r| <= ln2/2, then
// 1 + r + r²·q(r) times 2ⁿ. q is the degree-4 Chebyshev fit of (eʳ-1-r)/r²; its
// error adds 8e-9 to eʳ, an eighth of a float32's last place. ln2 is in two
// parts, the first with so few bits that n times it is exact.
type expCode struct {
	g        *isa
	tables   map[string]operand.Mem
	constant map[string]operand.Op // a table or the register that holds it
}

var expWords = []struct {
	name string
	v    float32
}{
	{"low", -104}, {"high", 100}, {"log2e", math.Log2E},
	{"ln2a", 0.69140625}, {"ln2b", 0.00174093055994530941723},
	{"c4", 0.00139262508315}, {"c3", 0.00836323288368}, {"c2", 0.041666554213},
	{"c1", 0.166665766661}, {"c0", 0.5}, {"one", 1},
}

// exp readies the constants, from register free on: all of them if there are
// 32 registers, else only those that no instruction takes from memory.
func (g *isa) exp(free int, tables map[string]operand.Mem) *expCode {
	e := &expCode{g: g, tables: tables, constant: map[string]operand.Op{}}
	for _, w := range expWords {
		if g.wide() || w.name == "low" || w.name == "high" || w.name == "one" {
			g.VMOVUPS(tables[w.name], g.v(free))
			e.constant[w.name] = g.v(free)
			free++
			continue
		}
		e.constant[w.name] = tables[w.name]
	}
	return e
}

func (g *isa) expTables() map[string]operand.Mem {
	t := map[string]operand.Mem{}
	for _, w := range expWords {
		t[w.name] = g.all("exp_"+w.name, math.Float32bits(w.v))
	}
	t["bias"] = g.all("exp_bias", 127)
	return t
}

// of replaces x by its exponential; n and p are temporaries. A NaN stays one:
// max and min return their second source then. Without bounded the argument
// must not exceed 88.
func (e *expCode) of(x, n, p reg.VecPhysical, bounded bool) {
	g, c := e.g, e.constant
	g.VMAXPS(x, c["low"], x)
	if bounded {
		g.VMINPS(x, c["high"], x)
	}
	e.reduce(x, n)
	e.series(x, p)
	g.VFMADD213PS(c["one"], x, p)
	if g.wide() {
		g.VSCALEFPS(n, p, x)
		return
	}
	// 2ⁿ in two factors, so that one beyond float32's exponents still gives
	// infinity, a subnormal or zero.
	g.VCVTPS2DQ(n, n)
	g.VPSRAD(operand.Imm(1), n, x)
	g.VPSUBD(x, n, n)
	for _, r := range []reg.VecPhysical{x, n} {
		g.VPADDD(e.tables["bias"], r, r)
		g.VPSLLD(operand.Imm(23), r, r)
		g.VMULPS(r, p, p)
	}
	g.VMOVUPS(p, x)
}

// reduce leaves n of x in n, and r in x.
func (e *expCode) reduce(x, n reg.VecPhysical) {
	g, c := e.g, e.constant
	g.VMULPS(c["log2e"], x, n)
	if g.wide() {
		g.VRNDSCALEPS(operand.Imm(8), n, n)
	} else {
		g.VROUNDPS(operand.Imm(8), n, n)
	}
	g.VFNMADD231PS(c["ln2a"], n, x)
	g.VFNMADD231PS(c["ln2b"], n, x)
}

// series leaves 1 + r·q(r) in p.
func (e *expCode) series(r, p reg.VecPhysical) {
	e.g.VMOVUPS(e.constant["c4"], p)
	for _, k := range []string{"c3", "c2", "c1", "c0", "one"} {
		e.g.VFMADD213PS(e.constant[k], r, p)
	}
}

// exponentials writes what attention and activations need of exp.
func (g *isa) exponentials() {
	t := g.expTables()
	g.softmaxLanes(3, t)
	g.softmaxLanes(1, t)
	g.massLanes(3, t)
	g.massLanes(1, t)
	g.expRow(t)
	g.gated("swiglu", "writes y = gate/(1+exp(-gate))·up.", t, func(gate operand.Mem, x, _ reg.VecPhysical) {
		g.zero(x)
		g.VSUBPS(gate, x, x)
	})
	g.geglu(t)
	g.capRow(t)
}

// softmaxLanes: lanes are queries and rows are keys, so that maxima and sums
// need no step across lanes.
func (g *isa) softmaxLanes(nv int, t map[string]operand.Mem) {
	g.begin(fmt.Sprintf("softmaxLanes%d", nv), "s *float32, keys int, m, l, alpha *float32",
		"takes scores [keys, lanes] into a running softmax: m becomes\nthe maximum, s becomes exp(s-m), l the sum so far, alpha the factor for\nwhat was summed under the old maximum. m must be finite.")
	s0, keys, m, l, alpha := g.arg("s"), g.arg("keys"), g.arg("m"), g.arg("l"), g.arg("alpha")
	top, sum := g.vs(0, nv), g.vs(nv, nv)
	// Every vector of a row has its own temporaries where there are 32
	// registers; else they take turns.
	free := 2*nv + 3
	tmp := make([][]reg.VecPhysical, nv)
	for v := range tmp {
		tmp[v] = g.vs(2*nv, 3)
		if g.wide() {
			tmp[v] = g.vs(2*nv+3*v, 3)
			free = 5 * nv
		}
	}
	e := g.exp(free, t)
	s, k := g.GP64(), g.GP64()
	g.MOVQ(s0, s)
	g.MOVQ(keys, k)
	for v := range nv {
		g.VMOVUPS(mem(m, v*g.bytes()), top[v])
	}
	g.Label("maximum")
	for v := range nv {
		g.VMAXPS(mem(s, v*g.bytes()), top[v], top[v])
	}
	g.ADDQ(operand.Imm(uint64(nv*g.bytes())), s)
	g.DECQ(k)
	g.JNZ(operand.LabelRef("maximum"))

	for v := range nv {
		x := tmp[v]
		g.VMOVUPS(mem(m, v*g.bytes()), x[0])
		g.VSUBPS(top[v], x[0], x[0])
		g.VMOVUPS(top[v], mem(m, v*g.bytes()))
		e.of(x[0], x[1], x[2], false)
		g.VMOVUPS(x[0], mem(alpha, v*g.bytes()))
		g.zero(sum[v])
	}
	g.MOVQ(s0, s)
	g.Label("exponent")
	for v := range nv {
		x := tmp[v]
		g.VMOVUPS(mem(s, v*g.bytes()), x[0])
		g.VSUBPS(top[v], x[0], x[0])
		e.of(x[0], x[1], x[2], false)
		g.VADDPS(x[0], sum[v], sum[v])
		g.VMOVUPS(x[0], mem(s, v*g.bytes()))
	}
	g.ADDQ(operand.Imm(uint64(nv*g.bytes())), s)
	g.DECQ(keys)
	g.JNZ(operand.LabelRef("exponent"))
	// A block is summed by itself: over a million keys, terms added one by one
	// to the whole sum would lose their last digits to its size.
	for v := range nv {
		g.VMOVUPS(mem(alpha, v*g.bytes()), tmp[v][0])
		g.VFMADD231PS(mem(l, v*g.bytes()), tmp[v][0], sum[v])
		g.VMOVUPS(sum[v], mem(l, v*g.bytes()))
	}
	g.end()
}

func (g *isa) expRow(t map[string]operand.Mem) {
	g.begin("expRow", "y, x *float32, vectors int, sub float32) (sum float32",
		"writes y = exp(x-sub) and returns its sum.")
	y, x, n := g.arg("y"), g.arg("x"), g.arg("vectors")
	sub, sum := g.v(0), g.v(1)
	g.broadcast("sub", sub)
	g.zero(sum)
	e := g.exp(5, t)
	g.Label("loop")
	g.VMOVUPS(mem(x, 0), g.v(2))
	g.VSUBPS(sub, g.v(2), g.v(2))
	e.of(g.v(2), g.v(3), g.v(4), true)
	g.VADDPS(g.v(2), sum, sum)
	g.VMOVUPS(g.v(2), mem(y, 0))
	g.ADDQ(operand.Imm(uint64(g.bytes())), x)
	g.ADDQ(operand.Imm(uint64(g.bytes())), y)
	g.DECQ(n)
	g.JNZ(operand.LabelRef("loop"))
	g.sumLanes(sum, g.v(0))
	g.Store(sum.AsX(), g.Return("sum"))
	g.end()
}

// gated writes a gated linear unit that is gate/(1+exp(e))·up; exponent leaves
// e in x and may use t.
func (g *isa) gated(name, doc string, tables map[string]operand.Mem, exponent func(gate operand.Mem, x, t reg.VecPhysical)) {
	g.begin(name, "y, gate, up *float32, vectors int", doc)
	y, gate, up, n := g.arg("y"), g.arg("gate"), g.arg("up"), g.arg("vectors")
	e := g.exp(5, tables)
	g.Label("loop")
	x := g.v(0)
	exponent(mem(gate, 0), x, g.v(1))
	e.of(x, g.v(1), g.v(2), true)
	g.VADDPS(e.constant["one"], x, x)
	g.VMOVUPS(mem(gate, 0), g.v(1))
	g.VDIVPS(x, g.v(1), x)
	g.VMULPS(mem(up, 0), x, x)
	g.VMOVUPS(x, mem(y, 0))
	for _, p := range []reg.GPVirtual{y, gate, up} {
		g.ADDQ(operand.Imm(uint64(g.bytes())), p)
	}
	g.DECQ(n)
	g.JNZ(operand.LabelRef("loop"))
	g.end()
}

// geglu: x/2·(1+tanh z) is x/(1+exp(-2z)), with z = sqrt(2/π)·(x + 0.044715·x³).
func (g *isa) geglu(t map[string]operand.Mem) {
	const a = -1.5957691216057308 // -2·sqrt(2/π)
	linear := g.all("gelu_linear", math.Float32bits(a))
	cubic := g.all("gelu_cubic", math.Float32bits(0.044715*a))
	g.gated("geglu", "writes y = GELU(gate)·up, GELU by its approximation with\ntanh.", t, func(gate operand.Mem, x, t reg.VecPhysical) {
		g.VMOVUPS(gate, t)
		g.VMULPS(t, t, x)
		g.VMULPS(cubic, x, x)
		g.VADDPS(linear, x, x)
		g.VMULPS(t, x, x)
	})
}

// capRow: tanh u is E/(E+2) with E = exp(2u) - 1. E is 2ⁿ·(r + r²·q(r)) + (2ⁿ-1)
// and not exp's result less 1, which would leave a small u few digits.
func (g *isa) capRow(t map[string]operand.Mem) {
	bound := float32(20) // tanh 10 is 1 in float32
	low, high := g.all("cap_low", math.Float32bits(-bound)), g.all("cap_high", math.Float32bits(bound))
	g.begin("capRow", "x *float32, vectors int, by, limit float32", "writes x = limit·tanh(x·by/2).")
	p, n := g.arg("x"), g.arg("vectors")
	by, limit, x, f, s, lo, hi := g.v(0), g.v(1), g.v(2), g.v(3), g.v(4), g.v(5), g.v(6)
	g.broadcast("by", by)
	g.broadcast("limit", limit)
	g.VMOVUPS(low, lo)
	g.VMOVUPS(high, hi)
	e := g.exp(7, t)
	one := e.constant["one"]
	g.Label("loop")
	g.VMULPS(mem(p, 0), by, x)
	g.VMAXPS(x, lo, x)
	g.VMINPS(x, hi, x)
	e.reduce(x, f)
	e.series(x, s)
	g.VMULPS(s, x, x)
	if g.wide() {
		g.VSCALEFPS(f, one, f)
	} else {
		g.VCVTPS2DQ(f, f)
		g.VPADDD(t["bias"], f, f)
		g.VPSLLD(operand.Imm(23), f, f)
	}
	g.VSUBPS(one, f, s)
	g.VFMADD213PS(s, f, x)
	g.VADDPS(one, x, s)
	g.VADDPS(one, s, s)
	g.VDIVPS(s, x, x)
	g.VMULPS(limit, x, x)
	g.VMOVUPS(x, mem(p, 0))
	g.ADDQ(operand.Imm(uint64(g.bytes())), p)
	g.DECQ(n)
	g.JNZ(operand.LabelRef("loop"))
	g.end()
}
