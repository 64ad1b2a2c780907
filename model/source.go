package model

import (
	"fmt"
	"unsafe"

	"headinfer/kernels"
	"headinfer/kernels/cpu/simd"
	"headinfer/model/tensor"
)

// source is where a checkpoint's tensors come from.
type source interface {
	// check says what is wrong with a tensor, while there is no device yet.
	check(spec tensorSpec) error
	// bytes returns what a checked tensor takes on a device.
	bytes(spec tensorSpec) int64
	// put takes a checked tensor to a device: matrices in their own encoding,
	// vectors as f32 [1, cols]. It is all there when s has run dry.
	put(dev kernels.Device, s kernels.Stream, spec tensorSpec) (kernels.Tensor, error)
	close() error
}

// stored is a source that has tensors in files.
type stored struct {
	path   string
	lookup func(name string) (tensor.Tensor, bool) // by Hugging Face's names
	closer func() error
}

func (f *stored) close() error { return f.closer() }

func (f *stored) check(spec tensorSpec) error {
	t, ok := f.lookup(spec.name)
	if !ok {
		return fmt.Errorf("%s: tensor %q is missing", f.path, spec.name)
	}
	if !spec.fits(t.Shape) {
		return fmt.Errorf("%s: tensor %q is %s, and the configuration makes it %s", f.path, t.Name,
			tensor.FormatShape(t.Shape), tensor.FormatShape(spec.shape()))
	}
	return nil
}

func (f *stored) bytes(spec tensorSpec) int64 {
	if spec.vector() {
		return 4 * int64(spec.cols)
	}
	t, _ := f.lookup(spec.name)
	return int64(len(t.Data))
}

func (f *stored) put(dev kernels.Device, _ kernels.Stream, spec tensorSpec) (kernels.Tensor, error) {
	t, _ := f.lookup(spec.name)
	if !spec.vector() {
		return dev.Weight(t.Name, t.Data, t.DType, spec.rows, spec.cols)
	}
	// Norms are tiny, and every device takes them in f32.
	values := make([]float32, spec.cols)
	if err := simd.Dequantize(values, t.Data, t.DType); err != nil {
		return kernels.Tensor{}, fmt.Errorf("%s: tensor %s: %w", f.path, t.Name, err)
	}
	raw := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(values))), 4*len(values))
	return dev.Weight(t.Name, raw, kernels.F32, 1, len(values))
}
