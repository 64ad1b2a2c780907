package kernels

// Nominal is about what a device does, known from what it is and not measured, so
// that what is chosen by it is the same in every run. A rate of 0 is not known.
type Nominal struct {
	CopyIn    float64 // bytes a second from pinned host memory
	Linear    float64 // multiplications and additions a second, in linear layers
	Attention float64 // the same, in attention
	// Blocks of a prefill's attention run at a time, one for each so many rows of
	// queries (tokens × query heads of a KV head); 0: there are no such waves.
	Blocks, BlockRows int
}
