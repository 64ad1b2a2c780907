package simd

import "headinfer/kernels"

// Vector is a row of activations as GEMV takes it with weights of one encoding. It
// is read-only while GEMVs run, so that workers may share it.
type Vector struct {
	set  *kernelSet // that it is laid out for
	d    kernels.DType
	k    int
	data []float32
	// limbs is how it is multiplied if data are limbs; else nil.
	limbs *limbProduct
}

// LayFloats returns how many floats of scratch Lay wants for k columns.
func LayFloats(k int) int { return (k + superBlock - 1) / superBlock * mostLaid }

// Lay makes x ready for GEMV with weights encoded as d. The result is valid for as
// long as x and scratch stay as they are: it may be either.
//
// For super-blocks and sixteen lanes it is in another order, in which 64 elements
// follow that four consecutive bytes in each of sixteen lanes stand for: the first
// byte's of all lanes, the second's, and so on. Behind each 256 are the sums of its
// groups that minima are multiplied with (see gen/lanes.go). Where the processor
// multiplies bytes, x is in limbs (see limbs.go).
func Lay(x []float32, d kernels.DType, scratch []float32) Vector {
	v := Vector{set: current.Load(), d: d, k: len(x), data: x}
	if p := v.set.limbs[d]; p != nil && len(x) > 0 && len(x)%32 == 0 {
		need("lay scratch", len(scratch), (len(x)+limbColumns-1)/limbColumns*limbFloats)
		v.limbs, v.data = p, scratch
		p.lay(v.set, scratch, x)
		p.rest(scratch, d, len(x)/32%4)
		return v
	}
	if !v.set.lays || d < kernels.Q2K || d > kernels.Q6K || len(x)%superBlock != 0 {
		return v
	}
	l := &layouts[d-kernels.Q2K]
	size, lay := superBlock+l.sums(), l.lay
	if v.set.limbBlock != nil {
		size, lay = limbSuperFloats, l.layLimbs
	}
	n := len(x) / superBlock
	need("lay scratch", len(scratch), n*size)
	for i := range n {
		lay(v.set, scratch[i*size:][:size], (*[superBlock]float32)(x[i*superBlock:]))
	}
	v.data = scratch[:n*size]
	return v
}

// mostLaid is the most that 256 elements are laid out in.
const mostLaid = superBlock + 2*16

// layout says where the elements of a super-block go.
type layout struct {
	order  [superBlock]uint8
	group  int     // elements with a minimum of their own; 0: none have one
	center float32 // of the codes
	zero   float32 // the code that stands for zero, where none have a minimum
}

// layouts are those of Q2_K to Q6_K.
var layouts = func() (all [5]layout) {
	for d := range all {
		l := &all[d]
		for i := range l.order {
			run, b, lane := i/64, i/16%4, i%16
			word := 4*(lane%8) + b
			switch kernels.Q2K + kernels.DType(d) {
			case kernels.Q2K, kernels.Q3K:
				l.order[i] = uint8(lane/8*128 + 32*run + word)
			case kernels.Q4K, kernels.Q5K:
				l.order[i] = uint8(run/2*128 + lane/8*64 + run%2*32 + word)
			case kernels.Q6K:
				l.order[i] = uint8(64*run + 4*lane + b)
			}
		}
	}
	all[1].zero, all[4].zero = 4, 32
	all[0].group, all[0].center = 16, 1
	all[2].group, all[2].center = 32, 8
	all[3].group, all[3].center = 32, 16
	return all
}()

// sums returns how many floats are behind the elements.
func (l *layout) sums() int {
	if l.group == 0 {
		return 0
	}
	return 2 * superBlock / l.group
}

// lay writes 256 elements in their order, then, for each group, its sum times the
// codes' centre, and then the sums less than zero.
func (l *layout) lay(_ *kernelSet, dst []float32, x *[superBlock]float32) {
	for i, at := range l.order {
		dst[i] = x[at]
	}
	if l.group == 0 {
		return
	}
	sums := dst[superBlock:]
	half := len(sums) / 2
	for g := range half {
		var s [4]float32 // so that additions don't wait for each other
		for i := g * l.group; i < (g+1)*l.group; i += 4 {
			for j, v := range x[i : i+4] {
				s[j] += v
			}
		}
		sum := (s[0] + s[1]) + (s[2] + s[3])
		sums[g], sums[half+g] = l.center*sum, -sum
	}
}
