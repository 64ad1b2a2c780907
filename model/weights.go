package model

import "headinfer/kernels"

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

// loadWeights puts every weight on the device, with s if the device has to
// make them. The checkpoint must outlive it.
func loadWeights(c *Checkpoint, dev kernels.Device, s kernels.Stream) (*weights, error) {
	if err := roomForWeights(c, dev); err != nil {
		return nil, err
	}
	on := map[string]kernels.Tensor{}
	for _, spec := range c.Config.tensors() {
		t, err := c.source.put(dev, s, spec)
		if err != nil {
			return nil, err
		}
		on[spec.name] = t
	}
	w := &weights{embedding: on[nameEmbedding], norm: on[nameNorm], output: on[nameOutput]}
	if c.Config.Tied {
		w.output = w.embedding
	}
	for l := range c.Config.Layers {
		part := func(name string) kernels.Tensor { return on[layerName(l, name)] }
		w.layers = append(w.layers, layerWeights{
			inputNorm: part(partInputNorm), postNorm: part(partPostNorm),
			q: part(partQ), k: part(partK), v: part(partV), o: part(partO),
			gate: part(partGate), up: part(partUp), down: part(partDown),
		})
	}
	if err := s.Synchronize(); err != nil {
		return nil, err
	}
	return w, nil
}

// roomForWeights asks for all of them at once, so that a refusal says what the
// whole model takes.
func roomForWeights(c *Checkpoint, dev kernels.Device) error {
	var bytes int64
	for _, spec := range c.Config.tensors() {
		bytes += c.source.bytes(spec)
	}
	return dev.Ledger().Room(bytes, kernels.Weights, "the model "+c.Path)
}
