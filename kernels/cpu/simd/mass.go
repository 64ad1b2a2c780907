package simd

import (
	"fmt"

	"headinfer/kernels"
)

const (
	massKeys    = 8 * maxLanes // keys laid out at a time: whole panels at every level
	massQueries = 32           // queries that go through them together
)

// MassScratch returns how many floats of scratch AttentionMass wants: no more
// than Attention for as many queries, up to a head_dim of 512.
func MassScratch(a AttentionArgs) int {
	if a.few() {
		return 2*keyBlock*a.HeadDim + a.padded()*(a.HeadDim+keyBlock+1)
	}
	return massKeys*a.HeadDim + massQueries*(a.HeadDim+maxLanes+1) + massKeys + 8*a.HeadDim
}

// AttentionMass adds to mass, [keys], what each key has received of an attention
// whose log-sum-exp is in a.LSE: the sum over the queries that see it of
// exp(Scale·q·k - LSE). Out and Merge are not used, and Window and SoftCap must
// not be set. In both regimes lanes are
// keys, so that sums over queries never cross lanes; with many queries, keys
// are transposed for it, as GEMM's weights are.
func AttentionMass(mass []float32, a AttentionArgs, scratch []float32) {
	a.Out, a.OutStride = a.Q, a.QStride // is as long as check wants it
	a.check()
	if a.Window != 0 || a.SoftCap != 0 {
		panic(fmt.Sprintf("simd: attention mass with a window of %d and a cap of %g: must have neither", a.Window, a.SoftCap))
	}
	keys := a.keys()
	need("attention mass", len(mass), keys)
	need("attention mass scratch", len(scratch), MassScratch(a))
	if a.Rows == 0 || keys == 0 {
		return
	}
	c := massRun{attention: attention{kernelSet: current.Load(), AttentionArgs: a, keys: keys}}
	if a.few() {
		c.runFew(mass, scratch)
		return
	}
	c.runMany(mass, scratch)
}

// massRun is one call.
type massRun struct {
	attention
	apart []float32 // [8, HeadDim] keys that do not lie together
}

// runFew reads each block of keys once, for all queries.
func (c *massRun) runFew(mass, scratch []float32) {
	d, queries, n := c.HeadDim, c.Rows*c.G, c.padded()
	take := taker(scratch)
	c.k, c.v = take(keyBlock*d), take(keyBlock*d)
	f := fewRun{q: take(n * d), s: take(n * keyBlock), m: take(n), size: log2Up(min(4, n))}
	sums := c.v[:keyBlock] // the values, which may be decoded to there, are not used
	clear(f.q[queries*d:])
	for i := range queries {
		c.query(f.q[i*d:][:d], i)
		f.m[i] = c.LSE[i%c.G*c.LSEStride+i/c.G]
	}
	c.eachBlock(0, c.visible(c.Rows-1), func(first, keys int, k, _, next []float32) {
		c.scores(&f, keys, k, next)
		whole := (keys + c.lanes - 1) / c.lanes * c.lanes
		seen := c.unseen(first)
		for i := seen; i < queries; i++ {
			hide(f.s[i*keyBlock:][:whole], c.visible(i/c.G)-first, whole)
		}
		clear(sums[:whole])
		c.sum(sums[:whole], f.s[seen*keyBlock:], keyBlock, f.m[seen:queries])
		AddInto(mass[first:], sums[:keys])
	})
}

// query scales query i: head i%G of row i/G.
func (c *massRun) query(dst []float32, i int) {
	c.scale(dst, c.Q[i/c.G*c.QStride+i%c.G*c.HeadDim:][:c.HeadDim], c.Scale)
}

// unseen returns how many queries, from the first, do not see key first.
func (c *massRun) unseen(first int) int {
	if !c.Causal {
		return 0
	}
	// Row r sees key j if j <= keys-Total+RowOffset+r.
	return max(0, first-c.keys+c.Total-c.RowOffset) * c.G
}

