package simd

import "headinfer/kernels"

// Super-blocks of 256 elements, and the blocks of IQ4_NL, in plain Go. In all of
// them the product of a group's scale and an element's integer has at most 24
// bits and is exact, so that subtracting the minimum rounds once, whether or not
// the multiplication is fused with it: every level gives the same bits.

// superBlock is how many elements one has.
const superBlock = 256

// nonLinear is what the 4-bit indices of IQ4_NL stand for.
var nonLinear = [16]int8{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}

// dequantizeSuper decodes one super-block.
func dequantizeSuper(dst []float32, b []byte, d kernels.DType) {
	switch d {
	case kernels.Q2K:
		dequantizeQ2K(dst, b)
	case kernels.Q3K:
		dequantizeQ3K(dst, b)
	case kernels.Q4K:
		dequantizeQ4K(dst, b)
	case kernels.Q5K:
		dequantizeQ5K(dst, b)
	case kernels.Q6K:
		dequantizeQ6K(dst, b)
	}
}

// dequantizeQ2K: 16 bytes of a scale and a minimum, 64 of values, scale, minimum.
// The values of each 128 elements are in 32 bytes, those of a run of 32 elements
// in the same two bits of all of them.
func dequantizeQ2K(dst []float32, b []byte) {
	groups, values := b[:16], b[16:80]
	scale, least := halfAt(b, 80), halfAt(b, 82)
	for g, of := range groups {
		s, m := scale*float32(of&15), least*float32(of>>4)
		shift := g / 2 % 4 * 2
		for i, q := range values[g/8*32+g%2*16:][:16] {
			dst[16*g+i] = s*float32(q>>shift&3) - m
		}
	}
}

// dequantizeQ3K: 32 bytes of third bits, run by run of 32 elements, then the two
// low bits as in Q2_K, 12 bytes of scales, and the scale.
func dequantizeQ3K(dst []float32, b []byte) {
	third, values, scales := b[:32], b[32:96], b[96:108]
	scale := halfAt(b, 108)
	for g := range 16 {
		// The low 4 bits of 16 scales are in 8 bytes, the high 2 bits in 4.
		six := scales[g%8]>>(g/8*4)&15 | scales[8+g%4]>>(g/4*2)&3<<4
		s := scale * float32(int(six)-32)
		shift := g / 2 % 4 * 2
		high := third[g%2*16:][:16]
		for i, q := range values[g/8*32+g%2*16:][:16] {
			dst[16*g+i] = s * float32(int(q>>shift&3|high[i]>>(g/2)&1<<2)-4)
		}
	}
}

// sixBits returns scale and minimum of group g of Q4_K and Q5_K: 12 bytes have the
// 6 bits of the first four groups' scales and then of their minima, in the low
// bits; then the low 4 bits of the last four groups' scales and minima, whose high
// 2 bits are in the high bits of the first 8 bytes.
func sixBits(b []byte, g int) (scale, least byte) {
	if g < 4 {
		return b[g] & 63, b[g+4] & 63
	}
	return b[g+4]&15 | b[g-4]>>6<<4, b[g+4]>>4 | b[g]>>6<<4
}

// dequantizeQ4K: scale, minimum, 12 bytes of scales and minima, 128 of values. The
// values of each 64 elements are in 32 bytes, those of the first 32 in the low
// halves.
func dequantizeQ4K(dst []float32, b []byte) {
	scale, least := halfAt(b, 0), halfAt(b, 2)
	for g := range 8 {
		six, minimum := sixBits(b[4:16], g)
		s, m := scale*float32(six), least*float32(minimum)
		shift := g % 2 * 4
		for i, q := range b[16+g/2*32:][:32] {
			dst[32*g+i] = s*float32(q>>shift&15) - m
		}
	}
}

// dequantizeQ5K is Q4_K with 32 bytes before the values, whose bit g is the fifth
// of group g.
func dequantizeQ5K(dst []float32, b []byte) {
	scale, least := halfAt(b, 0), halfAt(b, 2)
	fifth := b[16:48]
	for g := range 8 {
		six, minimum := sixBits(b[4:16], g)
		s, m := scale*float32(six), least*float32(minimum)
		shift := g % 2 * 4
		for i, q := range b[48+g/2*32:][:32] {
			dst[32*g+i] = s*float32(q>>shift&15|fifth[i]>>g&1<<4) - m
		}
	}
}

// dequantizeQ6K: 128 bytes of low halves, 64 of the two high bits, 16 scales, and
// the scale. The low halves of each 128 elements are in 64 bytes, of the first 64
// elements in their low halves; the high bits lie as in Q2_K.
func dequantizeQ6K(dst []float32, b []byte) {
	low, high, scales := b[:128], b[128:192], b[192:208]
	scale := halfAt(b, 208)
	for g, of := range scales {
		s := scale * float32(int8(of))
		shift := g / 2 % 4
		top := high[g/8*32+g%2*16:][:16]
		for i, q := range low[g/8*64+g%4*16:][:16] {
			dst[16*g+i] = s * float32(int(q>>(shift/2*4)&15|top[i]>>(2*shift)&3<<4)-32)
		}
	}
}
