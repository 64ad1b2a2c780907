//go:build cuda && cgo && linux

package cuda

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"headinfer/kernels"
	"headinfer/kernels/cuda/driver"
)

const (
	// blasBytes lets cuBLASLt choose among all of its algorithms.
	blasBytes = 32 << 20
	// tileBytes is the most of a quantised weight that is decoded at a time.
	tileBytes = 64 << 20
	// headDims is more frequencies than any head has.
	headDims = 1024
)

// workspace is the operators' own device memory. Operators on one stream use
// it one after another; only the stream that computes may enqueue those that
// need it.
type workspace struct {
	buffers []kernels.Buffer

	ids, positions kernels.Buffer // i32 [rows]
	frequencies    kernels.Buffer // f64 [headDims]
	blas           kernels.Buffer
	tile           kernels.Buffer // a decoded part of a weight
	encoded        atomic.Int64   // bytes that tile needs: none until a weight needs decoding
	partial        kernels.Buffer // attention's splits
}

// Prepare takes the workspace, and gives back what the loading of weights took,
// as they are there when the size of a pass is known.
func (d *Device) Prepare(w kernels.Workload) error {
	if err := d.staging.close(); err != nil {
		return fmt.Errorf("ending the loading of weights: %w", err)
	}
	for _, part := range []struct {
		what  string
		at    *kernels.Buffer
		bytes int64
	}{
		{"token ids", &d.work.ids, 4 * int64(w.Rows)},
		{"positions", &d.work.positions, 4 * int64(w.Rows)},
		{"rotary frequencies", &d.work.frequencies, 8 * headDims},
		{"workspace of cuBLASLt", &d.work.blas, blasBytes},
		{"decoded part of a weight", &d.work.tile, d.work.encoded.Load()},
		{"partial attention", &d.work.partial, d.partialBytes(w.HeadDim)},
	} {
		if err := d.atLeast(part.at, part.bytes, part.what); err != nil {
			return err
		}
	}
	return nil
}

// atLeast makes a part of the workspace hold some bytes.
func (d *Device) atLeast(b *kernels.Buffer, bytes int64, what string) error {
	if b.Bytes >= bytes {
		return nil
	}
	if b.Data != nil {
		// What is enqueued may be using it.
		if err := d.context.Synchronize(); err != nil {
			return err
		}
		for i, owned := range d.work.buffers {
			if owned.Data == b.Data {
				d.work.buffers = append(d.work.buffers[:i], d.work.buffers[i+1:]...)
				break
			}
		}
		d.Free(*b)
		*b = kernels.Buffer{}
	}
	grown, err := d.Alloc(bytes, kernels.Workspace, what)
	if err != nil {
		return err
	}
	*b = grown
	d.work.buffers = append(d.work.buffers, grown)
	return nil
}

// upload copies a small slice to a part of the workspace. The slice is on Go's
// heap, so the copy has read it when the call returns.
func upload[T int32 | float64](d *Device, s *stream, to *kernels.Buffer, values []T, what string) (word64 uint64, err error) {
	bytes := int64(len(values)) * int64(unsafe.Sizeof(values[0]))
	if err := d.atLeast(to, bytes, what); err != nil {
		return 0, err
	}
	if err := s.CopyIn(pointer(to.Data), unsafe.Pointer(unsafe.SliceData(values)), bytes); err != nil {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	return word(to.Data), nil
}

// maxPitch is the most bytes between two rows that the driver copies at once.
const maxPitch = 1<<31 - 1

// copyTensor enqueues a copy of rows: as one piece if they have no gaps, and one
// by one if the gaps are too large for the driver.
func copyTensor(dst, src kernels.Tensor, whole func(dst, src kernels.Tensor) error, rows func(driver.Rows) error) error {
	if dst.Rows != src.Rows || dst.RowBytes() != src.RowBytes() {
		return fmt.Errorf("%s into %s", src, dst)
	}
	if dst.Contiguous() && src.Contiguous() {
		return whole(dst, src)
	}
	if max(dst.StepBytes(), src.StepBytes()) <= maxPitch {
		return rows(driver.Rows{
			Count: int64(src.Rows), Bytes: int64(src.RowBytes()),
			DstPitch: int64(dst.StepBytes()), SrcPitch: int64(src.StepBytes()),
		})
	}
	for r := range src.Rows {
		if err := whole(dst.RowRange(r, r+1), src.RowRange(r, r+1)); err != nil {
			return err
		}
	}
	return nil
}

// CopyIn copies host to device.
func (d *Device) CopyIn(on kernels.Stream, dst, hostSrc kernels.Tensor) {
	d.enqueue(on, "copy in", func(s *stream) error {
		return copyTensor(dst, hostSrc,
			func(dst, src kernels.Tensor) error { return s.Stream.CopyIn(pointer(dst.Data), src.Data, src.Bytes()) },
			func(r driver.Rows) error { return s.CopyInRows(pointer(dst.Data), hostSrc.Data, r) })
	})
}

// CopyOut copies device to host.
func (d *Device) CopyOut(on kernels.Stream, hostDst, src kernels.Tensor) {
	d.enqueue(on, "copy out", func(s *stream) error {
		return copyTensor(hostDst, src,
			func(dst, src kernels.Tensor) error { return s.Stream.CopyOut(dst.Data, pointer(src.Data), src.Bytes()) },
			func(r driver.Rows) error { return s.CopyOutRows(hostDst.Data, pointer(src.Data), r) })
	})
}

// CopyWithin copies device to device.
func (d *Device) CopyWithin(on kernels.Stream, dst, src kernels.Tensor) {
	d.enqueue(on, "copy within", func(s *stream) error {
		return copyTensor(dst, src,
			func(dst, src kernels.Tensor) error {
				return s.Stream.CopyWithin(pointer(dst.Data), pointer(src.Data), src.Bytes())
			},
			func(r driver.Rows) error { return s.CopyWithinRows(pointer(dst.Data), pointer(src.Data), r) })
	})
}
