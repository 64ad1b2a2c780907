package model

import (
	"bytes"
	"slices"
	"testing"
	"unsafe"

	"headinfer/kernels"
	"headinfer/kernels/cpu"
)

// testDevice returns a CPU device, which is closed when the test ends.
func testDevice(t *testing.T) kernels.Device {
	t.Helper()
	dev := cpu.Open(64<<20, 2)
	t.Cleanup(func() {
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	})
	return dev
}

// loaded opens a model, loads it on a device, and returns the bytes of its tensors. It
// holds them to their shapes, and matrices to one of the encodings, if any is given.
func loaded(t *testing.T, path string, encodings ...kernels.DType) map[string][]byte {
	t.Helper()
	c, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, c)
	dev := testDevice(t)
	specs := c.Config.tensors()
	load := c.source.load(dev, dev.NewStream("test"), specs)
	on := map[string]kernels.Tensor{}
	for _, spec := range specs {
		w, err := load.put(spec)
		if err != nil {
			t.Fatal(err)
		}
		if w.Rows != max(spec.rows, 1) || w.Cols != spec.cols {
			t.Fatalf("%s is %s, not %v", spec.name, w, spec.shape())
		}
		if spec.vector() && w.DType != kernels.F32 || !spec.vector() && len(encodings) > 0 && !slices.Contains(encodings, w.DType) {
			t.Fatalf("%s is %s, and matrices were to be %v", spec.name, w, encodings)
		}
		on[spec.name] = w
	}
	load.end()
	if u := dev.Ledger().Usage(); u.Now[kernels.Weights] != c.WeightBytes() || u.Used != c.WeightBytes() {
		t.Errorf("%s: %d bytes of weights, and the ledger says %+v", path, c.WeightBytes(), u)
	}
	all := map[string][]byte{}
	for name, w := range on {
		all[name] = bytes.Clone(unsafe.Slice((*byte)(w.Data), w.Bytes()))
	}
	return all
}
