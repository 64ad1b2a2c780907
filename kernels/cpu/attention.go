package cpu

import (
	"fmt"
	"unsafe"

	"headinfer/kernels"
	"headinfer/kernels/cpu/simd"
)

const (
	// queryBlock is how many query tokens of one KV head a worker takes.
	queryBlock = 64
	// fewRows is up to how many query tokens the keys are divided between the
	// workers instead of the queries.
	fewRows = 8
	// keysApart is the fewest keys worth a part of their own.
	keysApart = 512
)

// Attention attends to a tile: one simd call for each KV head and either a
// block of queries or, where there are few, a part of the keys.
func (d *Device) Attention(s kernels.Stream, a kernels.AttentionArgs) {
	// The caller may use its slice again once this has been enqueued.
	a.KV = append([]kernels.KV(nil), a.KV...)
	compute(s, "attention", func(d *Device) error {
		heads, err := checkAttention(a)
		if err != nil || heads == 0 || a.Q.Rows == 0 {
			return err
		}
		a.KV = withinWindow(a)
		if a.Q.Rows <= fewRows {
			return d.attendByKeys(a, heads)
		}
		return d.attendByQueries(a, heads)
	})
}

func checkAttention(a kernels.AttentionArgs) (heads int, err error) {
	if len(a.KV) == 0 {
		return 0, fmt.Errorf("no keys")
	}
	heads = a.KV[0].Heads
	for _, kv := range a.KV {
		if kv.Heads != heads || kv.HeadDim != a.HeadDim || kv.DType != a.KV[0].DType {
			return 0, fmt.Errorf("a piece has %d heads of %d in %s, and the first %d of %d in %s",
				kv.Heads, kv.HeadDim, kv.DType, heads, a.HeadDim, a.KV[0].DType)
		}
	}
	if a.Window < 0 || a.Window > 0 && !a.Causal {
		return 0, fmt.Errorf("a window of %d keys, causal %v: a window is a positive part of a causal mask", a.Window, a.Causal)
	}
	if !(a.SoftCap >= 0) {
		return 0, fmt.Errorf("scores capped at %g: a cap is positive, or 0 for none", a.SoftCap)
	}
	if err := want(a.Q.Rows, heads*a.Group*a.HeadDim, map[string]kernels.Tensor{"q": a.Q, "out": a.Out}); err != nil {
		return 0, err
	}
	return heads, want(heads*a.Group, a.Q.Rows, map[string]kernels.Tensor{"lse": a.LSE})
}

// withinWindow returns a's keys without those, from the first, that are before
// every query's window: masks count from the last key.
func withinWindow(a kernels.AttentionArgs) []kernels.KV {
	if a.Window == 0 {
		return a.KV
	}
	before := countKeys(a.KV) - a.Q.Rows + 1 - a.Window
	kept := a.KV[:0]
	for _, kv := range a.KV {
		if n := min(max(0, before), kv.Tokens); n == 0 || n < kv.Tokens {
			kept = append(kept, kv.TokenRange(n, kv.Tokens))
		}
		before -= kv.Tokens
	}
	return kept
}

func countKeys(pieces []kernels.KV) int {
	n := 0
	for _, kv := range pieces {
		n += kv.Tokens
	}
	return n
}

// headArgs are the operands of one KV head, with all of its queries and keys.
func headArgs(a kernels.AttentionArgs, head int) simd.AttentionArgs {
	width := a.Group * a.HeadDim
	q, out := a.Q.ColRange(head*width, (head+1)*width), a.Out.ColRange(head*width, (head+1)*width)
	lse := a.LSE.RowRange(head*a.Group, (head+1)*a.Group)
	one := simd.AttentionArgs{
		Q: allFloats(q), QStride: q.Stride, Rows: q.Rows, Total: q.Rows,
		Out: allFloats(out), OutStride: out.Stride, LSE: allFloats(lse), LSEStride: lse.Stride,
		G: a.Group, HeadDim: a.HeadDim, KVType: a.KV[0].DType,
		Causal: a.Causal, Window: a.Window, Scale: a.Scale, SoftCap: a.SoftCap, Merge: a.Merge,
		Pieces: make([]simd.Piece, 0, len(a.KV)),
	}
	for _, kv := range a.KV {
		one.Pieces = append(one.Pieces, headPiece(kv, head, 0, kv.Tokens))
	}
	return one
}

func headPiece(kv kernels.KV, head, lo, hi int) simd.Piece {
	part := kv.HeadRange(head, head+1).TokenRange(lo, hi)
	n := part.Tokens * part.HeadDim
	p := simd.Piece{Tokens: part.Tokens}
	if kv.DType == kernels.F32 {
		p.K, p.V = unsafe.Slice((*float32)(part.K), n), unsafe.Slice((*float32)(part.V), n)
	} else {
		bytes := n * kv.DType.BlockBytes()
		p.KRaw, p.VRaw = unsafe.Slice((*byte)(part.K), bytes), unsafe.Slice((*byte)(part.V), bytes)
	}
	return p
}

