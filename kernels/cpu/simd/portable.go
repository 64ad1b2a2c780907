package simd

import (
	"math"
	"unsafe"

	"headinfer/kernels"
)

// The portable level: each function of a kernelSet in plain Go, with vectors
// of eight lanes. It is what the others are compared with.

const goLanes = 8

func portable() *kernelSet {
	s := &kernelSet{
		name: "go", lanes: goLanes, rows: 4, transpose8: transpose8Go,
		softmax1: softmaxLanesGo(1), softmax3: softmaxLanesGo(3),
		mass1: massLanesGo(1), mass3: massLanesGo(3),
		keys8: keysGo(8), keys4: keysGo(4),
		dots:   [3]dotsFunc{dotsGo(1), dotsGo(2), dotsGo(4)},
		expRow: expRowGo, swiglu: swigluGo, geglu: gegluRowGo, capRow: capRowGo, sumSquares: sumSquaresGo, maxRow: maxRowGo,
		addRow: addRowGo, scaleRow: scaleRowGo, addScaleRow: addScaleRowGo, blendRow: blendRowGo, timesRow: timesRowGo,
		rotateRow: rotateRowGo, peakFMA: peakFMAGo, readAll: readAllGo,
	}
	for i := range 3 {
		s.tile1[i], s.tile3[i] = tileGo(1<<i, 1), tileGo(1<<i, 3)
		s.values1[i], s.values3[i] = valuesGo(1<<i, 1), valuesGo(1<<i, 3)
	}
	for _, d := range append(kernels.DTypes(), kernels.KVCodes()...) {
		n := max(32, d.Block())
		size := n / d.Block() * d.BlockBytes()
		s.decode[d] = func(dst *float32, src *byte, blocks int) {
			dequantizeGo(unsafe.Slice(dst, n*blocks), unsafe.Slice(src, size*blocks), d)
		}
	}
	for _, d := range kernels.DTypes() {
		s.product1[d] = productGo(d, 1)
		if d.Block() < superBlock {
			s.product4[d] = productGo(d, 4)
		}
	}
	return s
}

// row is n floats at p plus a stride in bytes.
func row(p *float32, bytes uintptr, n int) []float32 {
	return unsafe.Slice((*float32)(unsafe.Add(unsafe.Pointer(p), bytes)), n)
}

func tileGo(rows, nv int) tileFunc {
	return func(c *float32, ldc uintptr, a *float32, ars, aks uintptr, b *float32, ldb uintptr, k, mode int, alpha *float32) {
		for r := range rows {
			for v := range nv {
				at := uintptr(v) * 4 * goLanes
				s := sumGo(unsafe.Add(unsafe.Pointer(a), uintptr(r)*ars), aks, unsafe.Add(unsafe.Pointer(b), at), ldb, k)
				out := row(c, uintptr(r)*ldc+at, goLanes)
				switch mode {
				case tileAdd:
					for j := range out {
						s[j] += out[j]
					}
				case tileLanes:
					for j, f := range row(alpha, at, goLanes) {
						s[j] += out[j] * f
					}
				}
				copy(out, s[:])
			}
		}
	}
}

func valuesGo(rows, nv int) valuesFunc {
	return func(c *float32, ldc uintptr, a *float32, ars uintptr, b *float32, ldb uintptr, k int, alpha, _ *float32) {
		for r, f := range unsafe.Slice(alpha, rows) {
			for v := range nv {
				at := uintptr(v) * 4 * goLanes
				s := sumGo(unsafe.Add(unsafe.Pointer(a), uintptr(r)*ars), 4, unsafe.Add(unsafe.Pointer(b), at), ldb, k)
				for j, out := 0, row(c, uintptr(r)*ldc+at, goLanes); j < goLanes; j++ {
					out[j] = out[j]*f + s[j]
				}
			}
		}
	}
}

