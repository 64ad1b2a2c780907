package simd

import (
	"fmt"
	"math"

	"headinfer/kernels"
)

// Piece is a run of consecutive tokens of one KV head: K and V are each
// contiguous [Tokens, HeadDim]. With AttentionArgs.KVType F16 or BF16 the
// elements are in KRaw and VRaw, encoded, and K and V are unused.
type Piece struct {
	K, V       []float32
	KRaw, VRaw []byte
	Tokens     int
}

// AttentionArgs is one KV head and the G query heads that share it.
type AttentionArgs struct {
	Q       []float32 // row r's G query heads at Q[r*QStride:], consecutive, HeadDim each
	QStride int       // floats from one token's queries to the next one's
	Rows    int       // query tokens of this call
	G       int       // query heads that share this KV head
	HeadDim int       // a multiple of 8

	Pieces []Piece       // the keys and values in order of position, the newest last
	KVType kernels.DType // F32 (also the zero value), F16 or BF16

	// With Causal, query token t of the Total (this call does RowOffset to
	// RowOffset+Rows) sees the keys j <= nkeys-Total+t: the last query sees
	// the last key.
	Causal           bool
	Total, RowOffset int
	// Window, with Causal, is how many of these keys a query sees, the last
	// ones; 0: all. Keys that no query sees are not read.
	Window int

	Scale   float32 // multiplies every dot product of a query and a key
	SoftCap float32 // then bounds it: SoftCap·tanh(score/SoftCap); 0: not at all

	Out       []float32 // [Rows, G*HeadDim], rows OutStride floats apart
	OutStride int
	LSE       []float32 // [G, Rows], heads LSEStride floats apart: ln Σ exp(score)
	LSEStride int
	Merge     bool // combine with what Out and LSE hold: another span's result
}

func (a *AttentionArgs) kvType() kernels.DType {
	if a.KVType == kernels.Invalid {
		return kernels.F32
	}
	return a.KVType
}

// keys counts the keys of all pieces.
func (a *AttentionArgs) keys() int {
	n := 0
	for i := range a.Pieces {
		n += a.Pieces[i].Tokens
	}
	return n
}

// visible returns how many keys, from the first, come no later than query row
// r of this call. It sees those of them that its window reaches back to.
func (a *AttentionArgs) visible(r, keys int) int {
	if !a.Causal {
		return keys
	}
	return max(0, min(keys, keys-a.Total+a.RowOffset+r+1))
}

// reach returns the first key that row r's window reaches back to, which may
// be beyond the last.
func (a *AttentionArgs) reach(r, keys int) int {
	if a.Window == 0 {
		return 0
	}
	return max(0, keys-a.Total+a.RowOffset+r+1-a.Window)
}

// check panics when a slice is shorter than the sizes beside it say.
func (a *AttentionArgs) check() {
	d := a.HeadDim
	if d <= 0 || d%8 != 0 {
		panic(fmt.Sprintf("simd: attention with head_dim %d: must be a positive multiple of 8", d))
	}
	if a.G < 1 || a.Rows < 0 {
		panic(fmt.Sprintf("simd: attention with %d rows of %d heads", a.Rows, a.G))
	}
	if a.Window < 0 || a.Window > 0 && !a.Causal {
		panic(fmt.Sprintf("simd: attention with a window of %d keys, causal %v: a window is of a causal mask", a.Window, a.Causal))
	}
	if !(a.SoftCap >= 0) {
		panic(fmt.Sprintf("simd: attention with a cap of %g: must be positive, or 0 for none", a.SoftCap))
	}
	if a.Rows == 0 {
		return
	}
	need("attention Q", len(a.Q), (a.Rows-1)*a.QStride+a.G*d)
	need("attention Out", len(a.Out), (a.Rows-1)*a.OutStride+a.G*d)
	need("attention LSE", len(a.LSE), (a.G-1)*a.LSEStride+a.Rows)
	for i := range a.Pieces {
		p := &a.Pieces[i]
		switch t := a.kvType(); t {
		case kernels.F32:
			need("attention K", len(p.K), p.Tokens*d)
			need("attention V", len(p.V), p.Tokens*d)
		case kernels.F16, kernels.BF16:
			need("attention K", len(p.KRaw), 2*p.Tokens*d)
			need("attention V", len(p.VRaw), 2*p.Tokens*d)
		default:
			panic(fmt.Sprintf("simd: attention over %s keys: must be f32, f16 or bf16", t))
		}
	}
}

