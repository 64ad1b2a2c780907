//go:build cuda && cgo && linux

package driver

/*
#include <stdlib.h>
#include "shim.h"

#cgo noescape hi_launch
#cgo nocallback hi_launch
*/
import "C"

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unsafe"
)

// Module is a kernel image loaded on a device.
type Module struct {
	context *Context
	name    string
	handle  unsafe.Pointer
}

// imagesCUDA is the major version of CUDA whose compiler makes our images
// (tools/cuda/sdk.txt). Drivers of an older one can't load them.
const imagesCUDA = 13

// LoadModule loads a cubin, a fat binary or PTX. PTX is compiled for the
// device, which can take seconds. The name is for errors. The image is copied.
func (c *Context) LoadModule(name string, image []byte) (*Module, error) {
	if len(image) == 0 {
		return nil, fmt.Errorf("cuda: kernel image %s is empty", name)
	}
	m := &Module{context: c, name: name}
	var log [4096]C.char
	// The copy ends in a zero, as PTX must, and is aligned, as a cubin must be.
	text := append(make([]byte, 0, len(image)+1), image...)
	text = append(text, 0)
	code := C.hi_module_load(c.binding, unsafe.Pointer(&text[0]), &m.handle, &log[0], C.size_t(len(log)))
	if code != 0 {
		err := failed(code, "loading kernel image %s on %s (compute capability %d.%d)",
			name, c.properties.Name, c.properties.Major, c.properties.Minor)
		if major, minor := Version(); major < imagesCUDA {
			err = fmt.Errorf("%w; this driver supports CUDA %d.%d, and the kernel images need %d.0 or newer: update the driver",
				err, major, minor, imagesCUDA)
		}
		if said := strings.TrimSpace(C.GoString(&log[0])); said != "" {
			err = fmt.Errorf("%w; the driver's compiler said: %s", err, said)
		}
		return nil, err
	}
	return m, nil
}

// Close unloads the module; none of its functions may be running.
func (m *Module) Close() error {
	if code := C.hi_module_unload(m.context.binding, m.handle); code != 0 {
		return failed(code, "unloading kernel image %s", m.name)
	}
	return nil
}

// Function is a kernel of a module.
type Function struct {
	context    *Context
	name       string
	handle     unsafe.Pointer
	lead       int  // words before the first parameter, if that one is aligned to more than a word
	parameters int  // words of 8 bytes; -1 if the driver doesn't tell
	dependent  bool // compiled for a device that knows of dependent launch
}

// dependentFrom is the first compute capability with dependent launch, times 10.
// PTX of an older one has no instruction for it, on whatever device it runs.
const dependentFrom = 90

// Function finds a kernel by its name. Every parameter of it is a word of 8
// bytes, or a struct of such words; only the first may be aligned to more.
func (m *Module) Function(name string) (*Function, error) {
	f := &Function{context: m.context, name: name}
	text := C.CString(name)
	defer C.free(unsafe.Pointer(text))
	if code := C.hi_module_function(m.context.binding, m.handle, text, &f.handle); code != 0 {
		return nil, failed(code, "looking for kernel %s in image %s", name, m.name)
	}
	var lead, words, narrow C.int
	if code := C.hi_function_parameters(m.context.binding, f.handle, &lead, &words, &narrow); code != 0 {
		return nil, failed(code, "reading the parameters of kernel %s", name)
	}
	if narrow >= 0 {
		return nil, fmt.Errorf("cuda: kernel %s of image %s: parameter %d is not whole words of 8 bytes, as all have to be", name, m.name, narrow)
	}
	f.lead, f.parameters = int(lead), int(words)
	var version C.int
	if code := C.hi_function_attribute(m.context.binding, f.handle, 5, &version); code != 0 { // CU_FUNC_ATTRIBUTE_PTX_VERSION
		return nil, failed(code, "reading what kernel %s was compiled for", name)
	}
	f.dependent = version >= dependentFrom
	return f, nil
}

// Name returns the kernel's name.
func (f *Function) Name() string { return f.name }

