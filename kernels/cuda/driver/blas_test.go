//go:build cuda && cgo && linux

package driver

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"
)

// blas opens cuBLASLt for a test, or skips it.
func blas(t testing.TB, c *Context) *BLAS {
	t.Helper()
	b, err := c.OpenBLAS()
	if errors.Is(err, ErrNoBLAS) {
		t.Skip(err)
	}
	try(t, err)
	t.Logf("cuBLASLt %s at %s", b.Version(), b.Path())
	if !filepath.IsAbs(b.Path()) {
		t.Errorf("cuBLASLt's file is %q; expected its whole path", b.Path())
	}
	t.Cleanup(func() { try(t, b.Close()) })
	return b
}

// encode rounds a number to a 16-bit type and returns its bits; decode undoes
// it. The numbers of these tests are neither subnormal nor too large for f16.
func encode(t Type, x float32) uint16 {
	b := math.Float32bits(x)
	if t == BF16 {
		return uint16((b + 0x7fff + b>>16&1) >> 16)
	}
	if x == 0 {
		return 0
	}
	b += 0xfff + b>>13&1
	return uint16(b>>16&0x8000 | (b>>23&0xff-112)<<10 | b>>13&0x3ff)
}

func decode(t Type, h uint16) float64 {
	if t == BF16 {
		return float64(math.Float32frombits(uint32(h) << 16))
	}
	if h&0x7c00 == 0 {
		return math.Copysign(float64(h&0x3ff)*0x1p-24, float64(int16(h)))
	}
	return float64(math.Float32frombits(uint32(h&0x8000)<<16 | uint32(h&0x7fff)<<13 + 112<<23))
}

func TestEncode(t *testing.T) {
	for h := range uint32(1 << 16) {
		for _, k := range []Type{F16, BF16} {
			x := decode(k, uint16(h))
			if x != x || math.IsInf(x, 0) || math.Abs(x) < 0x1p-14 || math.Abs(x) >= 0x1p16 {
				continue // not made by these tests
			}
			if got := encode(k, float32(x)); got != uint16(h) {
				t.Fatalf("%v: %#x is %g, which is %#x", k, h, x, got)
			}
		}
	}
	for _, c := range []struct {
		k    Type
		x    float32
		want uint16
	}{{F16, 1, 0x3c00}, {F16, -2, 0xc000}, {F16, 1 + 0x1p-11, 0x3c00}, {F16, 1 + 3*0x1p-11, 0x3c02}, {BF16, 1, 0x3f80}, {BF16, 1 + 0x1p-8, 0x3f80}, {BF16, 1 + 3*0x1p-8, 0x3f82}} {
		if got := encode(c.k, c.x); got != c.want {
			t.Errorf("%g as %v is %#x, want %#x", c.x, c.k, got, c.want)
		}
	}
}

func TestAlignment(t *testing.T) {
	for _, c := range []struct {
		p      Pointer
		stride int
		t      Type
		want   uint32
	}{{0x10000, 4096, BF16, 256}, {0x10002, 4096, BF16, 2}, {0x10000, 7, F16, 2}, {0x10000, 12, F32, 16}, {0x10010, 4096, F32, 16}} {
		if got := uint32(alignment(c.p, c.stride, c.t)); got != c.want {
			t.Errorf("rows of %v every %d elements from %#x are aligned to %d bytes, not %d", c.t, c.stride, uint64(c.p), c.want, got)
		}
	}
}

// matrix makes rows*stride numbers about ±1 in type t, in bits and as float64.
func matrix(r *rand.Rand, t Type, rows, stride int) ([]uint16, []float64) {
	h, x := make([]uint16, rows*stride), make([]float64, rows*stride)
	for i := range h {
		v := float32(r.NormFloat64())
		if v > -0.001 && v < 0.001 {
			v = 0.001
		}
		h[i] = encode(t, v)
		x[i] = decode(t, h[i])
	}
	return h, x
}

