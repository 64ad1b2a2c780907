package simd

import (
	"math/rand/v2"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"headinfer/kernels"
)

// guarded returns n bytes with an unreadable page directly after them: a
// kernel that reads past its slice ends the test.
func guarded(t *testing.T, n int) []byte {
	page := unix.Getpagesize()
	size := (n + page - 1) / page * page
	m, err := unix.Mmap(-1, 0, size+page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Skipf("mmap: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(m); err != nil {
			t.Error(err)
		}
	})
	if err := unix.Mprotect(m[size:], unix.PROT_NONE); err != nil {
		t.Skipf("mprotect: %v", err)
	}
	return m[size-n : size : size]
}

func guardedFloats(t *testing.T, r *rand.Rand, n int) []float32 {
	b := guarded(t, 4*n)
	f := unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), n)
	copy(f, normals(r, n))
	return f
}

func TestNothingPastSlicesIsTouched(t *testing.T) {
	r := fresh(t)
	floats := func(n int) []float32 { return guardedFloats(t, r, n) }
	eachLevel(t, func(t *testing.T) {
		for _, d := range kernels.DTypes() {
			for _, n := range []int{1, 3, 5, 8, 20} {
				k := max(32, d.Block()) * (1 + r.IntN(3))
				if !d.Quantized() {
					k -= r.IntN(32)
				}
				w := guarded(t, len(randomWeights(r, d, n*k)))
				copy(w, randomWeights(r, d, n*k))
				m := []int{3, 5, 7, 33}[r.IntN(4)] // each way of products
				x := floats(m * k)
				GEMV(floats(n), Lay(x[(m-1)*k:], d, floats(LayFloats(k))), w)
				var p Packed
				Pack(&p, x, k, m, k)
				GEMM(floats(m*n), n, &p, w, d, n, r.IntN(2) == 0, floats(GEMMScratch(k)))
				if err := Dequantize(floats(n*k), w, d); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, d := range kernels.KVCodes() {
			for range 4 {
				headDim, records := 64*(1+r.IntN(4)), 1+r.IntN(3)
				n := records * d.Block() * headDim
				size := n / d.Block() * d.BlockBytes()
				src := guarded(t, size)
				copy(src, randomCodes(r, d, n/d.Block()))
				DequantizeKeys(floats(n), src, d, headDim)
				if err := Dequantize(floats(n), src, d); err != nil {
					t.Fatal(err)
				}
				if err := Quantize(guarded(t, size), floats(n), d); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, n := range sizes {
			RMSNorm(floats(n), floats(n), floats(n), 1e-5)
			AddRMSNorm(floats(n), floats(n), floats(n), 1e-5)
			Scale(floats(n), floats(n), 2)
			SwiGLU(floats(n), floats(n), floats(n))
			GeGLU(floats(n), floats(n), floats(n))
			AddInto(floats(n), floats(n))
			Exp(floats(n), floats(n))
			RoPE(floats(2*n), floats(n), floats(n), n%2 == 0)
		}
		for range 20 {
			d, rows, g, keys, causal := randomShape(r)
			c := randomAttention(r, d, rows, g, 1, causal, kernels.F32)
			a := c.a
			a.Q, a.Out, a.LSE = floats(len(a.Q)), floats(len(a.Out)), floats(len(a.LSE))
			a.Pieces = []Piece{{K: floats(keys * d), V: floats(keys * d), Tokens: keys}}
			if keys > 0 && r.IntN(2) == 0 {
				a.KVType = kernels.F16
				a.Pieces = []Piece{{KRaw: guarded(t, 2*keys*d), VRaw: guarded(t, 2*keys*d), Tokens: keys}}
			}
			AttentionMass(floats(keys), a, floats(MassScratch(a)))
			c.a = a
			c.restrict(r)
			Attention(c.a, floats(AttentionScratch(a)))
		}
	})
}
