package devicetest

import (
	"fmt"
	"math"
	"testing"

	"headinfer/kernels"
)

// emptyKV takes poisoned keys and values whose heads lie apart.
func (b *bench) emptyKV(heads, tokens, hd int) kernels.KV {
	stride := (tokens + 3) * hd
	k, v := b.alloc(heads, stride), b.alloc(heads, stride)
	b.write(k, poison(heads*stride))
	b.write(v, poison(heads*stride))
	return kernels.KV{K: k.Data, V: v.Data, DType: k.DType, Heads: heads, Tokens: tokens, HeadDim: hd, HeadStride: stride}
}

// tile is an attention's sizes and rules.
type tile struct {
	rows, kvHeads, group, hd, keys int
	causal                         bool
	always                         int // keys, from the first, that all queries see whatever the mask
	window                         int // of the keys after those; 0: none
	scale, softCap                 float64
}

// width is the columns of the tile's queries.
func (t tile) width() int { return t.kvHeads * t.group * t.hd }

func (t tile) String() string {
	return fmt.Sprintf("head_dim %d, %d rows of %d×%d heads, %d keys, causal %v, window %d after %d keys, cap %.3g",
		t.hd, t.rows, t.kvHeads, t.group, t.keys, t.causal, t.window, t.always, t.softCap)
}

// sees lists the keys that a query sees.
func (t tile) sees(row int) []int {
	var keys []int
	newest := t.keys - t.rows + row
	for j := range t.keys {
		hidden := t.causal && (j > newest || t.window > 0 && j <= newest-t.window)
		if j < t.always || !hidden {
			keys = append(keys, j)
		}
	}
	return keys
}

// attend is attention as the textbook has it, in float64: rows of query heads
// against heads of keys, [heads, keys, hd]. It shares nothing with what is tested,
// and is most of a test's time where every access is checked for races.
//
//go:norace
func (t tile) attend(q, k, v []float32) (out, lse []float64) {
	hd, heads := t.hd, t.kvHeads*t.group
	out, lse = make([]float64, t.rows*t.width()), make([]float64, heads*t.rows)
	for r := range t.rows {
		seen := t.sees(r)
		for h := range heads {
			base := h / t.group * t.keys * hd
			to := out[r*t.width()+h*hd:][:hd]
			query := q[r*t.width()+h*hd:][:hd]
			scores, top := make([]float64, len(seen)), math.Inf(-1)
			for n, j := range seen {
				key := k[base+j*hd:][:hd]
				for i, x := range query {
					scores[n] += float64(x) * float64(key[i])
				}
				scores[n] *= t.scale
				if t.softCap > 0 {
					scores[n] = t.softCap * math.Tanh(scores[n]/t.softCap)
				}
				top = max(top, scores[n])
			}
			sum := 0.0
			for n := range scores {
				scores[n] = math.Exp(scores[n] - top)
				sum += scores[n]
			}
			for n, j := range seen {
				for i, x := range v[base+j*hd:][:hd] {
					to[i] += scores[n] / sum * float64(x)
				}
			}
			lse[h*t.rows+r] = top + math.Log(sum)
		}
	}
	return out, lse
}

// numbers makes random queries, keys and values of a tile.
func (b *bench) numbers(t tile) (q, k, v []float32) {
	n := t.kvHeads * t.keys * t.hd
	return b.normal(t.rows * t.width()), b.normal(n), b.normal(n)
}

func testAttention(t *testing.T, b *bench) {
	for _, hd := range []int{32, 64, 96, 128, 256} {
		for _, rows := range []int{1, 3, 9, 70} {
			kvHeads, group := 1+b.rand.IntN(3), 1+b.rand.IntN(4)
			// Few rows may have their keys divided between workers; many do not,
			// and cost the plain computation more.
			keys := rows + b.rand.IntN(1500)
			if rows > 8 {
				keys = rows + b.rand.IntN(200)
			}
			for _, causal := range []bool{false, true} {
				b.oneAttention(tile{
					rows: rows, kvHeads: kvHeads, group: group, hd: hd, keys: keys, causal: causal,
					scale: 1 / math.Sqrt(float64(hd)), softCap: float64(b.rand.IntN(2)) * 1.5,
				})
				b.drop()
			}
		}
	}
}