func TestMultiply(t *testing.T) {
	c := open(t)
	b := blas(t, c)
	s := stream(t, c)
	r := random(t)
	const workspaceBytes = 32 << 20
	workspace := device(t, c, workspaceBytes)
	for _, in := range []Type{BF16, F16} {
		for _, out := range []Type{in, F32} {
			for _, shape := range [][3]int{{1, 8, 8}, {128, 256, 512}, {17, 40, 24}, {33, 7, 65}, {1 + r.IntN(300), 1 + r.IntN(300), 1 + r.IntN(300)}, {300, 1024, 1024}} {
				for _, accumulate := range []bool{false, true} {
					p := Product{M: shape[0], N: shape[1], K: shape[2], Type: in, YType: out, Accumulate: accumulate}
					// Half of them with rows apart; 8 elements keep them aligned.
					pad := 8 * r.IntN(2)
					p.XStride, p.WStride, p.YStride = p.K+pad, p.K+2*pad, p.N+3*pad
					if r.IntN(3) > 0 {
						p.Workspace, p.WorkspaceBytes = workspace, workspaceBytes
					}
					if err := multiply(t, c, b, s, r, p); err > 1 {
						t.Errorf("%v, accumulate %v, %d bytes of workspace: the error is %.2f of what is allowed", p, accumulate, p.WorkspaceBytes, err)
					}
				}
			}
		}
	}
}

// multiply runs a product on random matrices and returns its largest error, as
// a multiple of what the types allow.
func multiply(t *testing.T, c *Context, b *BLAS, s *Stream, r *rand.Rand, p Product) float64 {
	t.Helper()
	hx, x := matrix(r, p.Type, p.M, p.XStride)
	hw, w := matrix(r, p.Type, p.N, p.WStride)
	hy, y := matrix(r, BF16, p.M, p.YStride)
	size := int64(p.YType.bytes())
	p.X, p.W = device(t, c, int64(2*len(hx))), device(t, c, int64(2*len(hw)))
	p.Y = device(t, c, size*int64(len(hy)))
	host := make([]byte, size*int64(len(hy)))
	wide := unsafe.Slice((*float32)(start(host)), len(host)/4)
	narrow := unsafe.Slice((*uint16)(start(host)), len(host)/2)
	for i := range y {
		if p.YType == F32 {
			wide[i] = float32(y[i])
		} else {
			narrow[i] = encode(p.YType, float32(y[i]))
			y[i] = decode(p.YType, narrow[i])
		}
	}
	try(t, s.CopyIn(p.X, start(hx), int64(2*len(hx))))
	try(t, s.CopyIn(p.W, start(hw), int64(2*len(hw))))
	try(t, s.CopyIn(p.Y, start(host), int64(len(host))))
	try(t, b.Multiply(s, p))
	try(t, s.CopyOut(start(host), p.Y, int64(len(host))))
	try(t, s.Synchronize())

	worst := 0.0
	for i := range p.M {
		for j := range p.YStride {
			at := i*p.YStride + j
			product, sum := 0.0, 0.0
			if j < p.N {
				for k := range p.K {
					term := x[i*p.XStride+k] * w[j*p.WStride+k]
					product += term
					sum += math.Abs(term)
				}
			}
			want := product
			if p.Accumulate || j >= p.N {
				want += y[at]
			}
			// The product may be rounded before it is added, and the sum is.
			got, rounding := float64(0), math.Abs(want)
			if p.Accumulate {
				rounding += math.Abs(product)
			}
			allowed := 1e-6*sum + 1e-7
			switch p.YType {
			case F32:
				got = float64(wide[at])
			case BF16:
				got = decode(BF16, narrow[at])
				allowed += rounding * 0x1p-8
			case F16:
				got = decode(F16, narrow[at])
				allowed += rounding*0x1p-11 + 0x1p-24
			}
			if j >= p.N {
				allowed = 0x1p-60 // between the rows nothing may change
			}
			e := math.Abs(got-want) / allowed
			if math.IsNaN(e) {
				return math.Inf(1)
			}
			worst = max(worst, e)
		}
	}
	return worst
}

