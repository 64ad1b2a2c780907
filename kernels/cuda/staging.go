//go:build cuda && cgo && linux

package cuda

import (
	"errors"
	"runtime"
	"sync"
	"unsafe"

	"headinfer/kernels"
	"headinfer/kernels/cuda/driver"
)

const (
	// stagingBytes is how much of a weight is copied at a time.
	stagingBytes = 16 << 20
	// stagedFrom is from how many bytes on a weight goes through pinned memory.
	stagedFrom = 1 << 20
)

// staging brings weights to the device through two pieces of pinned memory in
// turn: all processors fill one while the other is copied. The driver's own way
// with memory that is not pinned is the same with one thread.
type staging struct {
	mu     sync.Mutex
	stream *driver.Stream
	halves [2]half
	next   int
}

type half struct {
	data []byte
	free *driver.Event // when its last copy has run
}

// open takes the memory.
func (st *staging) open(d *Device) error {
	if st.stream != nil {
		return nil
	}
	stream, err := d.context.NewStream(0)
	if err != nil {
		return err
	}
	st.stream = stream
	for i := range st.halves {
		h := &st.halves[i]
		if h.data, err = kernels.AllocateHost(d.host, stagingBytes, "loading weights"); err != nil {
			return errors.Join(err, st.close(d))
		}
		if h.free, err = d.context.NewEvent(false); err != nil {
			return errors.Join(err, st.close(d))
		}
	}
	return nil
}

// close gives everything back. Nothing may be on its way.
func (st *staging) close(d *Device) error {
	var err error
	for i := range st.halves {
		h := &st.halves[i]
		if h.free != nil {
			err = errors.Join(err, h.free.Close())
		}
		if h.data != nil {
			d.host.Free(h.data)
		}
		*h = half{}
	}
	if st.stream != nil {
		err = errors.Join(err, st.stream.Close())
	}
	st.stream = nil
	return err
}

// copyIn copies bytes to the device and returns when they are there.
func (st *staging) copyIn(d *Device, dst driver.Pointer, src []byte) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if err := st.open(d); err != nil {
		return err
	}
	if len(src) < stagedFrom {
		return errors.Join(st.stream.CopyIn(dst, unsafe.Pointer(unsafe.SliceData(src)), int64(len(src))), st.stream.Synchronize())
	}
	for len(src) > 0 {
		h := &st.halves[st.next]
		st.next = 1 - st.next
		if err := h.free.Synchronize(); err != nil { // not recorded yet: at once
			return err
		}
		n := min(len(src), len(h.data))
		copyOnAll(h.data[:n], src[:n])
		if err := errors.Join(st.stream.CopyIn(dst, unsafe.Pointer(unsafe.SliceData(h.data)), int64(n)), st.stream.Record(h.free)); err != nil {
			return err
		}
		dst, src = dst+driver.Pointer(n), src[n:]
	}
	return st.stream.Synchronize()
}

// copyOnAll copies on all processors, some MiB each.
func copyOnAll(dst, src []byte) {
	share := max((len(src)+runtime.NumCPU()-1)/runtime.NumCPU(), 1<<20)
	var all sync.WaitGroup
	for at := 0; at < len(src); at += share {
		all.Go(func() { copy(dst[at:], src[at:min(at+share, len(src))]) })
	}
	all.Wait()
}
