package simd

import (
	"unsafe"

	"headinfer/kernels"
)

// Products with x in limbs. Where codes of weights are multiplied as floats, most of
// the work is making floats of them. Where a processor multiplies bytes instead, x is
// split once, for all rows of w: in each block of 32,
//
//	x ≈ s·(a₂·2¹⁶ + a₁·2⁸ + a₀), aᵢ signed bytes, s a power of two,
//
// and codes meet the three limbs in sums of integers, which are exact. Only these sums
// are rounded, to float32, before they are multiplied with the block's scale times s
// and added up in float32; scale times s is exact, for an f16 has 11 bits. Codes count
// from their least, and what that is too much comes off with the sums of x.
//
// How exact that is: s is such that the block's largest |x| is at least 2²¹·⁹⁹·s, and
// every x of the block is rounded to a multiple of s, by s/2 ≤ 2⁻²²·⁹⁹·max|x| at most.
// So a block is off by at most 2⁻²²·⁹⁹·max|x|·Σ|w|. Adding up k products in float32, as
// the other kernels do, rounds each of k/32 + 7 sums, each time by up to 2⁻²⁴ of it; limbs
// are rounded k/128 + 9 times. TestLimbProducts holds products to both bounds: to that of
// limbs whatever x is, and to that of float32 where the numbers of a block are of a size
// and k is 512 or more. What limbs lose to float32 is where a block's largest x meets a
// weight of zero: the bound counts it, and the sum does not.
//
// A block with an infinite x, or one that is not a number, gives NaN. Blocks below 2⁻¹⁰⁴
// are rounded to multiples of 2⁻¹²⁶.

// The places of a chunk of 128 elements; see gen/limbs.go.
const (
	limbColumns = 128
	limbScales  = 3 * limbColumns // bytes of limbs before the scales
	limbChunk   = limbScales + 64
	limbFloats  = limbChunk / 4
	// Behind a chunk's eight floats is room for what limbBlock writes, and for masks.
	limbWrites = limbScales/4 + 8
	limbMasks  = limbScales/4 + 12
	// A super-block of x is two chunks' limbs, two vectors of floats and such room.
	limbSuperFloats = 2*limbScales/4 + 48
)

type limbFunc func(y, x *float32, w *byte, stride uintptr, chunks, groups int, rest *uint32)

// limbProduct is how weights of one encoding, in blocks of 32, are multiplied with limbs.
type limbProduct struct {
	one, more limbFunc
	rows      int // that more takes at a time
	// split: the halves of a block lie apart in a chunk, for its codes are the low and
	// the high halves of 16 bytes; else bytes are in order.
	split bool
	least bool    // a block has a minimum, which comes to the sum of x
	zero  float32 // else the code that stands for zero
}

// mostLoads is how many vectors of 64 bytes the four blocks of a chunk are read as, at most.
const mostLoads = 3

// lay writes x, whole blocks of 32, in limbs.
func (p *limbProduct) lay(s *kernelSet, dst, x []float32) {
	between, half := 32, uintptr(16)
	if p.split {
		between, half = 16, 64
	}
	for i := 0; len(x) > 0; i++ {
		chunk := dst[i*limbFloats:][:limbFloats]
		pairs := chunk[limbScales/4:][:8]
		scale := chunk[limbWrites:][:3] // what one is worth, and the sums of a block's halves
		for b := range 4 {
			if len(x) == 0 {
				clear(pairs[2*b:])
				break
			}
			limb := (*byte)(unsafe.Add(unsafe.Pointer(&chunk[0]), b*between))
			s.limbBlock(limb, half, &x[0], &scale[0])
			by := -p.zero
			if p.least {
				by = 1
			}
			pairs[2*b], pairs[2*b+1] = scale[0], by*(scale[1]+scale[2])
			x = x[32:]
		}
	}
}

// layLimbs writes a super-block of x in limbs: runs of 64 as Lay describes them, two a
// chunk, then what one is worth in each group with a scale of its own, and what the
// minimum, or else the scale, of each group is multiplied with.
func (l *layout) layLimbs(s *kernelSet, dst []float32, x *[superBlock]float32) {
	floats := dst[2*limbScales/4:]
	worth, sums, scale := floats[:16], floats[16:32], floats[32:35]
	for place := range superBlock / 32 {
		run, half := place/2, place%2
		// The lanes of half a run have the bytes of a block in order.
		block := int(l.order[64*run+8*half]) / 32
		to := unsafe.Add(unsafe.Pointer(&dst[0]), run/2*limbScales+run%2*64+half*32)
		s.limbBlock((*byte)(to), 16, &x[32*block], &scale[0])
		if l.group == 32 {
			worth[block], worth[8+block] = scale[0], 0
			sums[block], sums[8+block] = 0, -(scale[1] + scale[2])
			continue
		}
		by := float32(-1) // of minima
		if l.group == 0 {
			by = -l.zero
		}
		for i := range 2 {
			worth[2*block+i], sums[2*block+i] = scale[0], by*scale[1+i]
		}
	}
}

// rest writes masks of the words that there are of each vector of a part of a chunk,
// of some blocks, behind the first chunk.
func (p *limbProduct) rest(dst []float32, d kernels.DType, blocks int) {
	size := d.BlockBytes()
	for i := range mostLoads {
		words := min(max(0, (blocks*size-min(64*i, 4*size-64))/2), 32)
		*(*uint32)(unsafe.Pointer(&dst[limbMasks+i])) = 1<<words - 1
	}
}

// timesLimbs is times of a vector in limbs, of blocks of 32.
func (v *Vector) timesLimbs(y []float32, w []byte, stride int) {
	blocks := v.k / 32
	var rest *uint32
	if blocks%4 > 0 {
		rest = (*uint32)(unsafe.Pointer(&v.data[limbMasks]))
	}
	run := func(f limbFunc, rows int) {
		for groups := len(y) / rows; groups > 0; {
			some := min(groups, max(1, productBytes/(rows*stride)))
			f(&y[0], &v.data[0], &w[0], uintptr(stride), blocks/4, some, rest)
			y, w, groups = y[rows*some:], w[rows*some*stride:], groups-some
		}
	}
	run(v.limbs.more, v.limbs.rows)
	run(v.limbs.one, 1)
}
