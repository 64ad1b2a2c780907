package simd

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"

	"headinfer/kernels"
)

// The encodings of keys and values in a cache, kernels.KVCodes. A block is an
// f16 scale, an f16 minimum and its codes.
const codesAt = 4 // bytes of a block before its codes

// codeBits returns the bits of a code.
func codeBits(d kernels.DType) int {
	switch d {
	case kernels.Int8G32, kernels.Int8G64:
		return 8
	case kernels.Int4G32, kernels.Int4G64:
		return 4
	}
	panic(fmt.Sprintf("simd: %s is not an encoding of keys and values", d))
}

// DequantizeKeys decodes records of keys, as kernels.KV has them in one of
// kernels.KVCodes: dst, [tokens, headDim], is a whole number of records, and
// headDim of blocks. (Values are blocks in order: Dequantize decodes them.)
func DequantizeKeys(dst []float32, src []byte, d kernels.DType, headDim int) {
	bits, n, size := codeBits(d), d.Block(), d.BlockBytes()
	if headDim <= 0 || headDim%n != 0 || len(dst)%(n*headDim) != 0 {
		panic(fmt.Sprintf("simd: %d keys' numbers of head_dim %d are not whole records of %s", len(dst), headDim, d))
	}
	record := headDim * size
	need("keys' codes", len(src), len(dst)/(n*headDim)*record)
	s := current.Load()
	f := s.keys8
	if bits == 4 {
		f = s.keys4
	}
	for len(dst) > 0 {
		f(&dst[0], uintptr(4*headDim), &src[0], uintptr(size), (size-codesAt)/16, headDim/s.lanes)
		dst, src = dst[n*headDim:], src[record:]
	}
}

// keysGo decodes a record of keys channel by channel.
func keysGo(bits int) keysFunc {
	return func(dst *float32, ldd uintptr, src *byte, block uintptr, strips, groups int) {
		var x [64]float32
		n := 16 * strips * 8 / bits
		for c := range uintptr(groups * goLanes) {
			decodeBlock(x[:n], unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(src), c*block)), block))
			for t, v := range x[:n] {
				*(*float32)(unsafe.Add(unsafe.Pointer(dst), uintptr(t)*ldd+4*c)) = v
			}
		}
	}
}

// decodeBlock writes the numbers, len(x) of them, that a block stands for: 8-bit
// codes if it has as many bytes of them, else 4-bit ones.
func decodeBlock(x []float32, block []byte) {
	scale, least := halfAt(block, 0), halfAt(block, 2)
	codes := block[codesAt:]
	if len(codes) == len(x) {
		for i, b := range codes {
			x[i] = float32(b)*scale + least
		}
		return
	}
	low, high := x[:len(codes)], x[len(codes):]
	for i, b := range codes {
		low[i], high[i] = float32(b&15)*scale+least, float32(b>>4)*scale+least
	}
}

// Quantize encodes x in one of kernels.KVCodes: dst takes the blocks in order.
// It fails if x is not a whole number of them. A block's minimum is its least
// number and its scale what lies between that and the largest over the largest
// code, both rounded to the nearest finite f16; its codes are the nearest. A
// block with a NaN stands for NaNs.
func Quantize(dst []byte, x []float32, d kernels.DType) error {
	want, err := d.RowBytes(len(x))
	if err != nil {
		return fmt.Errorf("quantize: %w", err)
	}
	need("quantized blocks", len(dst), want)
	n, size, bits := d.Block(), d.BlockBytes(), codeBits(d)
	for ; len(x) > 0; x, dst = x[n:], dst[size:] {
		encodeBlock(dst[:size], x[:n], float32(int(1)<<bits-1))
	}
	return nil
}

// encodeBlock writes the block that stands for x, with codes up to most.
func encodeBlock(block []byte, x []float32, most float32) {
	low, high := ordered(x[0]), ordered(x[0])
	for _, v := range x {
		low, high = min(low, ordered(v)), max(high, ordered(v))
	}
	least16, codes := FloatToHalf(unordered(low)), block[codesAt:]
	least := HalfToFloat(least16)
	// The minimum may have been rounded to above all numbers.
	scale16 := FloatToHalf(max(0, unordered(high)-least) / most)
	binary.LittleEndian.PutUint16(block, scale16)
	binary.LittleEndian.PutUint16(block[2:], least16)
	inverse := float32(0)
	if scale := HalfToFloat(scale16); scale > 0 {
		inverse = 1 / scale
	}
	if len(codes) == len(x) {
		for i, v := range x {
			codes[i] = nearestCode((v-least)*inverse, most)
		}
		return
	}
	for i, v := range x[:len(codes)] {
		codes[i] = nearestCode((v-least)*inverse, most) | nearestCode((x[len(codes)+i]-least)*inverse, most)<<4
	}
}

// ordered returns an integer that compares as x does, without a branch; NaNs
// come first or last.
func ordered(x float32) int32 {
	b := int32(math.Float32bits(x))
	return b ^ b>>31&math.MaxInt32
}

func unordered(b int32) float32 { return math.Float32frombits(uint32(b ^ b>>31&math.MaxInt32)) }

// nearestCode rounds x, in steps from the minimum, to a code. A NaN is 0.
func nearestCode(x, most float32) byte {
	x += 0.5
	if x > most {
		return byte(most)
	}
	if x > 0 {
		return byte(int32(x))
	}
	return 0
}
