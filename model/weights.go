package model

import (
	"fmt"
	"unsafe"

	"headinfer/kernels"
	"headinfer/kernels/cpu/simd"
)

// weights are the checkpoint's tensors on a device.
type weights struct {
	embedding, output kernels.Tensor // [vocabulary, hidden]
	norm              kernels.Tensor // f32 [1, hidden]
	layers            []layerWeights
}

type layerWeights struct {
	inputNorm, postNorm kernels.Tensor // f32 [1, hidden]
	q, k, v, o          kernels.Tensor // [outputs, inputs]
	gate, up, down      kernels.Tensor
}

// loadWeights puts every weight on the device. The checkpoint must outlive it.
func loadWeights(c *Checkpoint, dev kernels.Device) (*weights, error) {
	if err := roomForWeights(c, dev); err != nil {
		return nil, err
	}
	var failure error
	matrix := func(name string) kernels.Tensor {
		if failure != nil {
			return kernels.Tensor{}
		}
		t, _ := c.lookup(name) // Open has checked that it is there, and its shape
		w, err := dev.Weight(t.Name, t.Data, t.DType, t.Shape[0], t.Shape[1])
		if err != nil {
			failure = err
		}
		return w
	}
	vector := func(name string) kernels.Tensor {
		if failure != nil {
			return kernels.Tensor{}
		}
		t, _ := c.lookup(name) // Open has checked that it is there, and its shape
		// Norms are tiny, and every device takes them in f32.
		values := make([]float32, t.Shape[0])
		if err := simd.Dequantize(values, t.Data, t.DType); err != nil {
			failure = fmt.Errorf("%s: tensor %s: %w", c.Path, t.Name, err)
			return kernels.Tensor{}
		}
		raw := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(values))), 4*len(values))
		w, err := dev.Weight(t.Name, raw, kernels.F32, 1, len(values))
		if err != nil {
			failure = err
		}
		return w
	}
	w := &weights{embedding: matrix(nameEmbedding), norm: vector(nameNorm)}
	w.output = w.embedding
	if !c.Config.Tied {
		w.output = matrix(nameOutput)
	}
	for l := range c.Config.Layers {
		w.layers = append(w.layers, layerWeights{
			inputNorm: vector(layerName(l, partInputNorm)), postNorm: vector(layerName(l, partPostNorm)),
			q: matrix(layerName(l, partQ)), k: matrix(layerName(l, partK)), v: matrix(layerName(l, partV)), o: matrix(layerName(l, partO)),
			gate: matrix(layerName(l, partGate)), up: matrix(layerName(l, partUp)), down: matrix(layerName(l, partDown)),
		})
	}
	return w, failure
}

// roomForWeights asks for all of them at once, so that a refusal says what the
// whole model takes.
func roomForWeights(c *Checkpoint, dev kernels.Device) error {
	var bytes int64
	for _, spec := range c.Config.tensors() {
		t, _ := c.lookup(spec.name)
		if spec.rows == 0 {
			bytes += 4 * int64(spec.cols) // norms are widened
			continue
		}
		bytes += int64(len(t.Data))
	}
	return dev.Ledger().Room(bytes, kernels.Weights, "the model "+c.Path)
}
