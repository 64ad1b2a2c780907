//go:build cuda && cgo && linux

package driver

// #include "shim.h"
import "C"

import (
	"errors"
	"fmt"
	"unsafe"

	"gorgonia.org/cu"
)

// Pointer is an address in a device's memory; 0 is none. Offsets are added to
// it as to any number.
type Pointer uint64

// Alloc takes bytes of uninitialised device memory, aligned to 256 bytes or
// more. It takes milliseconds and waits for the device: not for inner loops.
func (c *Context) Alloc(bytes int64) (Pointer, error) {
	if bytes <= 0 {
		return 0, fmt.Errorf("cuda: asked for %d bytes of device memory; the least is 1", bytes)
	}
	var p cu.DevicePtr
	err := c.do(func() (err error) {
		p, err = cu.MemAlloc(bytes)
		return err
	}, "taking %d bytes of device memory", bytes)
	var refusal *Error
	if errors.As(err, &refusal) && refusal.Code == OutOfMemory {
		if free, total, e := c.MemInfo(); e == nil {
			refusal.Hint = fmt.Sprintf("%d of the device's %d bytes are free; other programs may hold the rest", free, total)
		}
	}
	return Pointer(p), err
}

// Free gives memory of Alloc back, after everything enqueued has run. Freeing
// 0 does nothing.
func (c *Context) Free(p Pointer) error {
	if p == 0 {
		return nil
	}
	return c.do(func() error { return cu.MemFree(cu.DevicePtr(p)) }, "freeing device memory at %#x", uint64(p))
}

// MemInfo returns how many bytes of the device are free, for any program, and
// how many there are.
func (c *Context) MemInfo() (free, total int64, err error) {
	err = c.do(func() (err error) {
		free, total, err = cu.MemInfo()
		return err
	}, "reading the device's free memory")
	return free, total, err
}

// HostAlloc takes bytes of pinned host memory, which copies reach at full
// speed. For much memory it is faster to map it, touch it with many threads and
// HostRegister it.
func (c *Context) HostAlloc(bytes int64) (unsafe.Pointer, error) {
	if bytes <= 0 {
		return nil, fmt.Errorf("cuda: asked for %d bytes of pinned host memory; the least is 1", bytes)
	}
	var p unsafe.Pointer
	if code := C.hi_host_alloc(c.binding, C.size_t(bytes), &p); code != 0 {
		return nil, pinning(code, bytes)
	}
	return p, nil
}

// HostFree gives memory of HostAlloc back.
func (c *Context) HostFree(p unsafe.Pointer) error {
	if code := C.hi_host_free(c.binding, p); code != 0 {
		return failed(code, "freeing pinned host memory")
	}
	return nil
}

// HostRegister pins memory that lies outside Go's heap, so that copies reach
// it at full speed. It should start and end at a page.
func (c *Context) HostRegister(memory []byte) error {
	if len(memory) == 0 {
		return errors.New("cuda: no host memory to pin: the slice is empty")
	}
	p := unsafe.Pointer(unsafe.SliceData(memory))
	if code := C.hi_host_register(c.binding, p, C.size_t(len(memory))); code != 0 {
		return pinning(code, int64(len(memory)))
	}
	return nil
}

// HostUnregister undoes HostRegister, for the same slice. No copy may be under
// way there.
func (c *Context) HostUnregister(memory []byte) error {
	p := unsafe.Pointer(unsafe.SliceData(memory))
	if code := C.hi_host_unregister(c.binding, p); code != 0 {
		return failed(code, "unpinning %d bytes of host memory", len(memory))
	}
	return nil
}

// pinning makes an error of a refusal to pin memory.
func pinning(code C.int, bytes int64) error {
	hint := ""
	switch Code(code) {
	case OutOfMemory, OperatingSystem, InvalidValue, NotSupported:
		hint = "the system did not let so much memory be locked: look at the memory that is free, " +
			"at the container's memory limit and at \"ulimit -l\", or keep less on the host"
	case HostRegisteredAlready:
		hint = "part of it is pinned already"
	}
	return &Error{Op: fmt.Sprintf("pinning %d bytes of host memory", bytes), Code: Code(code), Hint: hint}
}
