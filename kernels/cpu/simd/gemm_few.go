package simd

// Products with a few rows of X, yet more than it pays to decode W for one by one. The
// panel's transposition costs as much as multiplying eight rows or so; here rows of
// W are decoded as they are, and lanes are columns, as in the scores of attention
// with few queries.
const (
	dotColumns = 16   // rows of W at a time: whole groups at every level
	dotDepth   = 4096 // columns up to which they stay in the second cache
)

// together reports whether that is the way to multiply m rows of k columns.
func (g *gemm) together(m, k int) bool { return m <= g.someRows && k <= dotDepth }

// dotsScratch returns how many floats it takes.
func dotsScratch(k int) int { return dotColumns * packedRow(min(k, dotDepth)) }

// rowsTogether multiplies all rows of X with a few rows of W at a time. Behind the
// columns both have zeros, which is what makes rows of any length whole vectors.
func (g *gemm) rowsTogether(n int, add bool, scratch []float32) {
	x, k, ld := g.x, g.x.k, g.x.ld
	decoded := scratch[:dotColumns*ld]
	for at := 0; at < len(decoded); at += ld {
		clear(decoded[at+k : at+ld])
	}
	for n0 := 0; n0 < n; n0 += dotColumns {
		rows := min(dotColumns, n-n0)
		for i := range dotColumns {
			if to := decoded[i*ld:][:k]; i < rows {
				g.dequantize(to, g.w[(n0+i)*g.rowBytes:], g.d)
			} else {
				clear(to)
			}
		}
		for r := 0; r < x.m; {
			size := min(2, log2Up(x.m-r+1)-1) // up to four rows
			rowsOfX := 1 << size
			to, ldt := g.tile, dotColumns
			direct := !add && rows == dotColumns
			if direct {
				to, ldt = g.y[r*g.ldy+n0:], g.ldy
			}
			g.dots[size](&to[0], uintptr(4*ldt), &x.data[r*ld], &decoded[0], &decoded[0], ld, dotColumns*rowsOfX/g.lanes)
			for i := 0; i < rowsOfX && !direct; i++ {
				g.put(g.y[(r+i)*g.ldy+n0:][:rows], g.tile[i*dotColumns:], add)
			}
			r += rowsOfX
		}
	}
}

// put writes a row's results, or adds them.
func (g *gemm) put(y, from []float32, add bool) {
	if !add {
		copy(y, from)
		return
	}
	for i := range y {
		y[i] += from[i]
	}
}