// AttentionScratch returns how many floats of scratch Attention wants. It
// depends on HeadDim and, for few queries, on Rows and G, never on the keys.
func AttentionScratch(a AttentionArgs) int {
	size := 2 * keyBlock * a.HeadDim // keys and values decoded, or copied for want of a whole group
	if a.few() {
		return size + fewScratch(&a)
	}
	return size + manyScratch(&a)
}

// few reports which regime the queries are for: beyond it, the lanes that few
// queries leave empty cost less than the sums across lanes.
func (a *AttentionArgs) few() bool { return a.Rows*a.G <= fewQueries }

// Attention computes, for every query, softmax(Scale·q·Kᵀ)·V and the natural
// logarithm of the softmax's denominator. A query that sees no key gives 0 and
// -Inf. Partial results over spans merge by them (Merge, MergeLSE) exactly, as
// in FlashAttention's split-KV.
func Attention(a AttentionArgs, scratch []float32) {
	a.check()
	need("attention scratch", len(scratch), AttentionScratch(a))
	if a.Rows == 0 {
		return
	}
	size := keyBlock * a.HeadDim
	c := attention{
		kernelSet: current.Load(), AttentionArgs: a, keys: a.keys(),
		k: scratch[:size], v: scratch[size : 2*size],
	}
	if a.few() {
		c.runFew(scratch[2*size:])
		return
	}
	c.runMany(scratch[2*size:])
}

// keyBlock is how many keys are scored before their values are used.
const keyBlock = 128

// lowest stands for the maximum of no scores: finite, so that subtracting it
// from itself, or from a masked score's -Inf, is no NaN.
const lowest = -3e38

// attention is one call.
type attention struct {
	*kernelSet
	AttentionArgs
	keys int
	k, v []float32 // [keyBlock, HeadDim] each
}

// visible and reach are AttentionArgs' of all keys.
func (c *attention) visible(r int) int { return c.AttentionArgs.visible(r, c.keys) }
func (c *attention) reach(r int) int   { return c.AttentionArgs.reach(r, c.keys) }

// eachBlock calls f with every block of keys from begin to before end: the
// first key's position, the number of keys, their K and V, and the K that comes
// next in memory, or the same K again.
func (c *attention) eachBlock(begin, end int, f func(first, n int, k, v, next []float32)) {
	first := begin
	at := begin // in the piece
	for i := range c.Pieces {
		p := &c.Pieces[i]
		for at < p.Tokens && first < end {
			n := min(keyBlock, p.Tokens-at, end-first)
			k, v := c.block(p, at, n)
			next := k
			if at+n < p.Tokens && c.kvType() == kernels.F32 {
				next = p.K[(at+n)*c.HeadDim:]
			}
			f(first, n, k, v, next)
			at, first = at+n, first+n
		}
		at = max(0, at-p.Tokens)
	}
}

// bound caps whole vectors of scores.
func (c *attention) bound(s []float32) {
	if c.SoftCap > 0 {
		c.capRow(&s[0], len(s)/c.lanes, 2/c.SoftCap, c.SoftCap)
	}
}

// block returns n keys and values of a piece as float32, decoded if need be.
func (c *attention) block(p *Piece, at, n int) (k, v []float32) {
	d := c.HeadDim
	if t := c.kvType(); t != kernels.F32 {
		k, v = c.k[:n*d], c.v[:n*d]
		c.dequantize(k, p.KRaw[2*at*d:], t)
		c.dequantize(v, p.VRaw[2*at*d:], t)
		return k, v
	}
	return p.K[at*d:][:n*d], p.V[at*d:][:n*d]
}

// hide makes the scores [lo, hi) of those in s such that their exponential is 0.
func hide(s []float32, lo, hi int) {
	for j := max(0, lo); j < min(hi, len(s)); j++ {
		s[j] = float32(math.Inf(-1))
	}
}

// finish writes the result of query head g of row r, the sums o and their
// weight l under the maximum m, or merges it with what is there.
func (c *attention) finish(r, g int, o []float32, m, l float32) {
	out := c.Out[r*c.OutStride+g*c.HeadDim:][:c.HeadDim]
	at := &c.LSE[g*c.LSEStride+r]
	lse, by := float32(math.Inf(-1)), float32(0)
	if m > lowest {
		lse, by = float32(float64(m)+math.Log(float64(l))), 1/l
	}
	if c.Merge {
		c.scale(o, o, by)
		*at = c.merge(out, *at, o, lse)
		return
	}
	c.scale(out, o, by)
	*at = lse
}
