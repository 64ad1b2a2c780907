package simd

import "math"

// RMSNorm writes y = x / sqrt(mean(x²) + eps) * weight over one row. y may be x.
func RMSNorm(y, x, weight []float32, eps float32) {
	s := current.Load()
	a := s.rmsScale(y, x, weight, eps)
	v, i := s.split(len(x))
	if v > 0 {
		s.scaleRow(&y[0], &x[0], &weight[0], v, a)
	}
	for ; i < len(x); i++ {
		y[i] = x[i] * a * weight[i]
	}
}

// AddRMSNorm adds to y what RMSNorm writes. y may be x.
func AddRMSNorm(y, x, weight []float32, eps float32) {
	s := current.Load()
	a := s.rmsScale(y, x, weight, eps)
	v, i := s.split(len(x))
	if v > 0 {
		s.addScaleRow(&y[0], &x[0], &weight[0], v, a)
	}
	for ; i < len(x); i++ {
		y[i] += x[i] * a * weight[i]
	}
}

// rmsScale returns 1 / sqrt(mean(x²) + eps), 0 for an empty row.
func (s *kernelSet) rmsScale(y, x, weight []float32, eps float32) float32 {
	n := len(x)
	need("rmsnorm y", len(y), n)
	need("rmsnorm weight", len(weight), n)
	if n == 0 {
		return 0
	}
	v, i := s.split(n)
	sum := float64(0)
	if v > 0 {
		sum = float64(s.sumSquares(&x[0], v))
	}
	for _, e := range x[i:] {
		sum += float64(e) * float64(e)
	}
	return float32(1 / math.Sqrt(sum/float64(n)+float64(eps)))
}

// Scale writes y = a·x. y may be x.
func Scale(y, x []float32, a float32) {
	need("scale y", len(y), len(x))
	current.Load().scale(y, x, a)
}

// AddInto adds x to y.
func AddInto(y, x []float32) {
	need("add y", len(y), len(x))
	s := current.Load()
	v, i := s.split(len(x))
	if v > 0 {
		s.addRow(&y[0], &x[0], v)
	}
	for ; i < len(x); i++ {
		y[i] += x[i]
	}
}

// SwiGLU writes y = gate / (1 + exp(-gate)) * up. y may be gate or up.
func SwiGLU(y, gate, up []float32) {
	need("swiglu gate", len(gate), len(y))
	need("swiglu up", len(up), len(y))
	s := current.Load()
	v, i := s.split(len(y))
	if v > 0 {
		s.swiglu(&y[0], &gate[0], &up[0], v)
	}
	for ; i < len(y); i++ {
		y[i] = gate[i] / (1 + expGo(-gate[i])) * up[i]
	}
}

// The exponent of GELU's approximation: x/2·(1 + tanh z) is x/(1 + exp(-2z)),
// and -2z is x·(geluLinear + geluCubic·x²).
const (
	geluLinear = -1.5957691216057308 // -2·sqrt(2/π)
	geluCubic  = 0.044715 * geluLinear
)

// GeGLU writes y = GELU(gate) * up, GELU by its approximation with tanh. y may
// be gate or up.
func GeGLU(y, gate, up []float32) {
	need("geglu gate", len(gate), len(y))
	need("geglu up", len(up), len(y))
	s := current.Load()
	v, i := s.split(len(y))
	if v > 0 {
		s.geglu(&y[0], &gate[0], &up[0], v)
	}
	for ; i < len(y); i++ {
		y[i] = gegluGo(gate[i], up[i])
	}
}

// Exp writes y = exp(x), within 2 units in the last place wherever the result
// is a normal float32, and returns the sum of y. y may be x.
func Exp(y, x []float32) float32 {
	need("exp y", len(y), len(x))
	return current.Load().exp(y, x, 0)
}

// exp writes y = exp(x - sub) and returns its sum.
func (s *kernelSet) exp(y, x []float32, sub float32) float32 {
	v, i := s.split(len(x))
	sum := float32(0)
	if v > 0 {
		sum = s.expRow(&y[0], &x[0], v, sub)
	}
	for ; i < len(x); i++ {
		y[i] = expGo(x[i] - sub)
		sum += y[i]
	}
	return sum
}

// max returns the largest element, -Inf if there is none.
func (s *kernelSet) max(x []float32) float32 {
	v, i := s.split(len(x))
	top := float32(math.Inf(-1))
	if v > 0 {
		top = s.maxRow(&x[0], v)
	}
	for _, e := range x[i:] {
		top = max(top, e)
	}
	return top
}

// scale writes y = a·x.
func (s *kernelSet) scale(y, x []float32, a float32) {
	v, i := s.split(len(x))
	if v > 0 {
		s.timesRow(&y[0], &x[0], v, a)
	}
	for ; i < len(x); i++ {
		y[i] = a * x[i]
	}
}

// blend writes y = a·y + b·x.
func (s *kernelSet) blend(y, x []float32, a, b float32) {
	v, i := s.split(len(x))
	if v > 0 {
		s.blendRow(&y[0], &x[0], v, a, b)
	}
	for ; i < len(x); i++ {
		y[i] = a*y[i] + b*x[i]
	}
}

// RoPE rotates one head, [2·len(cos)], in place: the pair (x[i], x[i+n/2]), or
// (x[2i], x[2i+1]) if interleaved, turns by the angle whose cosine and sine are
// cos[i] and sin[i]. Elements past 2·len(cos) stay as they are.
func RoPE(x, cos, sin []float32, interleaved bool) {
	h := len(cos)
	need("rope sin", len(sin), h)
	need("rope x", len(x), 2*h)
	if interleaved {
		for i := range h {
			a, b := x[2*i], x[2*i+1]
			x[2*i], x[2*i+1] = a*cos[i]-b*sin[i], a*sin[i]+b*cos[i]
		}
		return
	}
	s := current.Load()
	v, i := s.split(h)
	if v > 0 {
		s.rotateRow(&x[0], &x[h], &cos[0], &sin[0], v)
	}
	for ; i < h; i++ {
		a, b := x[i], x[i+h]
		x[i], x[i+h] = a*cos[i]-b*sin[i], a*sin[i]+b*cos[i]
	}
}

// split returns how many whole vectors n elements hold, and the elements in them.
func (s *kernelSet) split(n int) (vectors, elements int) {
	vectors = n / s.lanes
	return vectors, vectors * s.lanes
}