// SetShared allows launches with up to bytes of dynamic shared memory. Up to
// 48 KiB need no leave; Properties.SharedBytes is the most.
func (f *Function) SetShared(bytes int) error {
	if code := C.hi_function_set_shared(f.context.binding, f.handle, C.int(bytes)); code != 0 {
		return failed(code, "allowing kernel %s %d bytes of shared memory (the device has %d a block)",
			f.name, bytes, f.context.properties.SharedBytes)
	}
	return nil
}

// Resources are what a kernel takes of a multiprocessor.
type Resources struct {
	Registers   int // a thread
	LocalBytes  int // a thread; other than 0 means spilled registers or arrays
	SharedBytes int // a block, without what its launch asks for
	MaxThreads  int // of a block
}

// Resources returns what the kernel takes.
func (f *Function) Resources() (Resources, error) {
	var r Resources
	for _, a := range []struct {
		attribute C.int
		to        *int
	}{{4, &r.Registers}, {3, &r.LocalBytes}, {1, &r.SharedBytes}, {0, &r.MaxThreads}} { // CUfunction_attribute
		var v C.int
		if code := C.hi_function_attribute(f.context.binding, f.handle, a.attribute, &v); code != 0 {
			return Resources{}, failed(code, "reading the resources of kernel %s", f.name)
		}
		*a.to = int(v)
	}
	return r, nil
}

// Occupancy returns how many blocks of threads and shared bytes run on a
// multiprocessor at once.
func (f *Function) Occupancy(threads, shared int) (blocks int, err error) {
	var n C.int
	if code := C.hi_occupancy(f.context.binding, f.handle, C.int(threads), C.size_t(shared), &n); code != 0 {
		return 0, failed(code, "reading the occupancy of kernel %s", f.name)
	}
	return int(n), nil
}

// Dim is the extent of a grid in blocks or of a block in threads. Zeros count
// as ones, so Dim{X: 32} is 32 in a row.
type Dim struct{ X, Y, Z int }

func (d Dim) words() [3]C.uint32_t {
	return [3]C.uint32_t{C.uint32_t(max(d.X, 1)), C.uint32_t(max(d.Y, 1)), C.uint32_t(max(d.Z, 1))}
}

// ErrArguments is wrapped by a launch whose arguments don't fit the kernel.
var ErrArguments = errors.New("cuda: wrong number of kernel arguments")

// Launch enqueues a kernel with shared bytes of dynamic shared memory. Each
// argument is one 8-byte word: a Pointer, an integer, or the bits of a float64;
// a parameter that is a struct takes as many as it has. They have been read when
// Launch returns.
func (s *Stream) Launch(f *Function, grid, block Dim, shared int, args ...uint64) error {
	return s.launch(f, grid, block, shared, false, args)
}

// LaunchDependent enqueues a kernel that may begin before the kernel enqueued
// just before it has ended: as soon as all of that one's blocks have called
// griddepcontrol.launch_dependents. The kernel itself waits, by
// griddepcontrol.wait, before it touches what kernels before it do. Where image
// or driver are too old for that, this is Launch.
func (s *Stream) LaunchDependent(f *Function, grid, block Dim, shared int, args ...uint64) error {
	return s.launch(f, grid, block, shared, f.dependent, args)
}

func (s *Stream) launch(f *Function, grid, block Dim, shared int, dependent bool, args []uint64) error {
	if f.parameters >= 0 && len(args) != f.parameters {
		return fmt.Errorf("%w: %s takes %d words, got %d", ErrArguments, f.name, f.parameters, len(args))
	}
	if f.lead > 0 {
		args = slices.Concat(make([]uint64, f.lead), args)
	}
	shape := C.hi_shape{grid: grid.words(), block: block.words(), shared: C.uint32_t(shared), args: C.uint32_t(len(args))}
	if dependent {
		shape.dependent = 1
	}
	first := (*C.uint64_t)(unsafe.SliceData(args))
	if code := C.hi_launch(s.context.binding, f.handle, shape, first, s.handle); code != 0 {
		return failed(code, "launching kernel %s (grid %v, block %v, %d bytes of shared memory)", f.name, grid, block, shared)
	}
	return nil
}
