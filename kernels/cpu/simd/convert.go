package simd

import (
	"encoding/binary"
	"fmt"
	"math"

	"headinfer/kernels"
)

// Dequantize decodes the first len(dst) elements of src. It fails if they are
// not a whole number of blocks of d, or if src is shorter than they need.
func Dequantize(dst []float32, src []byte, d kernels.DType) error {
	want, err := d.RowBytes(len(dst))
	if err != nil {
		return fmt.Errorf("dequantize: %w", err)
	}
	if len(src) < want {
		return fmt.Errorf("dequantize: %d %s elements take %d bytes, found %d: the tensor is cut short or its type is another", len(dst), d, want, len(src))
	}
	current.Load().dequantize(dst, src, d)
	return nil
}

// HalfToFloat converts one IEEE 754 binary16 value.
func HalfToFloat(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exp, frac := uint32(h>>10)&31, uint32(h)&1023
	switch {
	case exp == 31: // infinity, or a NaN that keeps its payload
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	case exp == 0: // zero or subnormal: frac·2^-24
		v := float32(frac) * (1.0 / (1 << 24))
		return math.Float32frombits(math.Float32bits(v) | sign)
	}
	return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
}

func halfAt(src []byte, at int) float32 {
	return HalfToFloat(binary.LittleEndian.Uint16(src[at:]))
}

// dequantizeGo is the plain decoder; dst is a whole number of blocks.
func dequantizeGo(dst []float32, src []byte, d kernels.DType) {
	le := binary.LittleEndian
	switch d {
	case kernels.F32:
		for i := range dst {
			dst[i] = math.Float32frombits(le.Uint32(src[4*i:]))
		}
		return
	case kernels.F16:
		for i := range dst {
			dst[i] = halfAt(src, 2*i)
		}
		return
	case kernels.BF16:
		for i := range dst {
			dst[i] = math.Float32frombits(uint32(le.Uint16(src[2*i:])) << 16)
		}
		return
	case kernels.Int8G32, kernels.Int8G64, kernels.Int4G32, kernels.Int4G64:
		n, size := d.Block(), d.BlockBytes()
		for b := 0; b*n < len(dst); b++ {
			decodeBlock(dst[b*n:][:n], src[b*size:][:size])
		}
		return
	}
	n, size := d.Block(), d.BlockBytes()
	for b := 0; b*n < len(dst); b++ {
		if n == superBlock {
			dequantizeSuper(dst[b*n:][:n], src[b*size:][:size], d)
		} else {
			dequantizeBlock(dst[b*n:][:n], src[b*size:][:size], d)
		}
	}
}

// dequantizeBlock decodes one block of 32. In the 4- and 5-bit encodings a
// byte's low nibble is element i of the first 16 and its high nibble element i
// of the last 16; bit i of the fifth bits belongs to element i.
func dequantizeBlock(dst []float32, b []byte, d kernels.DType) {
	scale := halfAt(b, 0)
	switch d {
	case kernels.Q8_0:
		for i, q := range b[2:34] {
			dst[i] = scale * float32(int8(q))
		}
	case kernels.Q4_0:
		for i, q := range b[2:18] {
			dst[i] = scale * float32(int(q&15)-8)
			dst[i+16] = scale * float32(int(q>>4)-8)
		}
	case kernels.Q4_1:
		low := halfAt(b, 2)
		for i, q := range b[4:20] {
			dst[i] = scale*float32(q&15) + low
			dst[i+16] = scale*float32(q>>4) + low
		}
	case kernels.Q5_0:
		high := binary.LittleEndian.Uint32(b[2:])
		for i, q := range b[6:22] {
			dst[i] = scale * float32(int(uint32(q&15)|high>>i&1<<4)-16)
			dst[i+16] = scale * float32(int(uint32(q>>4)|high>>(i+16)&1<<4)-16)
		}
	case kernels.Q5_1:
		low := halfAt(b, 2)
		high := binary.LittleEndian.Uint32(b[4:])
		for i, q := range b[8:24] {
			dst[i] = scale*float32(uint32(q&15)|high>>i&1<<4) + low
			dst[i+16] = scale*float32(uint32(q>>4)|high>>(i+16)&1<<4) + low
		}
	case kernels.IQ4NL:
		for i, q := range b[2:18] {
			dst[i] = scale * float32(nonLinear[q&15])
			dst[i+16] = scale * float32(nonLinear[q>>4])
		}
	}
}

// FloatToHalf rounds to the nearest IEEE half, to even between two, and to the
// largest finite ones beyond these.
func FloatToHalf(f float32) uint16 {
	b := math.Float32bits(f)
	sign, b := uint16(b>>16&0x8000), b&0x7fffffff
	switch {
	case b > 0x7f800000:
		return sign | 0x7e00 // not a number
	case b >= 0x477ff000:
		return sign | 0x7bff
	case b < 0x38800000: // subnormal: the sum's last bits are the rounded number's
		return sign | uint16(math.Float32bits(math.Float32frombits(b)+0.5)-0x3f000000)
	}
	b += 0xfff + b>>13&1
	return sign | uint16(b>>13-112<<10)
}
