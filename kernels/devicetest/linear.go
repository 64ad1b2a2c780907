package devicetest

import (
	"fmt"
	"testing"

	"headinfer/kernels"
)

func testLinear(t *testing.T, b *bench) {
	for _, d := range kernels.DTypes() {
		for _, rows := range []int{1, 2, 5, 67} {
			b.linear(rows, max(32, d.Block())*(1+b.rand.IntN(9)), d)
		}
	}
}

// Several weights in one call: of one encoding, more than fit in a kernel's
// launch, and of different ones beside each other, as in files that keep some
// tensors in more bits.
func testLinears(t *testing.T, b *bench) {
	all := kernels.DTypes()
	for _, rows := range []int{1, 3, 16, 17} {
		for _, d := range all {
			b.linear(rows, 256*(1+b.rand.IntN(3)), d, d, d)
		}
		b.linear(rows, 512, kernels.BF16, kernels.BF16, kernels.BF16, kernels.BF16, kernels.BF16)
		b.linear(rows, 256, kernels.Q4K, kernels.Q4K, kernels.Q6K)
		b.linear(rows, 256, kernels.Q6K, kernels.BF16, kernels.Q4K, kernels.Q4K)
		var mixed []kernels.DType
		for range 1 + b.rand.IntN(5) {
			mixed = append(mixed, all[b.rand.IntN(len(all))])
		}
		b.linear(rows, 256*(1+b.rand.IntN(3)), mixed...)
	}
}

// linear multiplies rows of k inputs by weights of some encodings and random
// heights, and adds that to another matrix.
func (b *bench) linear(rows, k int, encodings ...kernels.DType) {
	b.t.Helper()
	x := b.normal(rows * k)
	in := b.put(x, rows, k)
	var weights []kernels.Tensor
	var values []float64 // of all weights, one after another
	var shape []int
	for _, d := range encodings {
		n := 1 + b.rand.IntN(200)
		data, w := b.encoded(d, n, k)
		weights, values, shape = append(weights, b.weight(data, d, n, k)), append(values, w...), append(shape, n)
	}
	n := len(values) / k
	product, base := make([]float64, rows*n), b.normal(rows*n)
	for r := range rows {
		for i := range n {
			for j := range k {
				product[r*n+i] += float64(x[r*k+j]) * values[i*k+j]
			}
		}
	}
	what := fmt.Sprintf("linear %v, %d rows, %d inputs to %d", encodings, rows, k, shape)
	out := b.empty(rows, n)
	b.dev.Linear(b.stream, out, in, weights, false)
	b.near(what, b.read(out), product, 1e-5)
	b.write(out, base)
	b.dev.Linear(b.stream, out, in, weights, true)
	for i := range product {
		product[i] += float64(base[i])
	}
	b.near("accumulating "+what, b.read(out), product, 1e-5)
}
