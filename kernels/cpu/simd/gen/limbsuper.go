package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Super-blocks times a vector in limbs: the codes' bytes are as for lanes, and need
// not become floats. Runs of x lie as those bytes do, two of them in a chunk of limbs;
// behind the limbs are what one is worth for each scale's elements, and then what is
// multiplied with the minima, or with the scales where a code other than 0 stands for
// zero. A lane's four products with a code of up to 63 and 24 bits of x fit an integer.
type limbSuper struct {
	laneBlock
	mask reg.VecPhysical // of a code's bits, where there are others
}

// limbSuperBytes is what 256 elements of x take: two chunks of limbs, two vectors, and
// room that the package uses.
const (
	limbSuperScales = 2 * limbScales
	limbSuperBytes  = limbSuperScales + 192
)

// limbBytes are the codes after a shift by n, without what is beside them.
func (l *lanes) limbBytes(n int, codes reg.VecPhysical) reg.VecPhysical {
	if !l.limbs.apart {
		return codes
	}
	out := l.t[6]
	if n > 0 {
		l.VPSRLD(operand.Imm(uint64(n)), codes, out)
		codes = out
	}
	l.VPANDD(l.limbs.mask, codes, out)
	return out
}

// limbMinima multiplies minima with the sums of x. Q2_K gives its scales first, whose
// codes need nothing, and Q4_K and Q5_K have both in one vector.
func (l *lanes) limbMinima(i int, v reg.VecPhysical) {
	if l.limbs.name == "Q2K" && i == 0 {
		return
	}
	l.VFMADD231PS(mem(l.x, limbSuperScales+64), v, l.least)
}

// limbRun multiplies 64 codes with run i of x. The first makes the scales those of
// integers, for all.
func (l *lanes) limbRun(i int, codes, scales reg.VecPhysical) {
	sum, scale := l.t[7], l.t[6]
	if i == 0 {
		if l.limbs.signed() {
			l.VFMADD231PS(mem(l.x, limbSuperScales+64), scales, l.least)
		}
		l.VMULPS(mem(l.x, limbSuperScales), scales, scales)
	}
	l.zero(sum)
	for limb := 2; limb >= 0; limb-- {
		l.VPDPBUSD(mem(l.x, i/2*limbScales+limb*limbBytes+i%2*64), codes, sum)
		if limb > 0 {
			l.VPSLLD(operand.Imm(8), sum, sum)
		}
	}
	l.VCVTDQ2PS(sum, sum)
	l.VPERMPS(scales, l.k[i], scale)
	l.VFMADD231PS(scale, sum, l.sums[i])
}

// signed reports whether there are no minima, and a code in the middle stands for zero.
func (b laneBlock) signed() bool { return b.name == "Q3K" || b.name == "Q6K" }
