package devicetest

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"headinfer/kernels"
)

func testAttentionMass(t *testing.T, b *bench) {
	groups := []int{1, 3, 4}
	for i, hd := range []int{32, 64, 128} {
		for j, rows := range []int{1, 5, 64} {
			keys := rows + 1 + b.rand.IntN(900/rows+100)
			b.oneMass(rows, 1+b.rand.IntN(2), groups[(i+j)%len(groups)], hd, keys)
			b.drop()
		}
	}
	// Many rows cost the plain computation much.
	b.oneMass(300, 1, groups[b.rand.IntN(len(groups))], []int{32, 64, 96}[b.rand.IntN(3)], 301+b.rand.IntN(100))
	b.oneMass(7, 2, 3, 64, 4) // with a causal mask, the first three rows see no key
}

// oneMass tries a shape with and without a causal mask.
func (b *bench) oneMass(rows, kvHeads, group, hd, keys int) {
	b.t.Helper()
	width := kvHeads * group * hd
	q, k, v := b.normal(rows*width), b.normal(kvHeads*keys*hd), b.normal(kvHeads*keys*hd)
	scale := 1 / math.Sqrt(float64(hd))
	scores := make([]float64, rows*kvHeads*group*keys)
	for at := range scores {
		r, h, j := at/keys/(kvHeads*group), at/keys%(kvHeads*group), at%keys
		query, key := q[r*width+h*hd:][:hd], k[(h/group*keys+j)*hd:][:hd]
		sum := 0.0
		for i, x := range query {
			sum += float64(x) * float64(key[i])
		}
		scores[at] = sum * scale
	}
	args := kernels.AttentionArgs{
		Q: b.put(q, rows, width), KV: b.pieces(k, v, kvHeads, keys, hd),
		Group: group, HeadDim: hd, Scale: float32(scale),
	}
	for _, causal := range []bool{false, true} {
		args.Causal = causal
		name := fmt.Sprintf("head_dim %d, %d rows of %d×%d heads, %d keys in %d pieces, causal %v",
			hd, rows, kvHeads, group, keys, len(args.KV), causal)
		b.mass(name, args, scores, rows, kvHeads, keys)
	}
}

// mass compares with the definition on scores, [rows, query heads, keys].
func (b *bench) mass(name string, args kernels.AttentionArgs, scores []float64, rows, kvHeads, keys int) {
	b.t.Helper()
	heads := kvHeads * args.Group
	lse, want := make([]float32, heads*rows), make([]float64, kvHeads*keys)
	seeing := 0
	for r := range rows {
		visible := keys
		if args.Causal {
			visible = max(0, min(keys, keys-rows+r+1))
		}
		seeing += min(visible, 1)
		for h := range heads {
			sum := 0.0
			seen := scores[(r*heads+h)*keys:][:visible]
			for _, s := range seen {
				sum += math.Exp(s)
			}
			lse[h*rows+r] = float32(math.Log(sum))
			mass := want[h/args.Group*keys:][:visible]
			for j, s := range seen {
				mass[j] += math.Exp(s) / sum
			}
		}
	}
	args.LSE = b.floats(heads, rows)
	b.write(args.LSE, lse)
	before := make([]float32, len(want))
	for i := range before {
		before[i] = b.rand.Float32()
	}
	var first []float32
	for range 2 {
		const gap = 5
		whole := b.floats(kvHeads, keys+gap)
		held := whole.ColRange(0, keys)
		b.write(held, before)
		b.dev.AttentionMass(b.stream, held, args)
		got := b.read(held)
		for h := range kvHeads {
			total := 0.0
			for j := h * keys; j < (h+1)*keys; j++ {
				added := float64(got[j]) - float64(before[j])
				total += added
				if !(math.Abs(added-want[j]) <= 1e-4*want[j]+1e-6) {
					b.t.Fatalf("%s: key %d of head %d received %g, want %g", name, j-h*keys, h, added, want[j])
				}
			}
			if all := float64(seeing * args.Group); !(math.Abs(total-all) <= 1e-5*all+1e-7*float64(keys)) {
				b.t.Fatalf("%s: head %d's keys received %g in all, want %g", name, h, total, all)
			}
		}
		for i, v := range b.read(whole) {
			if i%(keys+gap) >= keys && v == v {
				b.t.Fatalf("%s: wrote %g past a head's keys", name, v)
			}
		}
		if first == nil {
			first = got
		} else if !slices.Equal(first, got) {
			b.t.Fatalf("%s: the same again gave other sums", name)
		}
	}
}
