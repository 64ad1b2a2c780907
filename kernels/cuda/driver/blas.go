//go:build cuda && cgo && linux

package driver

/*
#include <stdlib.h>
#include "blas.h"

#cgo noescape hi_blas_run
#cgo nocallback hi_blas_run
*/
import "C"

import (
	"errors"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"unsafe"
)

// Type is the type of a matrix's elements.
type Type int32

// The types, numbered as CUDA does (cudaDataType).
const (
	F32  Type = 0
	F16  Type = 2
	BF16 Type = 14
)

// String returns the type's name as in checkpoints, such as "bf16".
func (t Type) String() string {
	switch t {
	case F32:
		return "f32"
	case F16:
		return "f16"
	case BF16:
		return "bf16"
	}
	return fmt.Sprintf("type %d", int32(t))
}

// bytes returns an element's size.
func (t Type) bytes() uint64 {
	if t == F32 {
		return 4
	}
	return 2
}

// BLAS multiplies matrices with cuBLASLt. It may be used from many goroutines.
type BLAS struct {
	context *Context
	handle  *C.hi_blas
	path    string

	mu    sync.Mutex
	plans map[C.hi_product]*C.hi_plan
}

// maxPlans bounds the choices kept: documents of many lengths make many
// shapes. At the bound all are dropped, which is cheaper to get right than an
// order of use, and costs a second choice (some 50 µs) for each.
const maxPlans = 4096

// ErrNoBLAS is wrapped by OpenBLAS's error when cuBLASLt is nowhere.
var ErrNoBLAS = errors.New("cuBLASLt not found")

// OpenBLAS finds cuBLASLt and opens it for the context. The error lists every
// place that it looked in.
func (c *Context) OpenBLAS() (*BLAS, error) {
	return c.openFirst(blasPaths(os.Getenv, filepath.Glob))
}

func (c *Context) openFirst(paths []string) (*BLAS, error) {
	var there []string // found, but of no use
	for _, path := range paths {
		handle, err := c.openBLAS(path)
		if err == nil {
			if file := C.GoString(C.hi_blas_file(handle)); file != "" {
				path = file // a bare name says nothing to a person
			}
			return &BLAS{context: c, handle: handle, path: path, plans: map[C.hi_product]*C.hi_plan{}}, nil
		}
		if _, e := os.Stat(path); e == nil {
			there = append(there, fmt.Sprintf("%s: %v", path, err))
		}
	}
	said := ""
	if len(there) > 0 {
		said = "; could not use " + strings.Join(there, ", ")
	}
	return nil, fmt.Errorf("%w (looked for %s)%s; install NVIDIA's cuBLAS (a CUDA toolkit, or Python's package nvidia-cublas) "+
		"and set HEADINFER_CUBLAS to its folder or to the site-packages that holds it", ErrNoBLAS, strings.Join(paths, ", "), said)
}

func (c *Context) openBLAS(path string) (*C.hi_blas, error) {
	text := C.CString(path)
	defer C.free(unsafe.Pointer(text))
	var reason [512]C.char
	handle := C.hi_blas_open(c.binding, text, &reason[0], C.size_t(len(reason)))
	if handle == nil {
		return nil, errors.New(C.GoString(&reason[0]))
	}
	return handle, nil
}

// Path returns the file that the library was loaded from.
func (b *BLAS) Path() string { return b.path }

// Version returns cuBLASLt's version, such as "13.0.2".
func (b *BLAS) Version() string {
	v := uint64(C.hi_blas_version(b.handle))
	return fmt.Sprintf("%d.%d.%d", v/10000, v/100%100, v%100)
}

// Close gives back what the library holds on the device. Nothing may be
// enqueued any more.
func (b *BLAS) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drop()
	if b.handle != nil {
		C.hi_blas_close(b.context.binding, b.handle)
		b.handle = nil
	}
	return nil
}

