// Package cuda is an NVIDIA GPU as a device: package driver's streams, events
// and memory, the kernels of src (compiled into images), and cuBLASLt for the
// products of many rows. Activations are bf16, sums are float32.
//
// It exists in builds with the tag cuda; other builds have Open alone, which
// says so.
package cuda
