package cpu

import (
	"cmp"
	"fmt"
	"slices"
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

// sharedTile is a tile whose parts the workers share out among themselves. A part
// is a KV head with a block of the queries or, where these are few, with a run
// of the keys.
type sharedTile struct {
	kernels.AttentionArgs
	heads, keys int
	few         bool // queries
	parts       int  // of each head
	// Where there are several runs of keys: their results, of size floats each,
	// [heads, parts].
	partial []float32
	size    int
}

// Attention attends to tiles: one simd call for each part of them.
func (d *Device) Attention(s kernels.Stream, tiles []kernels.AttentionArgs) {
	// The caller may use its slices again once this has been enqueued.
	tiles = slices.Clone(tiles)
	for i := range tiles {
		tiles[i].KV = slices.Clone(tiles[i].KV)
	}
	compute(s, "attention", func(d *Device) error {
		var shared []sharedTile
		for i, a := range tiles {
			heads, err := checkAttention(a)
			if err != nil {
				return fmt.Errorf("tile %d: %w", i, err)
			}
			if heads == 0 || a.Q.Rows == 0 {
				continue
			}
			a.KV = withinWindow(a)
			t := sharedTile{AttentionArgs: a, heads: heads, keys: countKeys(a.KV), few: a.Q.Rows <= fewRows}
			t.parts = (a.Q.Rows + queryBlock - 1) / queryBlock
			shared = append(shared, t)
		}
		d.divideKeys(shared)
		// What takes longest comes first, so that no worker is left alone with it.
		slices.SortStableFunc(shared, func(a, b sharedTile) int { return cmp.Compare(b.cost(), a.cost()) })
		return d.attend(shared)
	})
}

// cost is what a part takes, in pairs of a query and a key.
func (t *sharedTile) cost() int {
	if t.few {
		return t.Q.Rows * t.keys / t.parts
	}
	return min(queryBlock, t.Q.Rows) * t.keys
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

// divideKeys divides the keys of tiles with few queries, so that the workers have
// about as much to do: two parts each of one tile, and of several, which differ, one.
func (d *Device) divideKeys(tiles []sharedTile) {
	few, total, units, even := 0, 0, 0, true
	keys := -1 // of the first of these tiles
	for i := range tiles {
		if t := &tiles[i]; t.few {
			if keys < 0 {
				keys = t.keys
			}
			even = even && t.keys == keys
			few++
			units += t.heads
			total += t.heads * t.keys
		}
	}
	wanted := d.pool.workers
	if few == 1 {
		wanted *= 2
	}
	for i := range tiles {
		t := &tiles[i]
		if !t.few || total == 0 || even && units%d.pool.workers == 0 {
			continue
		}
		t.parts = max(1, min((t.keys*wanted+total-1)/total, t.keys/keysApart))
	}
}

// attend shares out the parts of tiles, and joins those of divided keys.
func (d *Device) attend(tiles []sharedTile) error {
	parts, divided, floats := make([]int, len(tiles)), make([]int, len(tiles)), 0
	for i := range tiles {
		t := &tiles[i]
		whole := headArgs(t.AttentionArgs, 0)
		whole.Rows = min(queryBlock, t.Q.Rows)
		if err := d.scratch.each(simd.AttentionScratch(whole), "attention scores"); err != nil {
			return err
		}
		parts[i] = t.heads * t.parts
		if t.few && t.parts > 1 {
			divided[i] = t.heads
			t.size = partialSize(t.Q.Rows, t.Group, t.HeadDim)
			floats += parts[i] * t.size
		}
	}
	partial, err := d.scratch.common(floats, "partial attention")
	if err != nil {
		return err
	}
	for i := range tiles {
		if t := &tiles[i]; divided[i] > 0 {
			n := parts[i] * t.size
			t.partial, partial = partial[:n], partial[n:]
		}
	}
	d.runEach(parts, func(worker, tile, part int) { tiles[tile].attend(part, d.scratch.workers[worker]) })
	d.runEach(divided, func(_, tile, head int) { tiles[tile].join(head) })
	return nil
}

// runEach calls body(worker, i, j) for every j below counts[i], as pool.run does.
func (d *Device) runEach(counts []int, body func(worker, i, j int)) {
	ends, end := make([]int, len(counts)), 0
	for i, n := range counts {
		end += n
		ends[i] = end
	}
	d.pool.run(end, func(worker, at int) {
		i, _ := slices.BinarySearch(ends, at+1)
		body(worker, i, at-ends[i]+counts[i])
	})
}

// attend computes a part.
func (t *sharedTile) attend(part int, scratch []float32) {
	if !t.few {
		// The last queries see the most keys: begin with them.
		head, block := part%t.heads, t.parts-1-part/t.heads
		one := headArgs(t.AttentionArgs, head)
		lo, hi := block*queryBlock, min(t.Q.Rows, (block+1)*queryBlock)
		one.Q, one.Out, one.LSE = one.Q[lo*one.QStride:], one.Out[lo*one.OutStride:], one.LSE[lo:]
		one.Rows, one.RowOffset = hi-lo, lo
		simd.Attention(one, scratch)
		return
	}
	head, run := part/t.parts, part%t.parts
	one := headArgs(t.AttentionArgs, head)
	if t.partial != nil {
		lo, hi := run*t.keys/t.parts, (run+1)*t.keys/t.parts
		one.Pieces = cut(one.Pieces[:0], t.KV, head, lo, hi)
		one.Total = t.Q.Rows - (t.keys - hi) // keeps the mask, and the window, where they were
		one.Out, one.LSE = t.result(head, run)
		one.OutStride, one.LSEStride, one.Merge = t.Group*t.HeadDim, t.Q.Rows, false
	}
	simd.Attention(one, scratch)
}

// result is where a run of keys leaves a head's output and log-sum-exp.
func (t *sharedTile) result(head, run int) (out, lse []float32) {
	p := t.partial[(head*t.parts+run)*t.size:][:t.size]
	n := t.Q.Rows * t.Group * t.HeadDim
	return p[:n], p[n:]
}

// join folds a head's runs of keys into what is asked for.
func (t *sharedTile) join(head int) {
	one, rows, width := headArgs(t.AttentionArgs, head), t.Q.Rows, t.Group*t.HeadDim
	for run := range t.parts {
		out, lse := t.result(head, run)
		if run == 0 && !t.Merge {
			for r := range rows {
				copy(one.Out[r*one.OutStride:][:width], out[r*width:])
			}
			for g := range t.Group {
				copy(one.LSE[g*one.LSEStride:][:rows], lse[g*rows:])
			}
			continue
		}
		merge(one.Out, one.OutStride, one.LSE, one.LSEStride, out, width, lse, rows, rows, t.Group, t.HeadDim)
	}
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
