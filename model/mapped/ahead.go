package mapped

import (
	"os"
	"runtime"
	"sync"
	"unsafe"
)

// pieceBytes is what one goroutine reads at a time: enough for a disk to run at
// its speed, and little enough for all to have work.
const pieceBytes = 8 << 20

// Ahead reads parts of mapped files before they are needed, in their order, on
// all processors at once. One goroutine at a time may call its methods.
type Ahead struct {
	parts  [][]byte
	ends   []int64 // bytes of the parts up to and with each
	window int64

	mu       sync.Mutex
	change   sync.Cond // anything below has changed
	part, at int       // what is read next
	left     []int64   // bytes of each part that are not there yet
	wanted   int64     // bytes of the parts up to the one that is waited for
	err      error
	closed   bool
	workers  sync.WaitGroup
}

// ReadAhead begins to read: window bytes first, and so many past what has been
// waited for from then on. A part is a piece of a File's bytes, or other memory,
// where there is nothing to do.
func ReadAhead(parts [][]byte, window int64) *Ahead {
	a := &Ahead{parts: parts, window: window, ends: make([]int64, len(parts)), left: make([]int64, len(parts))}
	a.change.L = &a.mu
	var end int64
	for i, p := range parts {
		end += int64(len(p))
		a.ends[i], a.left[i] = end, int64(len(p))
	}
	for range min(runtime.NumCPU(), int(end/pieceBytes)+1) {
		a.workers.Go(a.work)
	}
	return a
}

// Wait returns when a part is in memory, or the first error of reading any: it
// names neither file nor part.
func (a *Ahead) Wait(part int) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.wanted = max(a.wanted, a.ends[part])
	a.change.Broadcast()
	for a.left[part] > 0 && a.err == nil && !a.closed {
		a.change.Wait()
	}
	return a.err
}

// Close ends the reading. The files must be open until then.
func (a *Ahead) Close() {
	a.mu.Lock()
	a.closed = true
	a.change.Broadcast()
	a.mu.Unlock()
	a.workers.Wait()
}

// work reads pieces until there are none.
func (a *Ahead) work() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		part, piece := a.take()
		if piece == nil {
			return
		}
		a.mu.Unlock()
		err := populate(piece)
		a.mu.Lock()
		a.left[part] -= int64(len(piece))
		if err != nil && a.err == nil {
			a.err = err
		}
		a.change.Broadcast()
	}
}

// take returns the next piece and its part, once the window reaches it, or nil.
func (a *Ahead) take() (part int, piece []byte) {
	for !a.closed && a.err == nil {
		for a.part < len(a.parts) && a.at == len(a.parts[a.part]) {
			a.part, a.at = a.part+1, 0
		}
		if a.part == len(a.parts) {
			return 0, nil
		}
		whole := a.parts[a.part]
		if begins := a.ends[a.part] - int64(len(whole)-a.at); begins >= a.wanted+a.window {
			a.change.Wait()
			continue
		}
		part, piece = a.part, whole[a.at:min(a.at+pieceBytes, len(whole))]
		a.at += len(piece)
		return part, piece
	}
	return 0, nil
}

// pages returns the whole pages of some memory.
func pages(data []byte) []byte {
	size := os.Getpagesize()
	skip := min(int(-uintptr(unsafe.Pointer(unsafe.SliceData(data)))&uintptr(size-1)), len(data))
	return data[skip : skip+(len(data)-skip)&^(size-1)]
}

// touch reads a byte of every page.
func touch(data []byte) {
	var sum byte
	for i := 0; i < len(data); i += os.Getpagesize() {
		sum ^= data[i]
	}
	if len(data) > 0 {
		sum ^= data[len(data)-1]
	}
	runtime.KeepAlive(sum)
}
