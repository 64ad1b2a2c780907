package model

import "headinfer/kernels"

// weights are the checkpoint's tensors on a device.
type weights struct {
	embedding, output kernels.Tensor // [vocabulary, hidden]
	norm              kernels.Tensor // f32 [1, hidden]
	layers            []layerWeights
}

type layerWeights struct {
	inputNorm, ffnNorm       kernels.Tensor // f32 [1, hidden]
	afterAttention, afterFFN kernels.Tensor // the same, zero where there are none
	q, k, v, o               kernels.Tensor // [outputs, inputs]
	qBias, kBias, vBias      kernels.Tensor // f32 [1, outputs], zero where there are none
	qNorm, kNorm             kernels.Tensor // f32 [1, head_dim], zero where there are none
	gate, up, down           kernels.Tensor
}

// loadWeights puts every weight on the device, with s if the device has to
// make them. The checkpoint must outlive it.
func loadWeights(c *Checkpoint, dev kernels.Device, s kernels.Stream) (*weights, error) {
	// At once, so that a refusal says what the whole model takes.
	total := c.WeightBytes()
	if err := dev.Ledger().Room(total, kernels.Weights, "the model "+c.Path); err != nil {
		return nil, err
	}
	specs := c.Config.tensors()
	load := c.source.load(dev, s, specs)
	defer load.end()
	on, done := map[string]kernels.Tensor{}, int64(0)
	for _, spec := range specs {
		t, err := load.put(spec)
		if err != nil {
			return nil, err
		}
		on[spec.name] = t
		if done += c.source.bytes(spec); c.Loading != nil {
			c.Loading(done, total)
		}
	}
	w := &weights{embedding: on[nameEmbedding], norm: on[nameNorm], output: on[nameOutput]}
	if c.Config.Tied {
		w.output = w.embedding
	}
	for l := range c.Config.Layers {
		part := func(name string) kernels.Tensor { return on[layerName(l, name)] }
		w.layers = append(w.layers, layerWeights{
			inputNorm: part(partInputNorm), ffnNorm: part(c.Config.partFFNNorm()),
			q: part(partQ), k: part(partK), v: part(partV), o: part(partO),
			qBias: part(partQBias), kBias: part(partKBias), vBias: part(partVBias),
			qNorm: part(partQNorm), kNorm: part(partKNorm),
			gate: part(partGate), up: part(partUp), down: part(partDown),
		})
		if c.Config.AfterNorm {
			added := &w.layers[l]
			added.afterAttention, added.afterFFN = part(partAfterAttention), part(partAfterFFN)
		}
	}
	if err := s.Synchronize(); err != nil {
		return nil, err
	}
	return w, nil
}