// sum adds to sums the exponentials of a row of scores for each of lse.
func (c *massRun) sum(sums, s []float32, stride int, lse []float32) {
	if len(lse) == 0 {
		return
	}
	for at := 0; at < len(sums); {
		f, width := c.mass1, c.lanes
		if len(sums)-at >= 3*c.lanes {
			f, width = c.mass3, 3*c.lanes
		}
		f(&sums[at], &s[at], uintptr(4*stride), &lse[0], len(lse))
		at += width
	}
}

// runMany transposes massKeys keys at a time, into panels of three vectors of
// keys, [HeadDim, 3*lanes] each, and takes all queries that see any through them.
func (c *massRun) runMany(mass, scratch []float32) {
	d, width, queries := c.HeadDim, 3*c.lanes, c.Rows*c.G
	take := taker(scratch)
	panels, q, s := take(massKeys*d), take(massQueries*d), take(massQueries*maxLanes)
	lse, sums := take(massQueries), take(massKeys)
	c.apart = take(8 * d)
	for end, first := c.visible(c.Rows-1), 0; first < end; first += massKeys {
		n := min(massKeys, end-first)
		c.transpose(panels, first, n)
		clear(sums)
		for from := c.unseen(first); from < queries; from += massQueries {
			some := min(massQueries, queries-from)
			for i := range some {
				c.query(q[i*d:][:d], from+i)
				lse[i] = c.LSE[(from+i)%c.G*c.LSEStride+(from+i)/c.G]
			}
			for at := 0; at < n; at += width {
				skip := max(0, c.unseen(first+at)-from)
				if skip >= some {
					break
				}
				c.products(s, q[skip*d:], panels[at*d:], some-skip)
				for i := skip; i < some; i++ {
					hide(s[(i-skip)*width:][:width], c.visible((from+i)/c.G)-first-at, width)
				}
				c.sum(sums[at:][:width], s, width, lse[skip:some])
			}
		}
		AddInto(mass[first:], sums[:n])
	}
}

// products writes the scores of n queries with a panel's keys.
func (c *massRun) products(s, q, panel []float32, n int) {
	d, width := c.HeadDim, 3*c.lanes
	size := log2Up(c.kernelSet.rows)
	for i := 0; i < n; i += 1 << size {
		for 1<<size > n-i {
			size--
		}
		c.tile3[size](&s[i*width], uintptr(4*width), &q[i*d], uintptr(4*d), 4, &panel[0], uintptr(4*width), d, tileSet, nil)
	}
}

// transpose lays out keys [first, first+n) in panels, eight keys at a time. Zeros
// fill up the last panel.
func (c *massRun) transpose(panels []float32, first, n int) {
	d, width := c.HeadDim, 3*c.lanes
	for at := 0; at < (n+width-1)/width*width; at += 8 {
		eight := c.eight(first+at, min(8, n-at))
		c.transpose8(&panels[at/width*width*d+at%width], uintptr(4*width), &eight[0], uintptr(4*d), d/8)
	}
}

// eight returns n keys from first on, where they lie if that is together, and
// zeros up to eight.
func (c *massRun) eight(first, n int) []float32 {
	d, done := c.HeadDim, 0
	for i := range c.Pieces {
		p := &c.Pieces[i]
		if first >= p.Tokens {
			first -= p.Tokens
			continue
		}
		if done >= n {
			break
		}
		some := min(n-done, p.Tokens-first)
		dst := c.apart[done*d:][:some*d]
		switch t := c.kvType(); {
		case t != kernels.F32:
			c.dequantize(dst, p.KRaw[2*first*d:], t)
		case some == 8:
			return p.K[first*d:][:8*d]
		default:
			copy(dst, p.K[first*d:])
		}
		done, first = done+some, 0
	}
	clear(c.apart[done*d:])
	return c.apart
}

// taker returns a function that cuts scratch into parts.
func taker(scratch []float32) func(n int) []float32 {
	return func(n int) []float32 {
		part := scratch[:n:n]
		scratch = scratch[n:]
		return part
	}
}
