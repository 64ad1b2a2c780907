package simd

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"headinfer/kernels"
)

var (
	peaks    = map[string]Peak{}
	coldOnce = sync.OnceValue(func() []byte {
		b := make([]byte, 256<<20)
		for i := 0; i < len(b); i += 64 {
			b[i] = byte(i) // touched, or every page is the same page of zeros
		}
		return b
	})
)

// benchLevels runs f under every level, with the ceilings measured there.
func benchLevels(b *testing.B, f func(b *testing.B, p Peak)) {
	before := Level()
	defer func() {
		if err := Use(before); err != nil {
			b.Fatal(err)
		}
	}()
	for _, name := range Levels() {
		if err := Use(name); err != nil {
			b.Fatal(err)
		}
		if _, ok := peaks[name]; !ok {
			peaks[name] = MeasurePeak(coldOnce())
		}
		b.Run(name, func(b *testing.B) { f(b, peaks[name]) })
	}
}

// rate runs f b.N times and reports its best rate, in work a second, and the
// share of a ceiling that is. It returns the rate.
func rate(b *testing.B, f func(), work, ceiling float64, unit, share string) float64 {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	b.ResetTimer()
	best := time.Duration(math.MaxInt64)
	for range b.N {
		start := now()
		f()
		best = min(best, now()-start)
	}
	r := work / best.Seconds()
	b.ReportMetric(r/1e9, unit)
	b.ReportMetric(100*r/ceiling, share)
	return r
}

func BenchmarkPeak(b *testing.B) {
	benchLevels(b, func(b *testing.B, p Peak) {
		for range b.N {
			current.Load().peakFMA(1 << 16)
		}
		b.ReportMetric(p.FLOPPerSecond/1e9, "GFLOP/s")
		b.ReportMetric(p.BytesPerSecond/1e9, "GB/s")
	})
}

func BenchmarkGEMM(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	benchLevels(b, func(b *testing.B, p Peak) {
		for _, shape := range [][3]int{{512, 576, 1536}, {512, 1536, 576}, {64, 576, 1536}, {32, 576, 1536}, {16, 1536, 576}, {16, 576, 1536}, {8, 576, 1536}, {5, 576, 1536}, {4, 576, 1536}, {3, 576, 1536}, {2, 576, 1536}} {
			m, k, n := shape[0], shape[1], shape[2]
			for _, d := range kernels.DTypes() {
				if k%d.Block() != 0 {
					continue
				}
				b.Run(fmt.Sprintf("%dx%dx%d/%s", m, k, n, d), func(b *testing.B) {
					var x Packed
					Pack(&x, normals(r, m*k), k, m, k)
					w, y, scratch := randomWeights(r, d, n*k), make([]float32, m*n), make([]float32, GEMMScratch(k))
					rate(b, func() { GEMM(y, n, &x, w, d, n, false, scratch) }, 2*float64(m*n*k), p.FLOPPerSecond, "GFLOP/s", "%peak")
				})
			}
		}
	})
}

// BenchmarkGEMMPairs is beside float32's peak: of products in bf16 it is half.
func BenchmarkGEMMPairs(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	benchLevels(b, func(b *testing.B, p Peak) {
		if err := CanPairs(); err != nil {
			b.Skip(err)
		}
		for _, shape := range [][3]int{{512, 576, 1536}, {512, 1536, 576}, {64, 576, 1536}, {16, 576, 1536}} {
			m, k, n := shape[0], shape[1], shape[2]
			b.Run(fmt.Sprintf("%dx%dx%d", m, k, n), func(b *testing.B) {
				var packed Packed
				packed.BeginPairs(m, k)
				x, w, y, scratch := normals(r, m*k), randomWeights(r, kernels.BF16, n*k), make([]float32, m*n), make([]float32, GEMMScratch(k))
				rate(b, func() {
					packed.PackPairs(x, k, 0, m)
					GEMMPairs(y, n, &packed, w, n, false, scratch)
				}, 2*float64(m*n*k), p.FLOPPerSecond, "GFLOP/s", "%peak")
			})
		}
	})
}

// BenchmarkGEMV reads 64 MB of weights, so that they come from memory. Where it is
// far from the rate of reading, decoding is what bounds it: elements a second say
// how fast that is.
func BenchmarkGEMV(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	const k = 1536
	benchLevels(b, func(b *testing.B, p Peak) {
		for _, d := range kernels.DTypes() {
			b.Run(d.String(), func(b *testing.B) {
				row, err := d.RowBytes(k)
				if err != nil {
					b.Fatal(err)
				}
				n := (64 << 20) / row
				some := randomWeights(r, d, k*64)
				w := make([]byte, n*row)
				for at := 0; at < len(w); at += copy(w[at:], some) {
				}
				x, y := normals(r, k), make([]float32, n)
				v := Lay(x, d, make([]float32, LayFloats(k)))
				bytes := rate(b, func() { GEMV(y, v, w) }, float64(len(w)), p.BytesPerSecond, "GB/s", "%read")
				b.ReportMetric(bytes*k/float64(row)/1e9, "Gelements/s")
			})
		}
	})
}

func BenchmarkPrefillAttention(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	benchLevels(b, func(b *testing.B, p Peak) {
		for _, d := range []int{64, 128} {
			for _, g := range []int{3, 4} {
				b.Run(fmt.Sprintf("d=%d/g=%d", d, g), func(b *testing.B) {
					const rows, keys = 512, 4096
					c := randomAttention(r, d, rows, g, 1, false, kernels.F32)
					c.a.Pieces = []Piece{{K: normals(r, keys*d), V: normals(r, keys*d), Tokens: keys}}
					scratch := make([]float32, AttentionScratch(c.a))
					rate(b, func() { Attention(c.a, scratch) }, 4*float64(rows*g*keys*d), p.FLOPPerSecond, "GFLOP/s", "%peak")
				})
			}
		}
	})
}

