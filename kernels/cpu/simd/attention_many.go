package simd

// groupFloats bounds the queries and outputs of the blocks that share a pass
// over the keys: about 400 kB, under half of a core's cache.
const groupFloats = 100 << 10

// lanesBlock is a block of queries, one a lane: query q is head q%G of row q/G.
type lanesBlock struct {
	first   int       // its first query
	width   int       // lanes: one or three vectors
	queries int       // of the lanes, the first this many; the others idle
	q, o    []float32 // [HeadDim, width] scaled queries and sums of values
	m, l    []float32 // [width] the softmax so far
}

// groupBlocks returns how many of the widest blocks share a pass.
func (a *AttentionArgs) groupBlocks() int {
	blocks := (a.Rows*a.G + maxLanes - 1) / maxLanes
	return min(max(1, groupFloats/(2*maxLanes*a.HeadDim)), blocks+1)
}

func manyScratch(a *AttentionArgs) int {
	perBlock := 2*maxLanes*a.HeadDim + 2*maxLanes
	return a.groupBlocks()*perBlock + keyBlock*maxLanes + maxLanes + maxLanes*a.HeadDim
}

// runMany does prefill: groups of blocks, each a pass over the keys it sees.
func (c *attention) runMany(scratch []float32) {
	take := func(n int) []float32 {
		part := scratch[:n:n]
		scratch = scratch[n:]
		return part
	}
	d, queries := c.HeadDim, c.Rows*c.G
	s, alpha, rows := take(keyBlock*maxLanes), take(maxLanes), take(maxLanes*d)
	rest := scratch
	var group [64]lanesBlock
	limit := min(len(group), c.groupBlocks())
	for q := 0; q < queries; {
		scratch = rest
		n := 0
		for ; n < limit && q < queries; n++ {
			b := &group[n]
			b.first, b.width = q, c.blockWidth(queries-q)
			b.queries = min(b.width, queries-q)
			b.q, b.o = take(b.width*d), take(b.width*d)
			b.m, b.l = take(b.width), take(b.width)
			c.start(b, rows)
			q += b.queries
		}
		c.eachBlock(c.reach(group[0].first/c.G), c.visible((q-1)/c.G), func(first, keys int, k, v, _ []float32) {
			for i := range n {
				b := &group[i]
				begin := max(first, c.reach(b.first/c.G))
				end := min(first+keys, c.visible((b.first+b.queries-1)/c.G))
				if begin < end {
					skip := (begin - first) * d
					c.step(b, begin, end-begin, k[skip:], v[skip:], s, alpha)
				}
			}
		})
		for i := range n {
			c.end(&group[i], rows)
		}
	}
}

// blockWidth chooses three vectors of lanes, or one where three would idle.
func (c *attention) blockWidth(queries int) int {
	if queries > 2*c.lanes {
		return 3 * c.lanes
	}
	return c.lanes
}

// start gathers a block's queries and transposes them.
func (c *attention) start(b *lanesBlock, rows []float32) {
	d := c.HeadDim
	for i := range b.width {
		row := rows[i*d:][:d]
		if i >= b.queries {
			clear(row)
			continue
		}
		r, g := (b.first+i)/c.G, (b.first+i)%c.G
		c.scale(row, c.Q[r*c.QStride+g*d:][:d], c.Scale)
	}
	for i := 0; i < b.width; i += 8 {
		c.transpose8(&b.q[i], uintptr(4*b.width), &rows[i*d], uintptr(4*d), d/8)
	}
	clear(b.o)
	for i := range b.m {
		b.m[i], b.l[i] = lowest, 0
	}
}

// step takes keys [first, first+n) into a block's softmax and sums.
func (c *attention) step(b *lanesBlock, first, n int, k, v, s, alpha []float32) {
	d, w := c.HeadDim, b.width
	tiles, softmax := &c.tile3, c.softmax3
	if w == c.lanes {
		tiles, softmax = &c.tile1, c.softmax1
	}
	size := log2Up(c.rows)
	for j := 0; j < n; {
		for 1<<size > n-j {
			size--
		}
		tiles[size](&s[j*w], uintptr(4*w), &k[j*d], uintptr(4*d), 4, &b.q[0], uintptr(4*w), d, tileSet, nil)
		j += 1 << size
	}
	c.bound(s[:n*w])
	c.mask(b, first, n, s)
	softmax(&s[0], n, &b.m[0], &b.l[0], &alpha[0])
	size = log2Up(c.rows)
	for j := 0; j < d; j += c.rows {
		tiles[size](&b.o[j*w], uintptr(4*w), &v[j], 4, uintptr(4*d), &s[0], uintptr(4*w), n, tileLanes, &alpha[0])
	}
}

// mask hides from a block's scores the keys that come after a query, and those
// before its window. Queries are in order of position: the first ones are those
// that a key comes after, and the last ones those whose windows have left it.
func (c *attention) mask(b *lanesBlock, first, n int, s []float32) {
	if !c.Causal {
		return
	}
	// Row r sees key j if j <= past+r, and j > past+r-Window.
	past := c.keys - c.Total + c.RowOffset
	for j := range n {
		row := s[j*b.width:][:b.width]
		newer := (first + j - past) * c.G // the first query that the key does not come after
		hide(row, 0, newer-b.first)
		if c.Window > 0 {
			hide(row, newer+c.Window*c.G-b.first, b.width)
		}
	}
}

// end transposes a block's sums back and writes the results.
func (c *attention) end(b *lanesBlock, rows []float32) {
	d, w := c.HeadDim, b.width
	for j := 0; j < d; j += 8 {
		c.transpose8(&rows[j], uintptr(4*d), &b.o[j*w], uintptr(4*w), w/8)
	}
	for i := range b.queries {
		q := b.first + i
		c.finish(q/c.G, q%c.G, rows[i*d:][:d], b.m[i], b.l[i])
	}
}
