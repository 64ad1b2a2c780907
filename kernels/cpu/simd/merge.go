package simd

import "math"

// MergeLSE combines two results over disjoint spans of keys, exactly as if one
// softmax had seen both: out and lse, [rows, n] and [rows], take the result.
// Rows of out and out2 are ld and ld2 floats apart. An lse of -Inf means that
// the span had no key for that row; its out is then not read.
func MergeLSE(out []float32, ld int, lse []float32, out2 []float32, ld2 int, lse2 []float32, n int) {
	rows := len(lse)
	if rows == 0 {
		return
	}
	need("merge out", len(out), (rows-1)*ld+n)
	need("merge out2", len(out2), (rows-1)*ld2+n)
	need("merge lse2", len(lse2), rows)
	s := current.Load()
	for r := range rows {
		lse[r] = s.merge(out[r*ld:][:n], lse[r], out2[r*ld2:][:n], lse2[r])
	}
}

// merge merges o, with log-sum-exp lseO, into out and returns the joint
// log-sum-exp. It works in the weights' ratio, so neither sum can overflow.
func (s *kernelSet) merge(out []float32, lseOut float32, o []float32, lseO float32) float32 {
	inf := float32(math.Inf(-1))
	switch {
	case lseO == inf && lseOut == inf:
		clear(out)
		return inf
	case lseO == inf:
		return lseOut
	case lseOut == inf:
		copy(out, o)
		return lseO
	}
	top := math.Max(float64(lseOut), float64(lseO))
	e1, e2 := math.Exp(float64(lseOut)-top), math.Exp(float64(lseO)-top)
	s.blend(out, o[:len(out)], float32(e1/(e1+e2)), float32(e2/(e1+e2)))
	return float32(top + math.Log(e1+e2))
}
