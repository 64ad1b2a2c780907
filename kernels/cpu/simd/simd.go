// Package simd is the CPU's arithmetic: pure single-threaded functions over
// slices, with float32 activations and weights in any encoding of
// kernels.DType. A device runs many of them at once, each on its own range of
// rows, queries or heads.
//
// Four levels do the same work: "avx512vnni" (which multiplies bytes), "avx512",
// "avx2" (with FMA and F16C) and "go", which runs anywhere. The fastest that the CPU has is in use from the start;
// the environment variable HEADINFER_SIMD and Use choose another. The assembly
// is generated: see gen.
//
// Activations keep the bits of a float32, but for GEMMPairs: every product is float32
// arithmetic of the weights' decoded values or, of up to four rows with quantised weights
// where the processor multiplies bytes, exact sums of integers of 24 bits, whose error
// limbs.go bounds: it is within that of float32 where the numbers of a block are of a size.
//
// Matrix times matrix (GEMM) decodes a panel of W's rows once, transposed, and
// multiplies it with all rows of X, a tile of 8 rows by 3 vectors of W's rows
// at a time. It is bound by arithmetic. With up to four rows of X it multiplies each
// with W instead, and with a few more decodes rows of W as they are, a few at a time
// for all rows of X. Matrix times vector (GEMV) decodes in registers and is
// bound by memory, or by decoding; with sixteen lanes, super-blocks are multiplied
// as they lie with an x that is laid out for them once (Lay).
//
// GEMMPairs is GEMM with weights in bf16 and X rounded to bf16, for processors with
// AVX512-BF16: lossy, and nearly twice as fast (pairs.go).
//
// Attention has two regimes. With many queries, lanes are queries: scores and
// outputs are kept transposed, [keys, queries] and [head_dim, queries], so that
// both products are GEMM's tile, keys and values are used as they lie in
// memory, and a softmax never crosses lanes. Blocks of queries that fit the
// cache share each block of keys; blocks that a causal mask hides are skipped,
// and so are those before a window, which are not even read. A cap (SoftCap) is
// a pass over a block's scores. With few queries, lanes are dimensions: each
// block of keys and of values is read from memory once, for all of them.
//
// What a key has received of attention (AttentionMass) is half of attention's
// arithmetic: lanes are keys, so that a softmax's sum over queries never crosses
// them. Keys and values in a cache's codes (kernels.KVCodes) decode at memory's
// speed; a record of keys is transposed as codes, before they are numbers.
//
// Slices must be as long as the sizes beside them say, or the function panics,
// as an index out of range does; nothing is read or written beyond them (a
// prefetch may name an address there, which cannot fault).
// Scratch is the caller's, may hold anything, and must not be shared by calls
// that run at the same time. Inputs are not retained.
package simd

import (
	"fmt"

	"headinfer/kernels"
)

//go:generate go run ./gen -isa avx512
//go:generate go run ./gen -isa avx2

// need panics, as an index out of range does, when a slice is shorter than
// the sizes given beside it say: always the caller's mistake, never the data's.
func need(what string, have, want int) {
	if have < want {
		panic(fmt.Sprintf("simd: %s has %d elements, needs %d", what, have, want))
	}
}

func rowBytes(what string, d kernels.DType, k int) int {
	n, err := d.RowBytes(k)
	if err != nil {
		panic(fmt.Sprintf("simd: %s: %v", what, err))
	}
	return n
}
