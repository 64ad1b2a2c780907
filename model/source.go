package model

import (
	"fmt"

	"headinfer/kernels"
	"headinfer/model/tensor"
)

// source is where a checkpoint's tensors come from.
type source interface {
	// check says what is wrong with a tensor, while there is no device yet.
	check(spec tensorSpec) error
	// bytes returns what a checked tensor takes on a device.
	bytes(spec tensorSpec) int64
	// held returns what a checked tensor takes where it comes from.
	held(spec tensorSpec) (kind string, bytes int64)
	// load begins to bring checked tensors to a device, in this order, with s.
	load(dev kernels.Device, s kernels.Stream, specs []tensorSpec) loader
	close() error
}

// loader brings tensors to a device.
type loader interface {
	// put brings the next tensor: a matrix in its own encoding, a vector as f32 [1,
	// cols]. It is all there when the stream has run dry.
	put(spec tensorSpec) (kernels.Tensor, error)
	// end gives back what loading took. It waits for the stream.
	end()
}

// stored is a source that has tensors in files.
type stored struct {
	path   string
	lookup finder
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
	if t.Decode != nil {
		return int64(spec.rows) * rowBytes(t)
	}
	return int64(len(t.Data))
}

// rowBytes returns the bytes of a checked matrix's row.
func rowBytes(t tensor.Tensor) int64 {
	return int64(t.Shape[len(t.Shape)-1] / t.DType.Block() * t.DType.BlockBytes())
}

func (f *stored) held(spec tensorSpec) (kind string, bytes int64) {
	t, _ := f.lookup(spec.name)
	if t.Decode != nil {
		return "fp8", spec.elements() // a byte each
	}
	return t.DType.String(), int64(len(t.Data))
}