func TestMultiplyRefusals(t *testing.T) {
	c := open(t)
	b := blas(t, c)
	s := stream(t, c)
	good := Product{M: 8, N: 8, K: 8, XStride: 8, WStride: 8, YStride: 8, Type: BF16, YType: BF16}
	for what, spoil := range map[string]func(*Product){
		"no extent":  func(p *Product) { p.M = 0 },
		"a stride":   func(p *Product) { p.WStride = 7 },
		"the result": func(p *Product) { p.YType = F16 },
		"be bf16 or": func(p *Product) { p.Type = F32 },
	} {
		p := good
		spoil(&p)
		if err := b.Multiply(s, p); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("expected an error that says %q, got %v", what, err)
		}
	}
}

// The choices kept stay bounded, and dropping them does no harm.
func TestManyShapes(t *testing.T) {
	c := open(t)
	b := blas(t, c)
	s := stream(t, c)
	p := Product{N: 8, K: 8, XStride: 8, WStride: 8, YStride: 8, Type: BF16, YType: BF16}
	memory := device(t, c, 1<<20)
	p.X, p.W, p.Y = memory, memory+1<<19, memory+1<<18
	for m := 1; m <= maxPlans+100; m++ {
		p.M = m
		try(t, b.Multiply(s, p))
	}
	try(t, s.Synchronize())
	if len(b.plans) > maxPlans || len(b.plans) == 0 {
		t.Errorf("%d choices are kept, of at most %d", len(b.plans), maxPlans)
	}
}

func TestNoBLAS(t *testing.T) {
	c := open(t)
	junk := filepath.Join(t.TempDir(), blasNames[0])
	try(t, os.WriteFile(junk, []byte("not a library"), 0o600))
	_, err := c.openFirst([]string{"/nowhere/" + blasNames[0], junk})
	if !errors.Is(err, ErrNoBLAS) {
		t.Fatalf("got %v", err)
	}
	for _, said := range []string{"/nowhere/libcublasLt.so.13", "could not use " + junk, "HEADINFER_CUBLAS"} {
		if !strings.Contains(err.Error(), said) {
			t.Errorf("the error does not say %q: %v", said, err)
		}
	}
}

// Prints the rate of products as in a prefill of an 8-billion model.
func BenchmarkMultiply(b *testing.B) {
	c := open(b)
	lt := blas(b, c)
	s := stream(b, c)
	const workspaceBytes = 32 << 20
	workspace := device(b, c, workspaceBytes)
	r := random(b)
	noise, _ := matrix(r, BF16, 1, 1<<20)
	for _, shape := range [][3]int{{8192, 8192, 8192}, {8192, 4096, 4096}, {8192, 28672, 4096}, {1024, 6144, 4096}} {
		m, n, k := shape[0], shape[1], shape[2]
		b.Run(fmt.Sprintf("%dx%dx%d", m, n, k), func(b *testing.B) {
			p := Product{M: m, N: n, K: k, XStride: k, WStride: k, YStride: n, Type: BF16, YType: BF16, Workspace: workspace, WorkspaceBytes: workspaceBytes}
			p.X, p.W, p.Y = device(b, c, int64(2*m*k)), device(b, c, int64(2*n*k)), device(b, c, int64(2*m*n))
			for row := range max(m, n) { // the same noise, from another place in each row
				from := noise[r.IntN(len(noise)-k-1):]
				if row < m {
					try(b, s.CopyIn(p.X+Pointer(2*row*k), start(from), int64(2*k)))
				}
				if row < n {
					try(b, s.CopyIn(p.W+Pointer(2*row*k), start(from[1:]), int64(2*k)))
				}
			}
			try(b, lt.Multiply(s, p))
			try(b, s.Synchronize())
			for b.Loop() {
				for range 20 {
					try(b, lt.Multiply(s, p))
				}
				try(b, s.Synchronize())
			}
			flops := 2 * float64(m) * float64(n) * float64(k) * 20 * float64(b.N)
			b.ReportMetric(flops/b.Elapsed().Seconds()/1e12, "TFLOP/s")
		})
	}
}
