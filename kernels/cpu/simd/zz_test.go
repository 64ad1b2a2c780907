package simd

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"headinfer/kernels"
)

func BenchmarkZDecode(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	benchLevels(b, func(b *testing.B, p Peak) {
		for _, d := range []int{64, 128} {
			for _, g := range []int{1, 3, 4, 8} {
				b.Run(fmt.Sprintf("d=%d/g=%d", d, g), func(b *testing.B) {
					keys := (1 << 15) / d
					c := randomAttention(r, d, 1, g, 1, false, kernels.F32)
					c.a.Pieces = []Piece{{K: normals(r, keys*d), V: normals(r, keys*d), Tokens: keys}}
					scratch := make([]float32, AttentionScratch(c.a))
					rate(b, func() {
						for range 50 {
							Attention(c.a, scratch)
						}
					}, 50*8*float64(keys*d), p.BytesPerSecond, "GB/s", "%read")
				})
			}
		}
	})
}
