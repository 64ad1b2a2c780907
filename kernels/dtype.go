package kernels

import "fmt"

// DType is the encoding of a tensor's elements.
type DType uint8

// Encodings. The names of the quantised ones are GGUF's; each packs a row in
// blocks of 32 elements, or, if it ends in K, in super-blocks of 256. A
// super-block has one f16 scale, and one f16 minimum if any, for the integer
// scales and minima of its groups of 16 or 32 elements.
const (
	Invalid DType = iota
	F32
	F16
	BF16
	Q8_0 // f16 scale, 32 int8
	Q4_0 // f16 scale, 32 4-bit values offset by 8
	Q4_1 // f16 scale, f16 minimum, 32 4-bit values
	Q5_0 // f16 scale, 32 fifth bits, 32 4-bit values offset by 16
	Q5_1 // f16 scale, f16 minimum, 32 fifth bits, 32 4-bit values

	Q2K   // 2-bit values, a 4-bit scale and minimum for every 16
	Q3K   // 3-bit values offset by 4, a 6-bit scale offset by 32 for every 16
	Q4K   // 4-bit values, a 6-bit scale and minimum for every 32
	Q5K   // 5-bit values, a 6-bit scale and minimum for every 32
	Q6K   // 6-bit values offset by 32, a signed 8-bit scale for every 16
	IQ4NL // f16 scale, 32 4-bit indices into a fixed table of 16 values

	// Encodings of keys and values in a cache, which lose precision; KV says how
	// they lie. A block is an f16 scale, an f16 minimum, and 32 or 64 codes of 8
	// or 4 bits: a number is code*scale + minimum. Of 4-bit codes, a byte has
	// code i in its low half, and code i plus half a block in its high half.
	Int8G32
	Int8G64
	Int4G32
	Int4G64
)

type dtypeInfo struct {
	name  string
	block int // elements a block
	bytes int // bytes a block
}

var dtypes = [...]dtypeInfo{
	Invalid: {"invalid", 1, 0},
	F32:     {"f32", 1, 4},
	F16:     {"f16", 1, 2},
	BF16:    {"bf16", 1, 2},
	Q8_0:    {"q8_0", 32, 34},
	Q4_0:    {"q4_0", 32, 18},
	Q4_1:    {"q4_1", 32, 20},
	Q5_0:    {"q5_0", 32, 22},
	Q5_1:    {"q5_1", 32, 24},
	Q2K:     {"q2_k", 256, 84},
	Q3K:     {"q3_k", 256, 110},
	Q4K:     {"q4_k", 256, 144},
	Q5K:     {"q5_k", 256, 176},
	Q6K:     {"q6_k", 256, 210},
	IQ4NL:   {"iq4_nl", 32, 18},
	Int8G32: {"int8/32", 32, 36},
	Int8G64: {"int8/64", 64, 68},
	Int4G32: {"int4/32", 32, 20},
	Int4G64: {"int4/64", 64, 36},
}

// DTypes lists the encodings of weights.
func DTypes() []DType { return between(F32, IQ4NL) }

// KVCodes lists the encodings of keys and values that lose precision.
func KVCodes() []DType { return between(Int8G32, Int4G64) }

func between(first, last DType) []DType {
	var all []DType
	for d := first; d <= last; d++ {
		all = append(all, d)
	}
	return all
}

func (d DType) info() dtypeInfo {
	if int(d) >= len(dtypes) {
		return dtypes[Invalid]
	}
	return dtypes[d]
}

// String returns the lower-case name, such as "bf16" or "q4_1".
func (d DType) String() string { return d.info().name }

// Block returns how many consecutive elements of a row are encoded together.
func (d DType) Block() int { return d.info().block }

// BlockBytes returns the bytes of one block.
func (d DType) BlockBytes() int { return d.info().bytes }

// Quantized reports whether elements share a scale in blocks.
func (d DType) Quantized() bool { return d.Block() > 1 }

// RowBytes returns the bytes of n consecutive elements. It fails if n is not a
// whole number of blocks.
func (d DType) RowBytes(n int) (int, error) {
	i := d.info()
	if i.bytes == 0 {
		return 0, fmt.Errorf("dtype %s has no size", d)
	}
	if n < 0 || n%i.block != 0 {
		return 0, fmt.Errorf("a row of %d elements is not a whole number of %s blocks of %d", n, d, i.block)
	}
	return n / i.block * i.bytes, nil
}
