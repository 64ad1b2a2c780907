//go:build cuda && cgo && linux

package cuda

import (
	"fmt"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"headinfer/kernels/cuda/driver"
)

// pinned is an Arrow allocator of host memory that copies reach at full speed:
// mapped with large pages, touched by several threads, and registered
// (docs/decisions.md has the figures). Meant for large pieces (see
// transfer.Slabs).
type pinned struct {
	context *driver.Context
	mu      sync.Mutex
	sizes   map[unsafe.Pointer]int // bytes mapped
}

const pageBytes = 4096

// Allocate returns size pinned bytes. As Arrow's interface has it, it panics
// when there are none.
func (p *pinned) Allocate(size int) []byte {
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
	if err := p.context.HostRegister(data); err != nil {
		_ = unix.Munmap(data)
		panic(err)
	}
	p.mu.Lock()
	p.sizes[unsafe.Pointer(unsafe.SliceData(data))] = mapped
	p.mu.Unlock()
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
func (p *pinned) Reallocate(size int, b []byte) []byte {
	grown := p.Allocate(size)
	copy(grown, b)
	p.Free(b)
	return grown
}

// Free gives a slice of Allocate back.
func (p *pinned) Free(b []byte) {
	if cap(b) == 0 {
		return
	}
	start := unsafe.Pointer(unsafe.SliceData(b))
	p.mu.Lock()
	mapped := p.sizes[start]
	delete(p.sizes, start)
	p.mu.Unlock()
	data := unsafe.Slice((*byte)(start), mapped)
	// After a fault the context can unpin nothing; the process ends soon.
	if err := p.context.HostUnregister(data); err == nil {
		_ = unix.Munmap(data)
	}
}
