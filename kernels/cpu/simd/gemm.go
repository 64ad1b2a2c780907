package simd

import (
	"unsafe"

	"headinfer/kernels"
)

const (
	panelCols  = 1024           // columns of W decoded at a time: a panel of them is a fifth of a cache
	decodeCols = 256            // columns of 8 rows decoded before they are transposed
	decodeLD   = decodeCols + 8 // apart, so that the 8 rows don't share a cache set
	fewRows    = 4              // of X: up to these, decoding W anew for each beats transposing it
	maxRows    = 8              // of the largest tile
	maxLanes   = 3 * 16         // of the widest
)

// Packed is an activation matrix laid out for GEMM: rows apart by an odd number
// of cache lines, so that a tile's rows don't share a cache set, and a multiple
// of 8 of them, the last ones zero, as is what lies between rows. It is the same for
// all levels. It is read-only while GEMMs run, so that workers may share it. The zero
// value is empty; Begin reuses its memory.
type Packed struct {
	data []float32 // or as many pairs of bf16: see pairs.go
	m, k int
	ld   int // floats from one row to the next
}

// Rows returns m, the rows packed.
func (p *Packed) Rows() int { return p.m }

// Cols returns k, the columns packed.
func (p *Packed) Cols() int { return p.k }

// PackedFloats returns how many floats a Packed of [m, k] takes.
func PackedFloats(m, k int) int {
	return (m + maxRows - 1) / maxRows * maxRows * packedRow(k)
}

// packedRow returns how many floats are from one row of k columns to the next.
func packedRow(k int) int { return 16 * ((k+15)/16 | 1) }

// Begin makes room for [m, k], which calls of PackRows fill.
func (p *Packed) Begin(m, k int) {
	p.m, p.k, p.ld = m, k, packedRow(k)
	size := PackedFloats(m, k)
	if cap(p.data) < size {
		p.data = make([]float32, size)
	}
	p.data = p.data[:size]
	clear(p.data[m*p.ld:])
}

// PackRows lays out rows [lo, hi) of x, whose rows are ldx floats apart. Workers may
// each lay out their own.
func (p *Packed) PackRows(x []float32, ldx, lo, hi int) {
	if lo < hi {
		need("pack x", len(x), (hi-1)*ldx+p.k)
	}
	for r := lo; r < hi; r++ {
		row := p.data[r*p.ld:][:p.ld]
		copy(row[:p.k], x[r*ldx:])
		clear(row[p.k:])
	}
}

// GEMMScratch returns how many floats of scratch a GEMM over k columns wants.
func GEMMScratch(k int) int {
	return max(maxLanes*(min(k, panelCols)+8)+8*decodeLD, fewRows*LayFloats(k), dotsScratch(k)) + maxRows*maxLanes
}

// GEMM computes y[m, 0:n] = X·Wᵀ, or += if accumulate: W is n rows of X's k
// columns, encoded as d; rows of y are ldy floats apart.
func GEMM(y []float32, ldy int, x *Packed, w []byte, d kernels.DType, n int, accumulate bool, scratch []float32) {
	m, k := x.m, x.k
	if m == 0 || n == 0 {
		return
	}
	g := gemm{kernelSet: current.Load(), y: y, ldy: ldy, x: x, w: w, d: d, rowBytes: rowBytes("gemm w", d, k)}
	need("gemm y", len(y), (m-1)*ldy+n)
	need("gemm w", len(w), n*g.rowBytes)
	need("gemm scratch", len(scratch), GEMMScratch(k))
	if k == 0 {
		for r := 0; r < m && !accumulate; r++ {
			clear(y[r*ldy:][:n])
		}
		return
	}
	g.tile, scratch = scratch[:maxRows*maxLanes], scratch[maxRows*maxLanes:]
	if m <= fewRows {
		g.rowByRow(n, accumulate, scratch)
		return
	}
	if g.together(m, k) {
		g.rowsTogether(n, accumulate, scratch)
		return
	}
	g.one, g.three = &g.tile1, &g.tile3
	g.panels(n, accumulate, scratch, max(32, d.Block()), g.fill)
}

// panels multiplies X with one panel of W after another, of a multiple of unit columns,
// that fill makes.
func (g *gemm) panels(n int, add bool, scratch []float32, unit int, fill func(n0, rows, k0, cols int)) {
	g.decoded, g.panel = scratch[:8*decodeLD], scratch[8*decodeLD:]
	k := g.x.k
	blocks := (k + panelCols - 1) / panelCols
	cols := ((k+blocks-1)/blocks + unit - 1) / unit * unit
	for n0 := 0; n0 < n; n0 += g.panelRows() {
		rows := min(g.panelRows(), n-n0)
		for k0 := 0; k0 < k; k0 += cols {
			c := min(cols, k-k0)
			fill(n0, rows, k0, c)
			g.multiply(n0, rows, k0, c, add || k0 > 0)
		}
	}
}

// gemm is one call's operands and its parts of scratch.
type gemm struct {
	*kernelSet
	y        []float32
	ldy      int
	x        *Packed
	w        []byte
	d        kernels.DType
	rowBytes int

	one, three *[4]tileFunc // that multiply

	decoded []float32 // [8, decodeLD] rows of W
	panel   []float32 // [cols, panelRows] of W, transposed
	tile    []float32 // where a tile that y has no room for goes
}