// sumGo returns Σ a[i]·b[i][0:8] over k steps of as and bs bytes.
func sumGo(a unsafe.Pointer, as uintptr, b unsafe.Pointer, bs uintptr, k int) (s [goLanes]float32) {
	for i := range uintptr(k) {
		x, y := *(*float32)(unsafe.Add(a, i*as)), (*[goLanes]float32)(unsafe.Add(b, i*bs))
		s[0] += x * y[0]
		s[1] += x * y[1]
		s[2] += x * y[2]
		s[3] += x * y[3]
		s[4] += x * y[4]
		s[5] += x * y[5]
		s[6] += x * y[6]
		s[7] += x * y[7]
	}
	return s
}

func transpose8Go(dst *float32, ldd uintptr, src *float32, lds uintptr, blocks int) {
	for r := range 8 {
		for c, v := range row(src, uintptr(r)*lds, 8*blocks) {
			row(dst, uintptr(c)*ldd, 8)[r] = v
		}
	}
}

func productGo(d kernels.DType, rows int) productFunc {
	n := max(32, d.Block())
	size := n / d.Block() * d.BlockBytes()
	return func(y, x *float32, w *byte, stride uintptr, blocks, groups int) {
		var b [superBlock]float32
		xs := unsafe.Slice(x, n*blocks)
		for i := range rows * groups {
			p := unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(w), uintptr(i)*stride)), size*blocks)
			sum := float32(0)
			for c := range blocks {
				dequantizeGo(b[:n], p[c*size:], d)
				sum += dotGo(b[:n], xs[n*c:][:n])
			}
			row(y, 0, rows*groups)[i] = sum
		}
	}
}

// dotGo keeps four partial sums, so that additions don't wait for each other.
func dotGo(a, b []float32) float32 {
	var s [4]float32
	i := 0
	for ; i+4 <= len(a); i += 4 {
		p, q := a[i:i+4], b[i:i+4]
		s[0] += p[0] * q[0]
		s[1] += p[1] * q[1]
		s[2] += p[2] * q[2]
		s[3] += p[3] * q[3]
	}
	t := (s[0] + s[2]) + (s[1] + s[3])
	for ; i < len(a); i++ {
		t += a[i] * b[i]
	}
	return t
}

func expGo(x float32) float32 { return float32(math.Exp(float64(x))) }

func softmaxLanesGo(nv int) softmaxFunc {
	w := nv * goLanes
	return func(s *float32, keys int, m, l, alpha *float32) {
		top, sum, f := unsafe.Slice(m, w), unsafe.Slice(l, w), unsafe.Slice(alpha, w)
		scores := unsafe.Slice(s, keys*w)
		copy(f, top)
		for i, v := range scores {
			top[i%w] = max(top[i%w], v)
		}
		for i := range f {
			f[i] = expGo(f[i] - top[i])
			block := float32(0)
			for j := i; j < len(scores); j += w {
				scores[j] = expGo(scores[j] - top[i])
				block += scores[j]
			}
			sum[i] = sum[i]*f[i] + block
		}
	}
}

func massLanesGo(nv int) massFunc {
	w := nv * goLanes
	return func(mass, s *float32, lds uintptr, lse *float32, rows int) {
		var sums [3 * goLanes]float32
		for r, sub := range unsafe.Slice(lse, rows) {
			for i, v := range row(s, uintptr(r)*lds, w) {
				sums[i] += expGo(v - sub)
			}
		}
		for i, v := range sums[:w] {
			row(mass, 0, w)[i] += v
		}
	}
}

func dotsGo(queries int) dotsFunc {
	keys := goLanes / queries
	return func(s *float32, lds uintptr, q, k, _ *float32, dims, groups int) {
		for i := range queries {
			out, x := row(s, uintptr(i)*lds, keys*groups), row(q, uintptr(4*i*dims), dims)
			for j := range out {
				out[j] = dotGo(x, row(k, uintptr(4*j*dims), dims))
			}
		}
	}
}

