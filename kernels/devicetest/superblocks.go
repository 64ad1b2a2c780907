package devicetest

import (
	"encoding/binary"

	"headinfer/kernels"
)

// superScales are scales and minima in half precision, by where they are in a block
// of random bits: plain ones, for which elements are of magnitude 1.
var superScales = map[kernels.DType]map[int]uint16{
	kernels.Q2K:   {80: 0x2ccd, 82: 0xac00}, // 0.075, -1/16
	kernels.Q3K:   {108: 0x2428},            // 0.0162
	kernels.Q4K:   {0: 0x1c29, 2: 0x2400},   // 0.0041, 1/64
	kernels.Q5K:   {0: 0x1829, 2: 0x2400},   // 0.0020, 1/64
	kernels.Q6K:   {208: 0x0ccd},            // 0.00029
	kernels.IQ4NL: {0: 0x2029},              // 0.0081
}

// superBlock puts plain scales into a block of random bits, and returns what its
// elements are then.
func superBlock(block []byte, d kernels.DType) []float64 {
	for at, bits := range superScales[d] {
		binary.LittleEndian.PutUint16(block[at:], bits)
	}
	scaleAt := func(at int) float64 { return half(binary.LittleEndian.Uint16(block[at:])) }
	values := make([]float64, d.Block())
	switch d {
	case kernels.Q2K:
		for i := range values {
			s, q := block[i/16], crumb(block[16:], i)
			values[i] = scaleAt(80)*float64(s&15)*q - scaleAt(82)*float64(s>>4)
		}
	case kernels.Q3K:
		for i := range values {
			third := float64(block[i%32] >> (i / 32) & 1)
			g := i / 16
			low, high := block[96+g%8]>>(4*(g/8))&15, block[104+g%4]>>(2*(g/4))&3
			values[i] = scaleAt(108) * (float64(low|high<<4) - 32) * (crumb(block[32:], i) + 4*third - 4)
		}
	case kernels.Q4K, kernels.Q5K:
		var sixes [16]byte // scales, then minima
		for g := range 4 {
			s, m, last := block[4+g], block[8+g], block[12+g]
			sixes[g], sixes[8+g] = s&63, m&63
			sixes[4+g], sixes[12+g] = s>>6<<4|last&15, m>>6<<4|last>>4
		}
		for i := range values {
			g, fifth, data := i/32, 0.0, 16
			if d == kernels.Q5K {
				fifth, data = float64(block[16+i%32]>>g&1), 48
			}
			q := float64(block[data+g/2*32+i%32]>>(g%2*4)&15) + 16*fifth
			values[i] = scaleAt(0)*float64(sixes[g])*q - scaleAt(2)*float64(sixes[8+g])
		}
	case kernels.Q6K:
		for i := range values {
			low := float64(block[i/128*64+i%64] >> (i % 128 / 64 * 4) & 15)
			values[i] = scaleAt(208) * float64(int8(block[192+i/16])) * (low + 16*crumb(block[128:], i) - 32)
		}
	case kernels.IQ4NL:
		table := [...]float64{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}
		for i := range values {
			values[i] = scaleAt(0) * table[block[2+i%16]>>(i/16*4)&15]
		}
	default:
		return nil
	}
	return values
}

// crumb is pair of bits i of a super-block: the 32 bytes of each 128 elements have a
// run of 32 elements in their lowest bits, and the last run in their highest.
func crumb(data []byte, i int) float64 {
	return float64(data[i/128*32+i%32] >> (i % 128 / 32 * 2) & 3)
}