// rowByRow multiplies one row of X at a time with as many rows of W as stay in
// the cache for the next one.
func (g *gemm) rowByRow(n int, add bool, scratch []float32) {
	var rows [fewRows]Vector
	for r := range g.x.m {
		rows[r] = Lay(g.x.data[r*g.x.ld:][:g.x.k], g.d, scratch)
		scratch = scratch[LayFloats(g.x.k):]
	}
	for n0 := 0; n0 < n; n0 += len(g.tile) {
		some := min(len(g.tile), n-n0)
		w := g.w[n0*g.rowBytes:][:some*g.rowBytes]
		for r, x := range rows[:g.x.m] {
			out := g.y[r*g.ldy+n0:][:some]
			if !add {
				x.times(out, w, g.rowBytes)
				continue
			}
			x.times(g.tile[:some], w, g.rowBytes)
			g.put(out, g.tile, add)
		}
	}
}

// fill decodes columns [k0, k0+cols) of W's rows from n0 into the panel.
func (g *gemm) fill(n0, rows, k0, cols int) {
	width := g.panelRows()
	for r := 0; r < rows; r += 8 {
		for c := 0; c < cols; c += decodeCols {
			n := min(decodeCols, cols-c)
			for i := range 8 {
				dst := g.decoded[i*decodeLD:][:n]
				if r+i >= rows {
					clear(dst)
					continue
				}
				at := (n0+r+i)*g.rowBytes + (k0+c)/g.d.Block()*g.d.BlockBytes()
				g.dequantize(dst, g.w[at:], g.d)
			}
			// Columns are transposed by eights; the panel has room for those
			// past the last, which nothing reads.
			g.transpose8(&g.panel[c*width+r], uintptr(4*width), &g.decoded[0], 4*decodeLD, (n+7)/8)
		}
	}
}

// multiply adds the panel's part of the product to y, tile by tile.
func (g *gemm) multiply(n0, rows, k0, cols int, add bool) {
	width, x := g.panelRows(), g.x
	mode := tileSet
	if add {
		mode = tileAdd
	}
	step, tiles := 3*g.lanes, g.three
	if rows <= 2*g.lanes {
		step, tiles = g.lanes, g.one
	}
	for j := 0; j < rows; j += step {
		for r := 0; r < x.m; {
			size := log2Up(min(g.rows, x.m-r))
			a, b := &x.data[r*x.ld+k0], &g.panel[j]
			done := min(1<<size, x.m-r)
			if r+1<<size <= x.m && j+step <= rows {
				tiles[size](&g.y[r*g.ldy+n0+j], uintptr(4*g.ldy), a, uintptr(4*x.ld), 4, b, uintptr(4*width), cols, mode, nil)
			} else {
				tiles[size](&g.tile[0], 4*maxLanes, a, uintptr(4*x.ld), 4, b, uintptr(4*width), cols, tileSet, nil)
				for i := range done {
					out := g.y[(r+i)*g.ldy+n0+j:][:min(step, rows-j)]
					g.put(out, g.tile[i*maxLanes:], add)
				}
			}
			r += done
		}
	}
}

// log2Up returns the exponent of the smallest power of two that is at least n.
func log2Up(n int) int {
	e := 0
	for 1<<e < n {
		e++
	}
	return e
}

// productBytes bounds the weights that one call of assembly reads: the
// scheduler can't interrupt it.
const productBytes = 1 << 19

// GEMV computes y[i] = dot(row i of w, x), where w is len(y) rows of x's columns,
// in the encoding that x is laid out for.
func GEMV(y []float32, x Vector, w []byte) {
	stride := rowBytes("gemv w", x.d, x.k)
	need("gemv w", len(w), len(y)*stride)
	x.times(y, w, stride)
}

func (v *Vector) times(y []float32, w []byte, stride int) {
	if v.limbs != nil {
		v.timesLimbs(y, w, stride)
		return
	}
	n, unit := len(y), max(32, v.d.Block())
	blocks, first := v.k/unit, 0
	if blocks == 0 {
		clear(y)
	} else {
		product := func(f productFunc, rows int) {
			for groups := (n - first) / rows; groups > 0; {
				some := min(groups, max(1, productBytes/(rows*stride)))
				f(&y[first], &v.data[0], &w[first*stride], uintptr(stride), blocks, some)
				first, groups = first+rows*some, groups-some
			}
		}
		if f := v.set.product4[v.d]; f != nil {
			product(f, 4)
		}
		product(v.set.product1[v.d], 1)
	}
	if rest := v.data[min(unit*blocks, v.k):v.k]; v.k > unit*blocks { // of an encoding without blocks
		var b [32]float32
		for i := range y {
			dequantizeGo(b[:len(rest)], w[i*stride+unit*blocks*v.d.BlockBytes():], v.d)
			y[i] += dotGo(b[:len(rest)], rest)
		}
	}
}

// dequantize decodes len(dst) elements, whole blocks of d.
func (s *kernelSet) dequantize(dst []float32, src []byte, d kernels.DType) {
	unit := max(32, d.Block())
	blocks := len(dst) / unit
	if blocks > 0 {
		s.decode[d](&dst[0], unsafe.SliceData(src), blocks)
	}
	if rest := dst[unit*blocks:]; len(rest) > 0 { // of an encoding without blocks
		dequantizeGo(rest, src[unit*blocks*d.BlockBytes():], d)
	}
}
