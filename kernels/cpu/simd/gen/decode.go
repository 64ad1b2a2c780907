package main

import (
	"math"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// at addresses the bytes of the block being decoded.
type at func(disp int) operand.Mem

// decoder turns one block of 32 encoded elements into vectors: 32/w parts, in
// order. Constants stay in registers for the whole loop; head fills registers
// that all parts of one block share.
type decoder struct {
	name      string
	bytes     int // of a block
	constants []operand.Mem
	shared    int // registers that head wants
	head      func(at at, k, s []reg.VecPhysical)
	part      func(i int, at at, out reg.VecPhysical, k, s []reg.VecPhysical)
}

func (g *isa) allDecoders() []decoder {
	ds := g.plainDecoders()
	if g.wide() {
		return append(ds, g.tableDecoders()...)
	}
	return append(ds, g.nibbleDecoders()...)
}

// scale broadcasts the f16 at a block's start into s.
func (g *isa) scale(at at, s reg.VecPhysical) {
	g.VPBROADCASTW(at(0), s.AsX())
	g.VCVTPH2PS(s.AsX(), s.AsX())
	g.VBROADCASTSS(s.AsX(), s)
}

// scaleMin broadcasts the two f16 at a block's start: they alternate in a
// vector until even and odd lanes are copied over each other.
func (g *isa) scaleMin(at at, s, m reg.VecPhysical) {
	g.VPBROADCASTD(at(0), s.AsX())
	g.VCVTPH2PS(s.AsX(), s.AsX())
	g.VMOVSHDUP(s.AsX(), m.AsX())
	g.VBROADCASTSS(s.AsX(), s)
	g.VBROADCASTSS(m.AsX(), m)
}

// plainDecoders are the encodings in which an element is a number by itself.
func (g *isa) plainDecoders() []decoder {
	return []decoder{
		{name: "F32", bytes: 128,
			part: func(i int, at at, out reg.VecPhysical, _, _ []reg.VecPhysical) {
				g.VMOVUPS(at(4*g.w*i), out)
			}},
		{name: "F16", bytes: 64,
			part: func(i int, at at, out reg.VecPhysical, _, _ []reg.VecPhysical) {
				g.VCVTPH2PS(at(2*g.w*i), out)
			}},
		{name: "BF16", bytes: 64,
			part: func(i int, at at, out reg.VecPhysical, _, _ []reg.VecPhysical) {
				g.VPMOVZXWD(at(2*g.w*i), out)
				g.VPSLLD(operand.Imm(16), out, out)
			}},
		{name: "Q80", bytes: 34, shared: 1,
			head: func(at at, _, s []reg.VecPhysical) { g.scale(at, s[0]) },
			part: func(i int, at at, out reg.VecPhysical, _, s []reg.VecPhysical) {
				g.VPMOVSXBD(at(2+g.w*i), out)
				g.VCVTDQ2PS(out, out)
				g.VMULPS(s[0], out, out)
			}},
	}
}

// tableDecoders look a 4-bit value up among the block's own sixteen values,
// which one multiply–add makes: VPERMPS uses the low four bits of an index and
// ignores the rest. A fifth bit adds 16 scales under a mask.
func (g *isa) tableDecoders() []decoder {
	values := func(name string, from int) operand.Mem {
		words := make([]uint32, 16)
		for i := range words {
			words[i] = math.Float32bits(float32(from + i))
		}
		return g.table(name, words)
	}
	offset := func(at at, k, s []reg.VecPhysical) { // s: table, index, scale
		g.scale(at, s[2])
		g.VMULPS(k[0], s[2], s[0])
	}
	minimum := func(at at, k, s []reg.VecPhysical) {
		g.scaleMin(at, s[2], s[0])
		g.VFMADD231PS(k[0], s[2], s[0])
	}
	four := func(name string, bytes, data int, k operand.Mem, scales func(at at, k, s []reg.VecPhysical)) decoder {
		return decoder{name: name, bytes: bytes, shared: 3, constants: []operand.Mem{k},
			head: func(at at, k, s []reg.VecPhysical) {
				scales(at, k, s)
				g.VPMOVZXBD(at(data), s[1])
			},
			part: func(i int, _ at, out reg.VecPhysical, _, s []reg.VecPhysical) {
				if i == 1 {
					g.VPSRLD(operand.Imm(4), s[1], s[1])
				}
				g.VPERMPS(s[0], s[1], out)
			}}
	}
	five := func(name string, bytes, high, data int, k operand.Mem, scales func(at at, k, s []reg.VecPhysical)) decoder {
		d := four(name, bytes, data, k, scales)
		d.constants = append(d.constants, g.all("sixteen"+name, math.Float32bits(16)))
		head, part := d.head, d.part
		d.head = func(at at, k, s []reg.VecPhysical) {
			head(at, k, s)
			g.VMULPS(k[1], s[2], s[2])
		}
		d.part = func(i int, at at, out reg.VecPhysical, k, s []reg.VecPhysical) {
			part(i, at, out, k, s)
			g.KMOVW(at(high+2*i), reg.K1)
			g.VADDPS(s[2], out, reg.K1, out)
		}
		return d
	}
	return []decoder{
		four("Q40", 18, 2, values("from8", -8), offset),
		four("Q41", 20, 4, values("from0", 0), minimum),
		five("Q50", 22, 2, 6, values("from16", -16), offset),
		five("Q51", 24, 4, 8, values("five0", 0), minimum),
		four("IQ4NL", 18, 2, g.nonLinearFloats(), offset),
	}
}

// nibbleDecoders, for 8 lanes, widen nibbles to integers, convert and scale.
func (g *isa) nibbleDecoders() []decoder {
	nibbles := g.all("nibble", 15)
	bit := g.all("bit4", 16)
	shifts := make([]uint32, 32)
	for i := range shifts {
		shifts[i] = uint32(i)
	}
	shift := g.table("shifts", shifts)
	// s: scale, minimum, fifth bits, temporary
	offset := func(by operand.Mem) func(at at, k, s []reg.VecPhysical) {
		return func(at at, _, s []reg.VecPhysical) {
			g.scale(at, s[0])
			g.VMULPS(by, s[0], s[1])
		}
	}
	minimum := func(at at, _, s []reg.VecPhysical) { g.scaleMin(at, s[0], s[1]) }
	decode := func(name string, bytes, high, data int, scales func(at at, k, s []reg.VecPhysical)) decoder {
		d := decoder{name: name, bytes: bytes, shared: 2, constants: []operand.Mem{nibbles}, head: scales}
		if high > 0 {
			d.shared = 4
			d.constants = append(d.constants, bit)
			d.head = func(at at, k, s []reg.VecPhysical) {
				scales(at, k, s)
				g.VPBROADCASTD(at(high), s[2])
			}
		}
		d.part = func(i int, at at, out reg.VecPhysical, k, s []reg.VecPhysical) {
			g.VPMOVZXBD(at(data+8*(i%2)), out)
			if i < 2 {
				g.VPAND(k[0], out, out)
			} else {
				g.VPSRLD(operand.Imm(4), out, out)
			}
			if high > 0 {
				g.VPSRLVD(shift.Offset(32*i), s[2], s[3])
				g.VPSLLD(operand.Imm(4), s[3], s[3])
				g.VPAND(k[1], s[3], s[3])
				g.VPOR(s[3], out, out)
			}
			g.VCVTDQ2PS(out, out)
			g.VFMADD213PS(s[1], s[0], out)
		}
		return d
	}
	minus := func(name string, v float32) operand.Mem { return g.all(name, math.Float32bits(v)) }
	return []decoder{
		decode("Q40", 18, 0, 2, offset(minus("minus8", -8))),
		decode("Q41", 20, 0, 4, minimum),
		decode("Q50", 22, 2, 6, offset(minus("minus16", -16))),
		decode("Q51", 24, 4, 8, minimum),
		g.nonLinearDecoder(),
	}
}

// decoders writes, for every encoding, the function that decodes a row and
// those that multiply rows by a vector.
func (g *isa) decoders() {
	for _, d := range g.allDecoders() {
		if !(g.wide() && d.bytes == 64) { // of 16 bits: there AVX2's loop reads memory faster
			g.product(d, 4)
		}
		g.product(d, 1)
		g.begin("decode"+d.name, "dst *float32, src *byte, blocks int", "decodes blocks of 32 elements.")
		dst, src, blocks := g.arg("dst"), g.arg("src"), g.arg("blocks")
		k, s := g.vs(8, len(d.constants)), g.vs(10, d.shared)
		g.load(d, k)
		from := func(disp int) operand.Mem { return mem(src, disp) }
		g.Label("loop")
		if d.head != nil {
			d.head(from, k, s)
		}
		for i := range 32 / g.w {
			d.part(i, from, g.v(i), k, s)
			g.VMOVUPS(g.v(i), mem(dst, i*g.bytes()))
		}
		g.ADDQ(operand.Imm(uint64(d.bytes)), src)
		g.SUBQ(operand.I8(-128), dst)
		g.DECQ(blocks)
		g.JNZ(operand.LabelRef("loop"))
		g.end()
	}
}

func (g *isa) load(d decoder, k []reg.VecPhysical) {
	for i, c := range d.constants {
		g.VMOVUPS(c, k[i])
	}
}
