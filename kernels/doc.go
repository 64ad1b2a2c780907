// Package kernels is what runs on a device: the one Device interface that the
// rest of headinfer is written against, and the types it speaks in. Its
// folders are the implementations. It knows nothing of models or pipelines.
package kernels
