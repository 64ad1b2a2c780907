package cpu_test

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"headinfer/kernels"
	"headinfer/kernels/cpu"
	devicerate "headinfer/kernels/rate"
)

// BenchmarkLinear measures products with every encoding of weights on all
// processors: with one row the encoded bytes read a second, beside what the
// processors together read of memory just before, and with 512 rows the operations,
// beside those with weights in f32.
func BenchmarkLinear(b *testing.B) {
	threads := runtime.NumCPU()
	var reads, f32 float64
	b.Run("read", func(b *testing.B) {
		for range b.N {
			reads = max(reads, devicerate.HostRead(threads))
		}
		b.ReportMetric(reads/1e9, "GB/s")
	})
	for _, d := range kernels.DTypes() {
		b.Run("1/"+d.String(), func(b *testing.B) {
			const cols, outs = 4096, 16384
			seconds, bytes := bestLinear(b, d, 1, cols, outs)
			b.ReportMetric(bytes/seconds/1e9, "GB/s")
			if reads > 0 {
				b.ReportMetric(100*bytes/seconds/reads, "%read")
			}
			b.ReportMetric(cols*outs/seconds/1e9, "Gelements/s")
		})
	}
	for _, d := range kernels.DTypes() {
		b.Run("512/"+d.String(), func(b *testing.B) {
			const rows, cols, outs = 512, 2048, 1536
			seconds, _ := bestLinear(b, d, rows, cols, outs)
			flops := 2 * rows * cols * outs / seconds
			if d == kernels.F32 {
				f32 = flops
			}
			b.ReportMetric(flops/1e9, "GFLOP/s")
			if f32 > 0 {
				b.ReportMetric(100*flops/f32, "%f32")
			}
		})
	}
}

// bestLinear returns the seconds of the fastest of b.N products, and the bytes of
// the weight.
func bestLinear(b *testing.B, d kernels.DType, rows, cols, outs int) (seconds, bytes float64) {
	b.Helper()
	dev := cpu.Open(2<<30, 0)
	defer func() {
		if err := dev.Close(); err != nil {
			b.Error(err)
		}
	}()
	row, err := d.RowBytes(cols)
	if err != nil {
		b.Fatal(err)
	}
	data := make([]byte, outs*row)
	some := someWeights(b, rand.New(rand.NewPCG(1, 1)), d, 64*cols)
	for at := 0; at < len(data); at += copy(data[at:], some) {
	}
	w, err := dev.Weight("bench", data, d, outs, cols)
	if err != nil {
		b.Fatal(err)
	}
	matrix := func(cols int) kernels.Tensor {
		return kernels.Matrix(unsafe.Pointer(unsafe.SliceData(make([]float32, rows*cols))), kernels.F32, rows, cols)
	}
	x, y, s := matrix(cols), matrix(outs), dev.NewStream("bench")
	dev.Random(s, x, 1, 0, 1)
	if err := s.Synchronize(); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for range b.N {
		start := time.Now()
		dev.Linear(s, y, x, []kernels.Tensor{w}, false)
		if err := s.Synchronize(); err != nil {
			b.Fatal(err)
		}
		if t := time.Since(start).Seconds(); seconds == 0 || t < seconds {
			seconds = t
		}
	}
	b.StopTimer()
	return seconds, float64(len(data))
}
