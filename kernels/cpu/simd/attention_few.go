package simd

// fewQueries is the most queries (rows times heads) of the regime for few.
const fewQueries = 12

// padded rounds the queries up to what tiles of 1, 2 and 4 rows cover.
func (a *AttentionArgs) padded() int {
	n := a.Rows * a.G
	if n <= 2 {
		return n
	}
	return (n + 3) / 4 * 4
}

func fewScratch(a *AttentionArgs) int {
	return a.padded() * (2*a.HeadDim + keyBlock + 3)
}

// fewRun is the state of decoding: one row of each for every query.
type fewRun struct {
	q, o        []float32 // [queries, HeadDim] scaled queries and sums of values
	s           []float32 // [queries, keyBlock] scores
	m, l, alpha []float32 // [queries] the softmax so far
	size        int       // log2 of the queries that go together
}

// runFew does decoding: every block of keys and of values is read once.
func (c *attention) runFew(scratch []float32) {
	take := func(n int) []float32 {
		part := scratch[:n:n]
		scratch = scratch[n:]
		return part
	}
	d, queries, n := c.HeadDim, c.Rows*c.G, c.padded()
	f := fewRun{
		q: take(n * d), o: take(n * d), s: take(n * keyBlock),
		m: take(n), l: take(n), alpha: take(n), size: log2Up(min(4, n)),
	}
	clear(f.o)
	clear(f.q[queries*d:])
	for i := range n {
		f.m[i], f.l[i] = lowest, 0
	}
	for i := range queries {
		c.scale(f.q[i*d:][:d], c.Q[i/c.G*c.QStride+i%c.G*d:][:d], c.Scale)
	}
	c.eachBlock(c.reach(0), c.visible(c.Rows-1), func(first, keys int, k, v, next []float32) {
		c.scores(&f, keys, k, v)
		for i := range n {
			c.softmaxRow(&f, i, first, keys)
		}
		c.values(&f, keys, v, next)
	})
	for i := range queries {
		c.finish(i/c.G, i%c.G, f.o[i*d:][:d], f.m[i], f.l[i])
	}
}

// scores fills f.s with the products of all queries and n keys. A last part of
// a group of keys is copied to where a whole one can be read (decoded keys are
// there already).
func (c *attention) scores(f *fewRun, n int, k, v []float32) {
	d := c.HeadDim
	together := 1 << f.size
	group := c.lanes / together
	whole := n / group
	rest := n - whole*group
	var last []float32
	if rest > 0 {
		last = c.k[whole*group*d:][:group*d]
		clear(last[copy(last, k[whole*group*d:]):])
	}
	for i := 0; i < len(f.m); i += together {
		q, s := &f.q[i*d], f.s[i*keyBlock:]
		if whole > 0 {
			c.dots[f.size](&s[0], 4*keyBlock, q, &k[0], &v[0], d, whole)
		}
		if rest > 0 {
			c.dots[f.size](&s[whole*group], 4*keyBlock, q, &last[0], &v[0], d, 1)
		}
	}
}

// softmaxRow takes the scores of query i for keys [first, first+n) into its
// softmax.
func (c *attention) softmaxRow(f *fewRun, i, first, n int) {
	s := f.s[i*keyBlock:][:keyBlock]
	before, see := 0, n // keys before the window, and up to the last that is seen
	if r := i / c.G; r < c.Rows {
		before, see = min(n, max(0, c.reach(r)-first)), max(0, min(n, c.visible(r)-first))
	}
	all := (n + c.lanes - 1) / c.lanes * c.lanes
	c.bound(s[:all])
	hide(s, 0, before)
	hide(s, see, all)
	m := max(f.m[i], c.max(s[:all]))
	f.alpha[i] = expGo(f.m[i] - m)
	f.l[i] = f.l[i]*f.alpha[i] + c.exp(s[:all], s[:all], m)
	f.m[i] = m
}

// values adds the weighted values of n keys to f.o, and asks for next.
func (c *attention) values(f *fewRun, n int, v, next []float32) {
	d := c.HeadDim
	together := 1 << f.size
	for i := 0; i < len(f.m); i += together {
		o, s, alpha := f.o[i*d:], &f.s[i*keyBlock], &f.alpha[i]
		for at := 0; at < d; {
			tile, width := c.widest(f.size, d-at)
			tile(&o[at], uintptr(4*d), s, 4*keyBlock, &v[at], uintptr(4*d), n, alpha, &next[min(at*n, len(next)-1)])
			at += width
		}
	}
}

// widest returns the tile of 2^size rows that covers most of the columns left,
// a multiple of 8, and how many it covers.
func (s *kernelSet) widest(size, cols int) (valuesFunc, int) {
	switch w := s.lanes; {
	case cols >= 4*w && s.values4[size] != nil:
		return s.values4[size], 4 * w
	case cols >= 3*w:
		return s.values3[size], 3 * w
	case cols >= w:
		return s.values1[size], w
	}
	return s.values8[size], 8
}
