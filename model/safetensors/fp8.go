package safetensors

import (
	"encoding/binary"
	"math"

	"headinfer/internal/shorten"
	"headinfer/kernels"
	"headinfer/model/tensor"
)

// decodedFP8 is what fp8 is decoded to: with 8 bits of precision where fp8 has
// at most 4, it takes half of what f32 would.
const decodedFP8 = kernels.BF16

// fp8Block is the side of a block that shares a scale, where blocks do.
const fp8Block = 128

// fp8Formats are the fp8 formats by the names that headers give them (Micikevicius
// et al. 2022): the number that each byte stands for.
var fp8Formats = map[string]*[256]float32{
	"F8_E4M3": numbers(4, func(exponent, fraction int) bool { return exponent == 15 && fraction == 7 }),
	"F8_E5M2": numbers(5, func(exponent, _ int) bool { return exponent == 31 }),
}

// numbers lists what bytes of a sign, some bits of exponent and a fraction stand
// for. special tells those that are no finite numbers: infinity if the fraction is
// 0, and none otherwise.
func numbers(exponentBits int, special func(exponent, fraction int) bool) *[256]float32 {
	fractionBits := 7 - exponentBits
	bias := 1<<(exponentBits-1) - 1
	var all [256]float32
	for b := range all {
		exponent, fraction := b>>fractionBits&(1<<exponentBits-1), b&(1<<fractionBits-1)
		var v float64
		switch {
		case special(exponent, fraction) && fraction == 0:
			v = math.Inf(1)
		case special(exponent, fraction):
			v = math.NaN()
		case exponent == 0:
			v = math.Ldexp(float64(fraction), 1-bias-fractionBits)
		default:
			v = math.Ldexp(float64(1<<fractionBits+fraction), exponent-bias-fractionBits)
		}
		if b >= 128 {
			v = math.Copysign(v, -1)
		}
		all[b] = float32(v)
	}
	return &all
}

// scale gives the matrices in fp8 their scales.
func (s *Set) scale() error {
	for i := range s.entries {
		e := &s.entries[i]
		if e.fp8 == nil {
			continue
		}
		if len(e.Shape) != 2 {
			return e.wrong(ErrUnsupported, "fp8 in shape %s, and only matrices are read in fp8; convert the tensor to BF16", tensor.FormatShape(e.Shape))
		}
		scales, err := s.scalesOf(e)
		if err != nil {
			return err
		}
		e.Decode = (&fp8{numbers: e.fp8, cols: e.Shape[1], data: e.Data, scales: scales}).decode
	}
	return nil
}

// scalesOf finds the tensor of a matrix's scales.
func (s *Set) scalesOf(e *entry) (scales, error) {
	rows, cols := e.Shape[0], e.Shape[1]
	for _, suffix := range []string{"_scale_inv", "_scale"} {
		i, ok := s.index[e.Name+suffix]
		if !ok {
			continue
		}
		t := s.entries[i]
		found := scales{Tensor: t.Tensor}
		blocks := func(n int) int { return (n + fp8Block - 1) / fp8Block }
		switch elements, shape := len(t.Data)/t.DType.BlockBytes(), t.Shape; {
		case t.fp8 != nil:
			return found, e.wrong(ErrUnsupported, "its scales (%s) are in fp8 themselves; convert them to F32", t.Name)
		case elements == 1:
			found.rows, found.cols, found.across = max(rows, 1), max(cols, 1), 1
		case elements == rows && len(shape) <= 2 && shape[0] == rows:
			found.rows, found.cols, found.across = 1, max(cols, 1), 1
		case len(shape) == 2 && shape[0] == blocks(rows) && shape[1] == blocks(cols):
			found.rows, found.cols, found.across = fp8Block, fp8Block, shape[1]
		default:
			return found, e.wrong(ErrUnsupported, "the scales %s do not go with %s; expected one number, one a row, or one for each block of %d × %d",
				t, tensor.FormatShape(e.Shape), fp8Block, fp8Block)
		}
		return found, nil
	}
	return scales{}, e.wrong(ErrUnsupported, "fp8 without scales: there is neither %q nor %q; download the model again, or convert the tensor to BF16",
		shorten.Text(e.Name)+"_scale_inv", shorten.Text(e.Name)+"_scale")
}

// scales are a matrix's scales.
type scales struct {
	tensor.Tensor
	rows, cols int // of the matrix, that share one
	across     int // scales side by side
}

// at returns a scale by its number.
func (s scales) at(i int) float32 {
	switch s.DType {
	case kernels.F32:
		return math.Float32frombits(binary.LittleEndian.Uint32(s.Data[4*i:]))
	case kernels.BF16:
		return math.Float32frombits(uint32(binary.LittleEndian.Uint16(s.Data[2*i:])) << 16)
	}
	return float16(binary.LittleEndian.Uint16(s.Data[2*i:]))
}

// float16 returns what the bits of an f16 stand for.
func float16(bits uint16) float32 {
	exponent, fraction := int(bits>>10&31), float64(bits&1023)
	v := math.Ldexp(1024+fraction, exponent-25)
	switch {
	case exponent == 0:
		v = math.Ldexp(fraction, -24)
	case exponent == 31 && fraction == 0:
		v = math.Inf(1)
	case exponent == 31:
		v = math.NaN()
	}
	if bits>>15 != 0 {
		v = -v
	}
	return float32(v)
}

// fp8 is a matrix in fp8.
type fp8 struct {
	numbers *[256]float32
	cols    int
	data    []byte // [rows, cols]
	scales  scales
}

// decode writes rows [from, to) to dst in bf16. All that shares a scale looks its
// results up in one table.
func (m *fp8) decode(dst []byte, from, to int) {
	s := m.scales
	var table [256]uint16
	for top := from; top < to; {
		bottom := min(to, (top/s.rows+1)*s.rows)
		for left := 0; left < m.cols; left += s.cols {
			right := min(m.cols, left+s.cols)
			scale := s.at(top/s.rows*s.across + left/s.cols)
			for b, v := range m.numbers {
				table[b] = bf16(v * scale)
			}
			for row := top; row < bottom; row++ {
				in := m.data[row*m.cols+left : row*m.cols+right]
				out := dst[((row-from)*m.cols+left)*2:][:2*len(in)]
				for ; len(in) >= 4 && len(out) >= 8; in, out = in[4:], out[8:] {
					binary.LittleEndian.PutUint64(out, uint64(table[in[0]])|uint64(table[in[1]])<<16|uint64(table[in[2]])<<32|uint64(table[in[3]])<<48)
				}
				for i, b := range in {
					binary.LittleEndian.PutUint16(out[2*i:], table[b])
				}
			}
		}
		top = bottom
	}
}

// bf16 rounds to the nearest bf16, ties to even.
func bf16(v float32) uint16 {
	bits := math.Float32bits(v)
	if v != v {
		return uint16(bits>>16) | 0x40 // rounding could make an infinity of it
	}
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}
