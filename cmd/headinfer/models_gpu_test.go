//go:build cuda

package main

import (
	"testing"

	"headinfer/kernels"
	"headinfer/kernels/cuda"
)

// TestGPUPlansAsItRuns compares what is planned with for a GPU that is not there
// with what one says.
func TestGPUPlansAsItRuns(t *testing.T) {
	if gpus, reason := cuda.Available(); gpus == 0 {
		t.Skip(reason)
	}
	dev, err := cuda.Open(1<<20, 0)
	if err != nil {
		t.Fatal(err)
	}
	info := dev.Info()
	if err := dev.Close(); err != nil {
		t.Error(err)
	}
	if info.Chunk != gpuChunk || info.Activations != gpuActivations {
		t.Errorf("the GPU takes passes of %d tokens and %s, not %d and %s", info.Chunk, info.Activations, gpuChunk, gpuActivations)
	}
	m, err := newFitMachine(fitAsked{kind: "cuda"})
	if err != nil {
		t.Fatal(err)
	}
	if m.Name == "" || m.Device < 1<<30 || m.Host == 0 || m.Both != 0 || m.nominal != info.Nominal || m.nominal == (kernels.Nominal{}) {
		t.Errorf("the machine is %+v", m)
	}
}
