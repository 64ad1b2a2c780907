package cpu_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"headinfer/kernels"
	"headinfer/kernels/cpu"
)

// The benchmarks below take one thread, so that a figure is a core's.

// plainKV takes keys and values of normal numbers.
func plainKV(b *testing.B, d kernels.Device, heads, tokens, hd int) kernels.KV {
	n := heads * tokens * hd
	k, v := alloc(b, d, kernels.F32, 1, n), alloc(b, d, kernels.F32, 1, n)
	s := d.NewStream("fill")
	d.Random(s, k, rand.Uint64(), 0, 1)
	d.Random(s, v, rand.Uint64(), 0, 1)
	if err := s.Synchronize(); err != nil {
		b.Fatal(err)
	}
	return kernels.KV{K: k.Data, V: v.Data, DType: kernels.F32, Heads: heads, Tokens: tokens, HeadDim: hd, HeadStride: tokens * hd}
}

func alloc(b *testing.B, d kernels.Device, dt kernels.DType, rows, cols int) kernels.Tensor {
	t, err := d.NewWeight("benchmark", dt, rows, cols)
	if err != nil {
		b.Fatal(err)
	}
	return t
}

// best runs f, which enqueues on s, n times and returns its shortest time.
func best(b *testing.B, s kernels.Stream, n int, f func()) time.Duration {
	least := time.Duration(math.MaxInt64)
	for range n {
		start := time.Now()
		f()
		if err := s.Synchronize(); err != nil {
			b.Fatal(err)
		}
		least = min(least, time.Since(start))
	}
	return least
}

// oneThread opens a device that the benchmark closes.
func oneThread(b *testing.B) kernels.Device {
	d := cpu.Open(4<<30, 1)
	b.Cleanup(func() {
		if err := d.Close(); err != nil {
			b.Error(err)
		}
	})
	return d
}

// BenchmarkKVCodes counts the bytes of plain and coded numbers together, in a
// cache's reach and beyond it.
func BenchmarkKVCodes(b *testing.B) {
	d := oneThread(b)
	s := d.NewStream("compute")
	for _, shape := range [][3]int{{2, 1024, 128}, {8, 8192, 128}} {
		plain := plainKV(b, d, shape[0], shape[1], shape[2])
		n := plain.Heads * plain.Tokens * plain.HeadDim
		for _, dt := range kernels.KVCodes() {
			coded := plain
			coded.DType = dt
			coded.K, coded.V = alloc(b, d, dt, 1, n).Data, alloc(b, d, dt, 1, n).Data
			bytes := 2 * float64(n) * (4 + float64(dt.BlockBytes())/float64(dt.Block()))
			name := fmt.Sprintf("%dx%dx%d/%s", shape[0], shape[1], shape[2], dt)
			b.Run("quantize/"+name, func(b *testing.B) {
				t := best(b, s, b.N, func() { d.QuantizeKV(s, coded, []kernels.KV{plain}) })
				b.ReportMetric(bytes/t.Seconds()/1e9, "GB/s")
			})
			b.Run("dequantize/"+name, func(b *testing.B) {
				t := best(b, s, b.N, func() { d.DequantizeKV(s, plain, coded) })
				b.ReportMetric(bytes/t.Seconds()/1e9, "GB/s")
			})
		}
	}
}

// BenchmarkAttentionMass counts the multiplications of queries and keys, and
// shows its time as a share of attention's, which has twice as many.
func BenchmarkAttentionMass(b *testing.B) {
	d := oneThread(b)
	s := d.NewStream("compute")
	const heads, group = 2, 4
	for _, shape := range [][3]int{{1, 8192, 128}, {3, 8192, 64}, {256, 2048, 64}, {256, 2048, 128}} {
		rows, keys, hd := shape[0], shape[1], shape[2]
		kv := plainKV(b, d, heads, keys, hd)
		q, mass := alloc(b, d, kernels.F32, rows, heads*group*hd), alloc(b, d, kernels.F32, heads, keys)
		d.Random(s, q, 1, 0, 1)
		a := kernels.AttentionArgs{
			Q: q, Out: alloc(b, d, kernels.F32, rows, q.Cols), LSE: alloc(b, d, kernels.F32, heads*group, rows),
			KV: []kernels.KV{kv}, Group: group, HeadDim: hd, Scale: float32(1 / math.Sqrt(float64(hd))),
		}
		work := 2 * float64(rows*heads*group*keys*hd)
		b.Run(fmt.Sprintf("rows=%d/keys=%d/d=%d", rows, keys, hd), func(b *testing.B) {
			attention := best(b, s, 5, func() { d.Attention(s, []kernels.AttentionArgs{a}) })
			b.ResetTimer()
			t := best(b, s, b.N, func() { d.AttentionMass(s, mass, a) })
			b.ReportMetric(work/t.Seconds()/1e9, "GFLOP/s")
			b.ReportMetric(100*t.Seconds()/attention.Seconds(), "%attention")
		})
	}
}
