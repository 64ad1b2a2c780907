package simd

// Pack lays out x, [m, k] with rows ldx floats apart, for GEMM.
func Pack(dst *Packed, x []float32, ldx, m, k int) {
	dst.Begin(m, k)
	dst.PackRows(x, ldx, 0, m)
}