// Product is Y[M, N] = X[M, K]·W[N, K]ᵀ, or with Accumulate Y += X·Wᵀ, summed
// in float32. Strides are the distances of rows in elements. Adding to a Y of
// 16 bits, cuBLASLt may round the product to Y's type first.
type Product struct {
	M, N, K                   int
	X, W, Y                   Pointer
	XStride, WStride, YStride int
	Type                      Type // of X and W: BF16 or F16
	YType                     Type // Type, or F32
	Accumulate                bool
	// Workspace is device memory for the product alone while it runs; 32 MiB
	// lets every algorithm be chosen. None is allowed.
	Workspace      Pointer
	WorkspaceBytes int64
}

func (p Product) String() string {
	return fmt.Sprintf("[%d, %d] = [%d, %d]·[%d, %d]ᵀ (%v to %v, strides %d, %d, %d)",
		p.M, p.N, p.M, p.K, p.N, p.K, p.Type, p.YType, p.XStride, p.WStride, p.YStride)
}

// check refuses what cuBLASLt would refuse in fewer words.
func (p Product) check() error {
	switch {
	case p.M < 1 || p.N < 1 || p.K < 1:
		return fmt.Errorf("cuda: matrix product %v: no extent may be less than 1", p)
	case p.XStride < p.K || p.WStride < p.K || p.YStride < p.N:
		return fmt.Errorf("cuda: matrix product %v: a stride is shorter than its row", p)
	case p.Type != BF16 && p.Type != F16, p.YType != p.Type && p.YType != F32:
		return fmt.Errorf("cuda: matrix product %v: the operands must be bf16 or f16, and the result of their type or f32", p)
	}
	return nil
}

// Multiply enqueues a product.
func (b *BLAS) Multiply(s *Stream, p Product) error {
	if err := p.check(); err != nil {
		return err
	}
	if p.Workspace == 0 {
		p.WorkspaceBytes = 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.handle == nil {
		return errors.New("cuda: matrix product after BLAS.Close")
	}
	plan, err := b.plan(p)
	if err != nil {
		return err
	}
	accumulate := C.int(0)
	if p.Accumulate {
		accumulate = 1
	}
	status := C.hi_blas_run(b.context.binding, b.handle, plan, accumulate,
		C.uint64_t(p.X), C.uint64_t(p.W), C.uint64_t(p.Y), C.uint64_t(p.Workspace), C.uint64_t(p.WorkspaceBytes), s.handle)
	if status != 0 {
		return b.failed(status, "enqueueing", p)
	}
	return nil
}

// plan returns the library's choice for a product, from its shape, strides,
// types and how its operands are aligned.
func (b *BLAS) plan(p Product) (*C.hi_plan, error) {
	key := C.hi_product{
		m: C.uint64_t(p.M), n: C.uint64_t(p.N), k: C.uint64_t(p.K),
		x_stride: C.int64_t(p.XStride), w_stride: C.int64_t(p.WStride), y_stride: C.int64_t(p.YStride),
		_type: C.int32_t(p.Type), y_type: C.int32_t(p.YType),
		x_align:   alignment(p.X, p.XStride, p.Type),
		w_align:   alignment(p.W, p.WStride, p.Type),
		y_align:   alignment(p.Y, p.YStride, p.YType),
		workspace: C.uint64_t(p.WorkspaceBytes),
	}
	if plan, ok := b.plans[key]; ok {
		return plan, nil
	}
	var plan *C.hi_plan
	if status := C.hi_blas_plan(b.context.binding, b.handle, key, &plan); status != 0 {
		return nil, b.failed(status, "choosing an algorithm for", p)
	}
	if len(b.plans) >= maxPlans {
		b.drop()
	}
	b.plans[key] = plan
	return plan, nil
}

func (b *BLAS) drop() {
	for key, plan := range b.plans {
		C.hi_blas_plan_free(b.handle, plan)
		delete(b.plans, key)
	}
}

// alignment returns what the starts of all rows are aligned to, at most 256
// bytes.
func alignment(p Pointer, stride int, t Type) C.uint32_t {
	return C.uint32_t(1) << bits.TrailingZeros64(uint64(p)|uint64(stride)*t.bytes()|256)
}

func (b *BLAS) failed(status C.int, doing string, p Product) error {
	return fmt.Errorf("cuda: %s matrix product %v: cuBLASLt %s (%s): %s", doing, p, b.Version(), b.path,
		C.GoString(C.hi_blas_error(b.handle, status)))
}
