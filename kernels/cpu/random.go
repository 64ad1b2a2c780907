package cpu

import (
	"fmt"
	"math"
	"unsafe"

	"headinfer/kernels"
)

// randomPart is how many numbers of a row one worker makes at a time.
const randomPart = 4096

// Random fills a matrix with normal numbers.
func (d *Device) Random(s kernels.Stream, out kernels.Tensor, seed uint64, mean, deviation float64) {
	compute(s, "random", func(d *Device) error {
		switch out.DType {
		case kernels.F32, kernels.F16, kernels.BF16:
		default:
			return fmt.Errorf("out is %s, not f32, f16 or bf16", out)
		}
		g := newNormals(seed, mean, deviation)
		parts := (out.Cols + randomPart - 1) / randomPart
		d.pool.run(out.Rows*parts, func(_, i int) {
			r, lo := i/parts, i%parts*randomPart
			hi := min(out.Cols, lo+randomPart)
			g.fill(out.RowRange(r, r+1).ColRange(lo, hi), uint64(r)*uint64(out.Cols)+uint64(lo))
		})
		return nil
	})
}

// normals is the generator that all devices share (kernels/cuda/src/ops.cu): a
// hash of the seed and a number's place gives two uniform numbers, of which the
// Box–Muller transform makes a normal one (Box & Muller 1958). The uniforms are
// rounded to float32 as there; what follows is computed more precisely, so that
// other devices differ by their own rounding alone.
type normals struct {
	start           uint64
	mean, deviation float64
}

// golden spreads consecutive counters over 64 bits.
const golden = 0x9e3779b97f4a7c15

func newNormals(seed uint64, mean, deviation float64) normals {
	return normals{start: mix(seed + golden), mean: mean, deviation: deviation}
}

// mix makes every bit of x depend on every other.
func mix(x uint64) uint64 {
	const odd = 0xd6e8feb86659fd93
	x ^= x >> 32
	x *= odd
	x ^= x >> 32
	x *= odd
	return x ^ x>>32
}

// at returns number i of the sequence.
func (g normals) at(i uint64) float32 {
	bits := mix(g.start + i*golden)
	u := (float32(uint32(bits)) + 0.5) * 0x1p-32
	u = min(u, 1-0x1p-24) // rounding can make 1 of it, whose logarithm is 0
	turn := float64(float32(uint32(bits>>32))) * 0x1p-31
	return float32(g.mean + g.deviation*math.Sqrt(-2*logarithm(u))*cosine(turn))
}

// fill writes numbers first, first+1, … to a row.
func (g normals) fill(row kernels.Tensor, first uint64) {
	if row.DType == kernels.F32 {
		for c, out := 0, floats(row, 0); c < len(out); c++ {
			out[c] = g.at(first + uint64(c))
		}
		return
	}
	round := toBF16
	if row.DType == kernels.F16 {
		round = toF16
	}
	out := unsafe.Slice((*uint16)(row.Data), row.Cols)
	for c := range out {
		out[c] = round(g.at(first + uint64(c)))
	}
}

// logarithm is the natural one of a normal float32, to 1e-10 of its size: with
// u = m·2^e and m around 1, log m = 2 artanh((m-1)/(m+1)) as a series.
func logarithm(u float32) float64 {
	const (
		rootHalf = 0x3f3504f3 // of 0.5, as bits
		fraction = 1<<23 - 1
	)
	// Taking rootHalf off the bits makes m run from √½ to √2.
	bits := math.Float32bits(u) - rootHalf
	e := int32(bits) >> 23
	m := float64(math.Float32frombits(bits&fraction + rootHalf))
	s := (m - 1) / (m + 1)
	q := s * s
	q2 := q * q
	series := 1 + q*(1./3) + q2*(1./5+q*(1./7)+q2*(1./9+q*(1./11))) // in pairs, which do not wait for each other
	return float64(e)*math.Ln2 + 2*s*series
}

// cosine is that of turn·π, turn from 0 to 2, to 1e-9: a quarter of a turn
// further it is a sine of what is at most a quarter of a turn, whose series
// converges fast.
func cosine(turn float64) float64 {
	x := math.Pi * (math.Abs(turn-1) - 0.5)
	q := x * x
	q2 := q * q
	return x * (1 + q*(-1./6) + q2*(1./120+q*(-1./5040)+q2*(1./362880+q*(-1./39916800)+q2*(1./6227020800))))
}

// toBF16 rounds a finite number to the nearest, to even in the middle.
func toBF16(x float32) uint16 {
	bits := math.Float32bits(x)
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}

// toF16 rounds a finite number to the nearest, to even in the middle; what is
// too large becomes infinite.
func toF16(x float32) uint16 {
	bits := math.Float32bits(x)
	sign := uint16(bits >> 16 & 0x8000)
	bits &= 1<<31 - 1
	const (
		infinite  = 0x7c00
		tooLarge  = 0x477ff000 // halfway from the largest f16 to the next
		leastNorm = 0x38800000 // 2^-14, the least with a full fraction
	)
	switch {
	case bits >= tooLarge:
		return sign | infinite
	case bits < leastNorm:
		// Adding 0.5 leaves the float32 just the bits that count multiples of
		// 2^-24, rounded.
		return sign | uint16(math.Float32bits(math.Float32frombits(bits)+0.5)-math.Float32bits(0.5))
	}
	return sign | uint16((bits-112<<23+0xfff+bits>>13&1)>>13)
}
