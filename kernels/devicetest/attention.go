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

// attend is attention as the textbook has it, in float64: rows of query heads
// against heads of keys, [heads, keys, hd].
func attend(q, k, v []float32, rows, kvHeads, group, hd, keys int, causal bool, scale float64) (out, lse []float64) {
	width := kvHeads * group * hd
	out, lse = make([]float64, rows*width), make([]float64, kvHeads*group*rows)
	for r := range rows {
		for h := range kvHeads * group {
			visible := keys
			if causal {
				visible = max(0, min(keys, keys-rows+r+1))
			}
			scores := make([]float64, visible)
			top := math.Inf(-1)
			base := h / group * keys * hd
			for j := range scores {
				for i := range hd {
					scores[j] += float64(q[r*width+h*hd+i]) * float64(k[base+j*hd+i])
				}
				scores[j] *= scale
				top = max(top, scores[j])
			}
			sum := 0.0
			for j := range scores {
				scores[j] = math.Exp(scores[j] - top)
				sum += scores[j]
			}
			for j, s := range scores {
				for i := range hd {
					out[r*width+h*hd+i] += s / sum * float64(v[base+j*hd+i])
				}
			}
			lse[h*rows+r] = top + math.Log(sum)
		}
	}
	return out, lse
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
				name := fmt.Sprintf("head_dim %d, %d rows of %d×%d heads, %d keys, causal %v", hd, rows, kvHeads, group, keys, causal)
				b.oneAttention(name, rows, kvHeads, group, hd, keys, causal)
				b.drop()
			}
		}
	}
}

func (b *bench) oneAttention(name string, rows, kvHeads, group, hd, keys int, causal bool) {
	b.t.Helper()
	width := kvHeads * group * hd
	q, k, v := b.normal(rows*width), b.normal(kvHeads*keys*hd), b.normal(kvHeads*keys*hd)
	scale := 1 / math.Sqrt(float64(hd))
	want, wantLSE := attend(q, k, v, rows, kvHeads, group, hd, keys, causal, scale)

	kv := b.emptyKV(kvHeads, keys, hd)
	b.write(kv.Keys(), k)
	b.write(kv.Values(), v)
	args := kernels.AttentionArgs{
		Q: b.put(q, rows, width), Group: group, HeadDim: hd, Scale: float32(scale),
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
		if causal {
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
			args.Causal = causal && s == spans-1
			args.Merge = s > 0
			b.dev.Attention(b.stream, args)
		}
		b.near(name+", output", b.read(args.Out), want, 2e-5)
		b.near(name+", log-sum-exp", b.read(args.LSE), wantLSE, 2e-5)
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
	width := kvHeads * group * hd
	q, k, v := b.normal(rows*width), b.normal(kvHeads*keys*hd), b.normal(kvHeads*keys*hd)
	want, wantLSE := attend(q, k, v, rows, kvHeads, group, hd, keys, false, 1)
	kv := b.emptyKV(kvHeads, keys, hd)
	b.write(kv.Keys(), k)
	b.write(kv.Values(), v)
	var out, lse [2]kernels.Tensor
	for i, part := range [][2]int{{0, 71}, {71, keys}} {
		out[i], lse[i] = b.empty(rows, width), b.floats(kvHeads*group, rows)
		b.dev.Attention(b.stream, kernels.AttentionArgs{
			Q: b.put(q, rows, width), Out: out[i], LSE: lse[i], Group: group, HeadDim: hd, Scale: 1,
			KV: []kernels.KV{kv.TokenRange(part[0], part[1])},
		})
	}
	b.dev.Merge(b.stream, out[0], lse[0], out[1], lse[1], hd)
	b.near("output", b.read(out[0]), want, 2e-5)
	b.near("log-sum-exp", b.read(lse[0]), wantLSE, 2e-5)
}
