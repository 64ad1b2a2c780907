//go:build cuda && cgo && linux

package cuda

import (
	"fmt"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"headinfer/kernels/cuda/driver"
)

// hostMemory is an Arrow allocator of host memory, mapped with large pages and
// touched by several threads. What has a context is registered with it, so that
// copies reach it at full speed (docs/decisions.md has the figures). Meant for large
// pieces (see transfer.Slabs).
type hostMemory struct {
	context *driver.Context // nil: nothing is pinned
	mu      sync.Mutex
	sizes   map[unsafe.Pointer]int // bytes mapped
}

func newHostMemory(context *driver.Context) *hostMemory {
	return &hostMemory{context: context, sizes: map[unsafe.Pointer]int{}}
}

const pageBytes = 4096

// Allocate returns size bytes. As Arrow's interface has it, it panics
// when there are none.
func (m *hostMemory) Allocate(size int) []byte {
	if size == 0 {
		return nil
	}
	mapped := (size + pageBytes - 1) / pageBytes * pageBytes
	data, err := unix.Mmap(-1, 0, mapped, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		panic(fmt.Errorf("mapping %d bytes of host memory: %w; look at the memory that is free and at \"ulimit -v\"", mapped, err))
	}
	// Large pages make both finding and pinning several times faster; a system
	// that has none to give just goes on without.
	_ = unix.Madvise(data, unix.MADV_HUGEPAGE)
	touch(data)
	if m.context != nil {
		if err := m.context.HostRegister(data); err != nil {
			_ = unix.Munmap(data)
			panic(err)
		}
	}
	m.mu.Lock()
	m.sizes[unsafe.Pointer(unsafe.SliceData(data))] = mapped
	m.mu.Unlock()
	return data[:size]
}

// touch has the system find the pages, in parallel.
func touch(data []byte) {
	const part = 4 << 20
	var all sync.WaitGroup
	tickets := make(chan struct{}, 16)
	for at := 0; at < len(data); at += part {
		tickets <- struct{}{}
		all.Go(func() {
			for i := at; i < min(at+part, len(data)); i += pageBytes {
				data[i] = 0
			}
			<-tickets
		})
	}
	all.Wait()
}

// Reallocate returns size bytes that begin with b's, and frees b.
func (m *hostMemory) Reallocate(size int, b []byte) []byte {
	grown := m.Allocate(size)
	copy(grown, b)
	m.Free(b)
	return grown
}

// Free gives a slice of Allocate back.
func (m *hostMemory) Free(b []byte) {
	if cap(b) == 0 {
		return
	}
	start := unsafe.Pointer(unsafe.SliceData(b))
	m.mu.Lock()
	mapped := m.sizes[start]
	delete(m.sizes, start)
	m.mu.Unlock()
	data := unsafe.Slice((*byte)(start), mapped)
	// After a fault the context can unpin nothing; the process ends soon.
	if m.context == nil || m.context.HostUnregister(data) == nil {
		_ = unix.Munmap(data)
	}
}
