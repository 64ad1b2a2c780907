//go:build cuda && cgo && linux

package cuda

import (
	"fmt"

	"headinfer/kernels"
	"headinfer/kernels/cuda/driver"
)

const (
	// scatterPieces is how many copies the kernel makes at once.
	scatterPieces = 64
	// scatterBytes is up to how many bytes a copy goes by the kernel; the driver's own
	// ways are faster for larger ones.
	scatterBytes = 64 << 10
)

// Scatter makes small copies together, and large ones by themselves.
func (d *Device) Scatter(on kernels.Stream, dst, src []kernels.Tensor) {
	if len(dst) != len(src) {
		d.fail("scatter", fmt.Errorf("%d copies to %d places", len(src), len(dst)))
		return
	}
	for len(src) > 0 {
		n := copiesAlike(dst, src)
		if n == 1 || src[0].Bytes() > scatterBytes {
			d.CopyWithin(on, dst[0], src[0])
			n = 1
		} else {
			d.scatter(on, dst[:n], src[:n])
		}
		dst, src = dst[n:], src[n:]
	}
}

// copiesAlike returns how many copies from the first on one launch can make.
func copiesAlike(dst, src []kernels.Tensor) int {
	for i := range src {
		if i == scatterPieces || src[i].Rows != src[0].Rows || src[i].RowBytes() != src[0].RowBytes() ||
			dst[i].Rows != src[i].Rows || dst[i].RowBytes() != src[i].RowBytes() {
			return max(i, 1)
		}
	}
	return len(src)
}

func (d *Device) scatter(on kernels.Stream, dst, src []kernels.Tensor) {
	d.enqueue(on, "scatter", func(s *stream) error {
		rows, rowBytes := src[0].Rows, src[0].RowBytes()
		args := make([]uint64, 2, 2+4*scatterPieces)
		args[0], args[1] = integer(rows), integer(rowBytes)
		for i := range src {
			args = append(args, word(dst[i].Data), integer(dst[i].StepBytes()), word(src[i].Data), integer(src[i].StepBytes()))
		}
		return d.launchEarly(s, "scatter", driver.Dim{X: ceil(rows*rowBytes, 128*16), Y: len(src), Z: 1}, 128, 0, args[:cap(args)]...)
	})
}
