//go:build !amd64

package simd

func machineLevels() []*kernelSet { return nil }