func (b *bench) oneAttention(t tile) {
	b.t.Helper()
	rows, kvHeads, group, hd, keys, width := t.rows, t.kvHeads, t.group, t.hd, t.keys, t.width()
	q, k, v := b.numbers(t)
	want, wantLSE := t.attend(q, k, v)

	kv := b.emptyKV(kvHeads, keys, hd)
	b.write(kv.Keys(), k)
	b.write(kv.Values(), v)
	args := kernels.AttentionArgs{
		Q: b.put(q, rows, width), Group: group, HeadDim: hd, Scale: float32(t.scale), SoftCap: float32(t.softCap),
	}
	// One call over several pieces, then calls over spans of the keys that
	// merge. A causal mask belongs to the span that ends with the newest keys,
	// which therefore holds all that some queries must not see.
	for _, spans := range []int{1, 3} {
		args.Out, args.LSE = b.empty(rows, width), b.floats(kvHeads*group, rows)
		if spans > 1 {
			args.Out = b.floats(rows, width) // would be rounded at each merge
		}
		hidden := 0
		if t.causal {
			hidden = rows
		}
		cuts := []int{0}
		for s := 1; s < spans; s++ {
			cuts = append(cuts, cuts[s-1]+b.rand.IntN(max(1, keys-hidden-cuts[s-1]+1)))
		}
		cuts = append(cuts, keys)
		for s := range spans {
			args.KV = nil
			middle := (cuts[s] + cuts[s+1]) / 2
			for _, piece := range [][2]int{{cuts[s], middle}, {middle, cuts[s+1]}} {
				args.KV = append(args.KV, kv.TokenRange(piece[0], piece[1]))
			}
			args.Causal = t.causal && s == spans-1
			args.Merge = s > 0
			b.dev.Attention(b.stream, []kernels.AttentionArgs{args})
		}
		b.near(t.String()+", output", b.read(args.Out), want, 2e-5)
		b.near(t.String()+", log-sum-exp", b.read(args.LSE), wantLSE, 2e-5)
	}
}

// floats takes a poisoned f32 matrix, whatever the activations are.
func (b *bench) floats(rows, cols int) kernels.Tensor {
	b.t.Helper()
	buffer, err := b.dev.Alloc(int64(rows*cols*4), kernels.Activations, "test matrix")
	if err != nil {
		b.t.Fatal(err)
	}
	b.taken = append(b.taken, buffer)
	m := kernels.Matrix(buffer.Data, kernels.F32, rows, cols)
	b.write(m, poison(rows*cols))
	return m
}

func testMerge(t *testing.T, b *bench) {
	const rows, kvHeads, group, hd, keys = 11, 2, 3, 64, 200
	shape := tile{rows: rows, kvHeads: kvHeads, group: group, hd: hd, keys: keys, scale: 1}
	width := shape.width()
	q, k, v := b.numbers(shape)
	want, wantLSE := shape.attend(q, k, v)
	kv := b.emptyKV(kvHeads, keys, hd)
	b.write(kv.Keys(), k)
	b.write(kv.Values(), v)
	var out, lse [2]kernels.Tensor
	for i, part := range [][2]int{{0, 71}, {71, keys}} {
		out[i], lse[i] = b.empty(rows, width), b.floats(kvHeads*group, rows)
		b.dev.Attention(b.stream, []kernels.AttentionArgs{{
			Q: b.put(q, rows, width), Out: out[i], LSE: lse[i], Group: group, HeadDim: hd, Scale: 1,
			KV: []kernels.KV{kv.TokenRange(part[0], part[1])},
		}})
	}
	b.dev.Merge(b.stream, out[0], lse[0], out[1], lse[1], hd)
	b.near("output", b.read(out[0]), want, 2e-5)
	b.near("log-sum-exp", b.read(lse[0]), wantLSE, 2e-5)
}
