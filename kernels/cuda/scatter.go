//go:build cuda && cgo && linux

package cuda

import (
	"fmt"

	"headinfer/kernels"
	"headinfer/kernels/cuda/driver"
)

const (
	// scatterPieces is how many copies the kernel makes at once.
	scatterPieces = 15
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
		n := alike(dst, src)
		if n == 1 || src[0].Bytes() > scatterBytes {
			d.CopyWithin(on, dst[0], src[0])
			n = 1
		} else {
			d.scatter(on, dst[:n], src[:n])
		}
		dst, src = dst[n:], src[n:]
	}
}

// alike returns how many copies from the first on one launch can make.
func alike(dst, src []kernels.Tensor) int {
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
		args := []uint64{integer(rows), integer(rowBytes)}
		for i := range scatterPieces {
			j := min(i, len(src)-1) // the grid ends before those that stand in
			args = append(args, word(dst[j].Data), integer(dst[j].StepBytes()), word(src[j].Data), integer(src[j].StepBytes()))
		}
		return d.launch(s, "scatter", driver.Dim{X: ceil(rows*rowBytes, 128*16), Y: len(src), Z: 1}, 128, 0, args...)
	})
}
