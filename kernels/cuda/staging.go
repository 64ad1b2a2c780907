//go:build cuda && cgo && linux

package cuda

import (
	"errors"
	"runtime"
	"sync"
	"unsafe"

	"github.com/apache/arrow/go/v17/arrow/memory"

	"headinfer/kernels"
	"headinfer/kernels/cuda/driver"
)

const (
	// halfBytes is how much of a weight is copied at a time.
	halfBytes = 16 << 20
	// stagedFrom is from how many bytes on a weight goes through pinned memory.
	stagedFrom = 1 << 20
	// fillBytes is the least that is worth a goroutine of its own.
	fillBytes = 1 << 20
)

// staging brings weights to the device through two halves of pinned memory in
// turn: all processors fill one while the other is copied. The driver, given
// memory that is not pinned, does the same with one thread.
//
// The halves are taken with the first weight that is large enough, and given
// back when loading is over: when Prepare is called, or the device is closed. A
// weight that comes later takes them anew.
type staging struct {
	context *driver.Context
	pinned  memory.Allocator

	mu     sync.Mutex // held while a weight is copied
	stream *driver.Stream
	halves [2]half
	next   int  // of the halves
	refuse bool // the system pins no memory; asked again after close
}

// half is pinned memory, and the event of the last copy from it.
type half struct {
	data []byte
	free *driver.Event
}

// copyIn copies bytes to the device and returns when they are there.
func (st *staging) copyIn(dst driver.Pointer, src []byte) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if err := st.openStream(); err != nil {
		return err
	}
	if len(src) < stagedFrom || st.refuse {
		return st.direct(dst, src)
	}
	// Where the system pins no memory, weights are copied all the same, slower.
	if err := st.openHalves(halfBytes); err != nil {
		st.refuse = true
		return errors.Join(st.closeHalves(), st.direct(dst, src))
	}
	return st.staged(dst, src)
}

// openStream makes the stream, unless there is one.
func (st *staging) openStream() (err error) {
	if st.stream == nil {
		st.stream, err = st.context.NewStream(driver.Normal)
	}
	return err
}

// openHalves takes the halves, unless they are there.
func (st *staging) openHalves(bytes int) (err error) {
	for i := range st.halves {
		h := &st.halves[i]
		if h.free == nil {
			if h.free, err = st.context.NewEvent(false); err != nil {
				return err
			}
		}
		if h.data == nil {
			if h.data, err = kernels.AllocateHost(st.pinned, bytes, "loading weights"); err != nil {
				return err
			}
		}
	}
	return nil
}

// direct leaves it to the driver how bytes get to the device.
func (st *staging) direct(dst driver.Pointer, src []byte) error {
	return errors.Join(st.stream.CopyIn(dst, unsafe.Pointer(unsafe.SliceData(src)), int64(len(src))), st.stream.Synchronize())
}

// staged copies bytes by way of the halves, which are open.
func (st *staging) staged(dst driver.Pointer, src []byte) error {
	for len(src) > 0 {
		h := &st.halves[st.next]
		st.next = 1 - st.next
		if err := h.free.Synchronize(); err != nil { // one never recorded is reached
			return err
		}
		n := min(len(src), len(h.data))
		fill(h.data[:n], src[:n])
		if err := errors.Join(st.stream.CopyIn(dst, unsafe.Pointer(unsafe.SliceData(h.data)), int64(n)), st.stream.Record(h.free)); err != nil {
			return err
		}
		dst, src = dst+driver.Pointer(n), src[n:]
	}
	return st.stream.Synchronize()
}

// fill copies as many bytes as there are, on all processors.
func fill(dst, src []byte) {
	workers := runtime.NumCPU()
	share := max((len(src)+workers-1)/workers, fillBytes)
	var all sync.WaitGroup
	for at := 0; at < len(src); at += share {
		all.Go(func() { copy(dst[at:], src[at:min(at+share, len(src))]) })
	}
	all.Wait()
}

// close gives everything back, once what is on its way has arrived.
func (st *staging) close() error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.stream == nil {
		return nil
	}
	err := errors.Join(st.stream.Synchronize(), st.closeHalves(), st.stream.Close())
	st.stream, st.refuse = nil, false
	return err
}

// closeHalves gives back what of them there is.
func (st *staging) closeHalves() (err error) {
	for i := range st.halves {
		h := &st.halves[i]
		if h.free != nil {
			err = errors.Join(err, h.free.Close())
		}
		if h.data != nil {
			st.pinned.Free(h.data)
		}
		*h = half{}
	}
	st.next = 0
	return err
}
