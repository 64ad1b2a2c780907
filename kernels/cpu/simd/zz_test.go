package simd

import (
	"math/rand/v2"
	"testing"

	"headinfer/kernels"
)

func BenchmarkZGEMV(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	const k = 1536
	benchLevels(b, func(b *testing.B, p Peak) {
		for _, d := range kernels.DTypes() {
			b.Run(d.String(), func(b *testing.B) {
				n := 128
				w := randomWeights(r, d, k*n)
				x, y := normals(r, k), make([]float32, n)
				rate(b, func() { for range 50 { GEMV(y, x, w, d) } }, 50*float64(len(w)), p.BytesPerSecond, "GB/s", "%read")
			})
		}
	})
}