func expRowGo(y, x *float32, vectors int, sub float32) float32 {
	out, sum := unsafe.Slice(y, vectors*goLanes), float32(0)
	for i, v := range unsafe.Slice(x, vectors*goLanes) {
		out[i] = expGo(v - sub)
		sum += out[i]
	}
	return sum
}

func swigluGo(y, gate, up *float32, vectors int) {
	out, u := unsafe.Slice(y, vectors*goLanes), unsafe.Slice(up, vectors*goLanes)
	for i, v := range unsafe.Slice(gate, vectors*goLanes) {
		out[i] = v / (1 + expGo(-v)) * u[i]
	}
}

// gegluGo computes in double precision, as expGo does.
func gegluGo(gate, up float32) float32 {
	x := float64(gate)
	return float32(x/(1+math.Exp(x*(geluLinear+geluCubic*x*x)))) * up
}

func gegluRowGo(y, gate, up *float32, vectors int) {
	out, u := unsafe.Slice(y, vectors*goLanes), unsafe.Slice(up, vectors*goLanes)
	for i, v := range unsafe.Slice(gate, vectors*goLanes) {
		out[i] = gegluGo(v, u[i])
	}
}

func capRowGo(x *float32, vectors int, by, limit float32) {
	s := unsafe.Slice(x, vectors*goLanes)
	for i, v := range s {
		s[i] = limit * float32(math.Tanh(float64(v*by)/2))
	}
}

func sumSquaresGo(x *float32, vectors int) float32 {
	s := unsafe.Slice(x, vectors*goLanes)
	return dotGo(s, s)
}

func maxRowGo(x *float32, vectors int) float32 {
	top := *x
	for _, v := range unsafe.Slice(x, vectors*goLanes) {
		top = max(top, v)
	}
	return top
}

func addRowGo(y, x *float32, vectors int) {
	out := unsafe.Slice(y, vectors*goLanes)
	for i, v := range unsafe.Slice(x, vectors*goLanes) {
		out[i] += v
	}
}

func scaleRowGo(y, x, w *float32, vectors int, a float32) {
	out, by := unsafe.Slice(y, vectors*goLanes), unsafe.Slice(w, vectors*goLanes)
	for i, v := range unsafe.Slice(x, vectors*goLanes) {
		out[i] = v * a * by[i]
	}
}

func addScaleRowGo(y, x, w *float32, vectors int, a float32) {
	out, by := unsafe.Slice(y, vectors*goLanes), unsafe.Slice(w, vectors*goLanes)
	for i, v := range unsafe.Slice(x, vectors*goLanes) {
		out[i] += v * a * by[i]
	}
}

func blendRowGo(y, x *float32, vectors int, a, b float32) {
	out := unsafe.Slice(y, vectors*goLanes)
	for i, v := range unsafe.Slice(x, vectors*goLanes) {
		out[i] = a*out[i] + b*v
	}
}

func timesRowGo(y, x *float32, vectors int, a float32) {
	out := unsafe.Slice(y, vectors*goLanes)
	for i, v := range unsafe.Slice(x, vectors*goLanes) {
		out[i] = a * v
	}
}

func rotateRowGo(x0, x1, cos, sin *float32, vectors int) {
	n := vectors * goLanes
	p, q, c, s := unsafe.Slice(x0, n), unsafe.Slice(x1, n), unsafe.Slice(cos, n), unsafe.Slice(sin, n)
	for i := range n {
		p[i], q[i] = p[i]*c[i]-q[i]*s[i], p[i]*s[i]+q[i]*c[i]
	}
}

// sink keeps the compiler from dropping loops that measure.
var sink float32

func peakFMAGo(rounds int) {
	var s [12]float32
	x, y := sink, sink+1
	for range rounds {
		for i := range s {
			for range goLanes {
				s[i] += x * y
			}
		}
	}
	for _, v := range s {
		sink += v
	}
}

func readAllGo(p *byte, chunks int) {
	sum := uint64(0)
	for _, v := range unsafe.Slice((*uint64)(unsafe.Pointer(p)), 64*chunks) {
		sum += v
	}
	sink = float32(sum & 1)
}
