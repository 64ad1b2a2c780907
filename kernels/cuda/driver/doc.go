// Package driver is CUDA's driver API for Go: devices, memory, streams, events,
// modules and launches, and matrix products by cuBLASLt.
//
// It exists in builds with the tag cuda (and cgo, on Linux; see tools/cuda).
// Other builds have Available, which says why there is no device, and nothing
// else.
//
// # One binary with and without a driver
//
// Neither libcuda nor libcublasLt is needed to start. The binary is linked
// against a small archive of ours that forwards the driver's functions
// (tools/cuda/trampoline.c); Available opens the real library, once. Until
// then, or without it, there are zero devices.
//
// # Contexts and goroutines
//
// A Context is the device's primary context, shared with every other user of
// the device in the process. CUDA's current context belongs to a thread and a
// goroutine wanders between threads, so every call here makes its context
// current first; when it is current already that costs a comparison. Any
// method may be called from any goroutine. Nothing else in the process may
// change the current context of a thread and leave it changed.
//
// # Memory and ownership
//
// A Pointer is an address on the device: a number that Go never follows. Copies
// and launches are only enqueued on their Stream; both ends of a copy must
// stay as they are until it has run, and host memory has to be pinned
// (HostAlloc, HostRegister) for a copy to overlap anything. With pageable
// memory a copy is right but holds the calling goroutine up.
//
// Streams, events, modules and BLAS handles belong to the Context they came
// from, and are closed before it. After Close a value must not be used.
//
// # Errors
//
// A failed call returns an *Error with CUDA's code, which errors.Is compares:
//
//	errors.Is(err, driver.OutOfMemory)
//
// A kernel's fault comes back from whatever is called after it, and then from
// every call: the context is lost and the process has to start again.
package driver
