package main

import (
	"math"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// nonLinear is what the indices of IQ4_NL stand for, as in the package's plain Go.
var nonLinear = [16]int8{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}

func (g *isa) nonLinearFloats() operand.Mem {
	words := make([]uint32, len(nonLinear))
	for i, v := range nonLinear {
		words[i] = math.Float32bits(float32(v))
	}
	return g.table("nonLinear", words)
}

// nonLinearDecoder, for 8 lanes, looks a block's indices up as bytes, 16 at a time,
// before it widens them.
func (g *isa) nonLinearDecoder() decoder {
	words := make([]uint32, 8)
	for i := range words {
		for b := range 4 {
			words[i] |= uint32(uint8(nonLinear[(4*i+b)%16])) << (8 * b)
		}
	}
	return decoder{
		name: "IQ4NL", bytes: 18, shared: 3,
		constants: []operand.Mem{g.bytesOf("nonLinearLow", 0x0f), g.table("nonLinear", words)},
		head: func(at at, k, s []reg.VecPhysical) { // s: scale, low and high halves' values
			g.scale(at, s[0])
			table, nibble, low, high := k[1].AsX(), k[0].AsX(), s[1].AsX(), s[2].AsX()
			g.VMOVDQU(at(2), low)
			g.VPSRLW(operand.Imm(4), low, high)
			for _, x := range []reg.Register{low, high} {
				g.VPAND(nibble, x, x)
				g.VPSHUFB(x, table, x)
			}
		},
		part: func(i int, _ at, out reg.VecPhysical, _, s []reg.VecPhysical) {
			values := s[1+i/2].AsX()
			if i%2 == 1 {
				g.VPSRLDQ(operand.Imm(8), values, values)
			}
			g.VPMOVSXBD(values, out)
			g.VCVTDQ2PS(out, out)
			g.VMULPS(s[0], out, out)
		},
	}
}