// BenchmarkMaskedAttention counts the scores that the masks let through: of the
// last queries of a long text, with all rules that a layer may have.
func BenchmarkMaskedAttention(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	const rows, g, d = 512, 4, 128
	benchLevels(b, func(b *testing.B, p Peak) {
		for _, c := range []struct {
			keys, window int
			softCap      float32
		}{{4096, 0, 0}, {4096, 0, 50}, {4096, 1024, 0}, {32768, 1024, 0}, {32768, 1024, 50}} {
			b.Run(fmt.Sprintf("keys=%d/window=%d/cap=%g", c.keys, c.window, c.softCap), func(b *testing.B) {
				a := randomAttention(r, d, rows, g, 1, false, kernels.F32).a
				a.Pieces = []Piece{{K: normals(r, c.keys*d), V: normals(r, c.keys*d), Tokens: c.keys}}
				a.Causal, a.Window, a.SoftCap = true, c.window, c.softCap
				seen := 0
				for row := range rows {
					seen += a.visible(row, c.keys) - a.reach(row, c.keys)
				}
				scratch := make([]float32, AttentionScratch(a))
				rate(b, func() { Attention(a, scratch) }, 4*float64(seen*g*d), p.FLOPPerSecond, "GFLOP/s", "%peak")
			})
		}
	})
}

// BenchmarkDecodeAttention reads 128 MB of keys and values.
func BenchmarkDecodeAttention(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	benchLevels(b, func(b *testing.B, p Peak) {
		for _, d := range []int{64, 128} {
			for _, g := range []int{1, 3, 4, 8} {
				b.Run(fmt.Sprintf("d=%d/g=%d", d, g), func(b *testing.B) {
					keys := (16 << 20) / d
					c := randomAttention(r, d, 1, g, 1, false, kernels.F32)
					c.a.Pieces = []Piece{{K: make([]float32, keys*d), V: make([]float32, keys*d), Tokens: keys}}
					for i := range keys * d {
						c.a.Pieces[0].K[i], c.a.Pieces[0].V[i] = float32(i%7), float32(i%5)
					}
					scratch := make([]float32, AttentionScratch(c.a))
					rate(b, func() { Attention(c.a, scratch) }, 8*float64(keys*d), p.BytesPerSecond, "GB/s", "%read")
				})
			}
		}
	})
}

// BenchmarkAttentionMass does half of what attention does.
func BenchmarkAttentionMass(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	benchLevels(b, func(b *testing.B, p Peak) {
		for _, d := range []int{64, 128} {
			for _, rows := range []int{1, 512} {
				b.Run(fmt.Sprintf("d=%d/rows=%d", d, rows), func(b *testing.B) {
					const keys, g = 4096, 4
					c := randomAttention(r, d, rows, g, 1, false, kernels.F32)
					c.a.Pieces = []Piece{{K: normals(r, keys*d), V: make([]float32, keys*d), Tokens: keys}}
					clear(c.a.LSE)
					mass, scratch := make([]float32, keys), make([]float32, MassScratch(c.a))
					rate(b, func() { AttentionMass(mass, c.a, scratch) }, 2*float64(rows*g*keys*d), p.FLOPPerSecond, "GFLOP/s", "%peak")
				})
			}
		}
	})
}

// BenchmarkCodes counts the bytes of the codes and of the numbers, 128 MB of
// them, so that they go to memory.
func BenchmarkCodes(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	const headDim, n = 128, 32 << 20
	x := make([]float32, n)
	benchLevels(b, func(b *testing.B, p Peak) {
		for _, d := range kernels.KVCodes() {
			codes := make([]byte, n/d.Block()*d.BlockBytes())
			some := randomCodes(r, d, 1024)
			for at := 0; at < len(codes); at += copy(codes[at:], some) {
			}
			work := float64(len(codes) + 4*n)
			b.Run("keys/"+d.String(), func(b *testing.B) {
				rate(b, func() { DequantizeKeys(x, codes, d, headDim) }, work, p.BytesPerSecond, "GB/s", "%read")
			})
			b.Run("values/"+d.String(), func(b *testing.B) {
				rate(b, func() { current.Load().dequantize(x, codes, d) }, work, p.BytesPerSecond, "GB/s", "%read")
			})
		}
	})
}

// BenchmarkQuantize is plain Go at every level.
func BenchmarkQuantize(b *testing.B) {
	x := normals(rand.New(rand.NewPCG(1, 1)), 1<<16)
	for _, d := range kernels.KVCodes() {
		b.Run(d.String(), func(b *testing.B) {
			codes := make([]byte, len(x)/d.Block()*d.BlockBytes())
			b.SetBytes(int64(4 * len(x)))
			for b.Loop() {
				if err := Quantize(codes, x, d); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRows(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	const n = 1536
	x, y, z := normals(r, n), normals(r, n), normals(r, n)
	benchLevels(b, func(b *testing.B, _ Peak) {
		for name, f := range map[string]func(){
			"rmsnorm": func() { RMSNorm(y, x, z, 1e-5) },
			"swiglu":  func() { SwiGLU(y, x, z) },
			"geglu":   func() { GeGLU(y, x, z) },
			"add":     func() { AddInto(y, x) },
			"exp":     func() { Exp(y, x) },
			"rope":    func() { RoPE(x, y[:n/2], z[:n/2], false) },
		} {
			b.Run(name, func(b *testing.B) {
				for range b.N {
					f()
				}
				b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds()/1e9, "Gelements/s")
			})
		}
	})
}
