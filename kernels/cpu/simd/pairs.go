package simd

import (
	"errors"
	"math"
	"unsafe"

	"headinfer/kernels"
)

// Products in bf16 (AVX512-BF16): lossy, and twice the rate of float32's. X is rounded
// to bf16, to the nearest, ties to even; W is bf16 as it lies. A pair of neighbouring
// columns takes the place of a float, in X, in panels of W and in the tiles: each adds
// two exact products to its float32 sum, the odd column's first, and rounds after each.
// Numbers below the smallest normal float32 count as zeros, in X, in W and as sums.

// ErrNoPairs says that this processor, or the level in use, cannot multiply bf16.
var ErrNoPairs = errors.New("the processor has no AVX512-BF16, or HEADINFER_SIMD leaves it out")

// CanPairs returns nil if GEMMPairs can be used, and ErrNoPairs if not.
func CanPairs() error {
	if current.Load().roundPairs == nil {
		return ErrNoPairs
	}
	return nil
}

// BeginPairs makes room for [m, k] in pairs, which calls of PackPairs fill; k is even.
func (p *Packed) BeginPairs(m, k int) { p.Begin(m, k/2) }

// PackPairs rounds and lays out rows [lo, hi) of x, whose rows are ldx floats apart.
// Workers may each lay out their own.
func (p *Packed) PackPairs(x []float32, ldx, lo, hi int) {
	k, s := 2*p.k, current.Load()
	if lo < hi {
		need("pack x", len(x), (hi-1)*ldx+k)
	}
	for r := lo; r < hi; r++ {
		row, from := p.data[r*p.ld:][:p.ld], x[r*ldx:][:k]
		blocks := k / 32
		if blocks > 0 {
			s.roundPairs(&row[0], &from[0], blocks)
		}
		rest := unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(row))), 2*len(row))[32*blocks:]
		for i := range rest {
			rest[i] = 0
			if c := 32*blocks + i; c < k {
				rest[i] = roundBF16(from[c])
			}
		}
	}
}

// roundBF16 rounds to the nearest bf16, to even between two, as AVX512-BF16 does.
func roundBF16(f float32) uint16 {
	b := math.Float32bits(f)
	switch {
	case f != f:
		return uint16(b>>16) | 0x40 // a quiet one
	case b&0x7f800000 == 0:
		return uint16(b >> 16 & 0x8000)
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

// GEMMPairs is GEMM with weights in bf16 and an X in pairs.
func GEMMPairs(y []float32, ldy int, x *Packed, w []byte, n int, accumulate bool, scratch []float32) {
	if x.m == 0 || n == 0 {
		return
	}
	g := gemm{kernelSet: current.Load(), y: y, ldy: ldy, x: x, w: w, d: kernels.BF16, rowBytes: 4 * x.k}
	need("gemm y", len(y), (x.m-1)*ldy+n)
	need("gemm w", len(w), n*g.rowBytes)
	need("gemm scratch", len(scratch), GEMMScratch(2*x.k))
	if x.k == 0 {
		for r := 0; r < x.m && !accumulate; r++ {
			clear(y[r*ldy:][:n])
		}
		return
	}
	g.tile, scratch = scratch[:maxRows*maxLanes], scratch[maxRows*maxLanes:]
	g.one, g.three = &g.pairs1, &g.pairs3
	g.panels(n, accumulate, scratch, 8, g.fillPairs)
}

// fillPairs transposes pairs [k0, k0+cols) of W's rows from n0 into the panel.
func (g *gemm) fillPairs(n0, rows, k0, cols int) {
	width := g.panelRows()
	for r := 0; r < rows; r += 8 {
		at := func(row, c int) []byte { return g.w[(n0+row)*g.rowBytes+4*(k0+c):] }
		if r+8 <= rows && cols%8 == 0 {
			from := (*float32)(unsafe.Pointer(unsafe.SliceData(at(r, 0))))
			g.transpose8(&g.panel[r], uintptr(4*width), from, uintptr(g.rowBytes), cols/8)
			continue
		}
		for c := 0; c < cols; c += decodeCols {
			n := min(decodeCols, cols-c)
			for i := range 8 {
				dst := g.decoded[i*decodeLD:][:n]
				if r+i >= rows {
					clear(dst)
					continue
				}
				copy(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(dst))), 4*n), at(r+i, c))
			}
			g.transpose8(&g.panel[c*width+r], uintptr(4*width), &g.decoded[0], 4*decodeLD, (n+7)/8)
		}
	}
}