func (d *Device) attendByQueries(a kernels.AttentionArgs, heads int) error {
	blocks := (a.Q.Rows + queryBlock - 1) / queryBlock
	whole := headArgs(a, 0)
	whole.Rows = min(queryBlock, a.Q.Rows)
	if err := d.scratch.each(simd.AttentionScratch(whole), "attention scores"); err != nil {
		return err
	}
	d.pool.run(heads*blocks, func(worker, i int) {
		// The last queries see the most keys: begin with them, so that no
		// worker is left alone with a long block at the end.
		head, block := i%heads, blocks-1-i/heads
		one := headArgs(a, head)
		lo, hi := block*queryBlock, min(a.Q.Rows, (block+1)*queryBlock)
		one.Q, one.Out, one.LSE = one.Q[lo*one.QStride:], one.Out[lo*one.OutStride:], one.LSE[lo:]
		one.Rows, one.RowOffset = hi-lo, lo
		simd.Attention(one, d.scratch.workers[worker])
	})
	return nil
}

// attendByKeys divides the keys into parts, attends to each apart, and merges.
func (d *Device) attendByKeys(a kernels.AttentionArgs, heads int) error {
	keys := countKeys(a.KV)
	parts := max(1, min((2*d.pool.workers+heads-1)/heads, keys/keysApart))
	if heads%d.pool.workers == 0 {
		parts = 1
	}
	if err := d.scratch.each(simd.AttentionScratch(headArgs(a, 0)), "attention scores"); err != nil {
		return err
	}
	if parts == 1 {
		d.pool.run(heads, func(worker, head int) {
			simd.Attention(headArgs(a, head), d.scratch.workers[worker])
		})
		return nil
	}
	rows, width := a.Q.Rows, a.Group*a.HeadDim
	size := partialSize(rows, a.Group, a.HeadDim)
	partial, err := d.scratch.common(heads*parts*size, "partial attention")
	if err != nil {
		return err
	}
	of := func(head, part int) (out, lse []float32) {
		p := partial[(head*parts+part)*size:][:size]
		return p[:rows*width], p[rows*width:]
	}
	d.pool.run(heads*parts, func(worker, i int) {
		head, part := i/parts, i%parts
		lo, hi := part*keys/parts, (part+1)*keys/parts
		one := headArgs(a, head)
		one.Pieces = cut(one.Pieces[:0], a.KV, head, lo, hi)
		one.Total = rows - (keys - hi) // keeps the mask, and the window, where they were
		one.Out, one.LSE = of(head, part)
		one.OutStride, one.LSEStride, one.Merge = width, rows, false
		simd.Attention(one, d.scratch.workers[worker])
	})
	for head := range heads {
		one := headArgs(a, head)
		for part := range parts {
			out, lse := of(head, part)
			if part == 0 && !a.Merge {
				for r := range rows {
					copy(one.Out[r*one.OutStride:][:width], out[r*width:])
				}
				for g := range a.Group {
					copy(one.LSE[g*one.LSEStride:][:rows], lse[g*rows:])
				}
				continue
			}
			merge(one.Out, one.OutStride, one.LSE, one.LSEStride, out, width, lse, rows, rows, a.Group, a.HeadDim)
		}
	}
	return nil
}

// partialSize returns the floats of one part's output and log-sum-exp.
func partialSize(rows, group, headDim int) int { return rows * group * (headDim + 1) }

// cut appends to dst what lies at keys [lo, hi) of the pieces of one head.
func cut(dst []simd.Piece, pieces []kernels.KV, head, lo, hi int) []simd.Piece {
	for _, kv := range pieces {
		if from, to := max(0, lo), min(kv.Tokens, hi); from < to {
			dst = append(dst, headPiece(kv, head, from, to))
		}
		lo, hi = lo-kv.Tokens, hi-kv.Tokens
	}
	return dst
}

// Merge folds out2, lse2 into out, lse.
func (d *Device) Merge(s kernels.Stream, out, lse, out2, lse2 kernels.Tensor, headDim int) {
	compute(s, "merge", func(*Device) error {
		if err := want(out.Rows, out.Cols, map[string]kernels.Tensor{"out": out, "out2": out2}); err != nil {
			return err
		}
		heads := out.Cols / headDim
		if err := want(heads, out.Rows, map[string]kernels.Tensor{"lse": lse, "lse2": lse2}); err != nil {
			return err
		}
		merge(allFloats(out), out.Stride, allFloats(lse), lse.Stride,
			allFloats(out2), out2.Stride, allFloats(lse2), lse2.Stride, out.Rows, heads, headDim)
		return nil
	})
}

// merge folds the second result, of heads query heads, into the first.
func merge(out []float32, ld int, lse []float32, lseLd int, out2 []float32, ld2 int, lse2 []float32, lseLd2, rows, heads, headDim int) {
	for h := range heads {
		simd.MergeLSE(out[h*headDim:], ld, lse[h*lseLd:][:rows], out2[h*headDim:], ld2, lse2[h*lseLd2:][:rows], headDim)
	}
}
