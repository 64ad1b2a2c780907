package transfer

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"headinfer/kernels"
)

// SnapshotPort moves what a snapshot has of a sequence on a device. It may be used
// by one at a time, and closed when the device is idle.
type SnapshotPort struct {
	dev    kernels.Device
	mu     sync.Mutex // of the stream
	stream kernels.Stream
	lanes  []*lane
}

// lane is one thread's way to the device and back.
type lane struct {
	port  *SnapshotPort
	done  kernels.Event
	stage []byte // on the host, for the device
	room  []byte // for what is read and not kept
}

// NewSnapshotPort returns what moves parts of snapshots to and from dev.
func NewSnapshotPort(dev kernels.Device) *SnapshotPort { return &SnapshotPort{dev: dev} }

// snapshotThreads move a snapshot: more than a few do not make memory or a disk
// faster.
const snapshotThreads = 16

// each runs f for every batch, on several threads.
func (p *SnapshotPort) each(ctx context.Context, batches []snapshotBatch, f func(l *lane, i int) error) error {
	threads := min(max(runtime.GOMAXPROCS(0), 4), snapshotThreads, len(batches))
	for len(p.lanes) < threads {
		p.lanes = append(p.lanes, &lane{port: p})
	}
	var next atomic.Int64
	var all sync.WaitGroup
	errs := make([]error, threads)
	for t := range threads {
		all.Go(func() {
			for errs[t] == nil {
				i := int(next.Add(1)) - 1
				if i >= len(batches) {
					return
				}
				if errs[t] = context.Cause(ctx); errs[t] == nil {
					errs[t] = f(p.lanes[t], i)
				}
				if errs[t] != nil {
					next.Store(int64(len(batches)))
				}
			}
		})
	}
	all.Wait()
	for _, l := range p.lanes {
		l.free()
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *lane) free() {
	if l.stage != nil {
		l.port.dev.Host().Free(l.stage)
	}
	l.stage, l.room = nil, nil
}

// staged returns host memory that the device copies to and from: bytes for keys
// and as many for values.
func (l *lane) staged(bytes int64) (k, v []byte, err error) {
	if int64(len(l.stage)) < 2*bytes {
		if l.stage != nil {
			l.port.dev.Host().Free(l.stage)
			l.stage = nil
		}
		if l.stage, err = kernels.AllocateHost(l.port.dev.Host(), int(2*bytes), "a snapshot's way to the device"); err != nil {
			return nil, nil, err
		}
	}
	return l.stage[:bytes], l.stage[bytes : 2*bytes], nil
}

// spare returns memory for bytes that are read and not kept.
func (l *lane) spare(bytes int64) []byte {
	if int64(len(l.room)) < bytes {
		l.room = make([]byte, bytes)
	}
	return l.room[:bytes]
}

// copyWith enqueues copies between the lane's host memory and where a batch lies
// on the device, and waits for them.
func (l *lane) copyWith(copies func(s kernels.Stream)) error {
	p := l.port
	p.mu.Lock()
	if p.stream == nil {
		p.stream = p.dev.NewStream("snapshot")
	}
	if l.done == nil {
		l.done = p.dev.NewEvent()
	}
	copies(p.stream)
	p.stream.Record(l.done)
	p.mu.Unlock()
	return l.done.Wait()
}

// where returns the places of a head's tokens of a batch, in order, and whether
// they are on the device.
func (s *Sequence) where(b snapshotBatch) (places []kernels.KV, onDevice bool) {
	switch b.kind {
	case batchTail:
		return []kernels.KV{s.TailPlace(b.layer).HeadRange(b.head, b.head+1).TokenRange(0, b.hi-b.lo)}, true
	case batchRecent:
		for _, kv := range s.Recent(b.layer, b.lo, b.hi) {
			places = append(places, kv.HeadRange(b.head, b.head+1))
		}
		return places, true
	}
	return s.View(b.layer, b.head, b.head+1, b.lo, b.hi), s.ahead == nil
}

// hostBytes is the memory of one head's keys or values that lie on the host.
func hostBytes(t kernels.Tensor) []byte { return unsafe.Slice((*byte)(t.Data), t.Bytes()) }

// move copies a batch between the lane's memory and its places on the device.
func (l *lane) move(places []kernels.KV, k, v []byte, out bool) error {
	return l.copyWith(func(s kernels.Stream) {
		at := int64(0)
		for _, kv := range places {
			for _, side := range []struct {
				device kernels.Tensor
				host   []byte
			}{{kv.Keys(), k}, {kv.Values(), v}} {
				host := kernels.Matrix(unsafe.Pointer(&side.host[at]), kv.DType, side.device.Rows, side.device.Cols)
				if out {
					l.port.dev.CopyOut(s, host, side.device)
				} else {
					l.port.dev.CopyIn(s, side.device, host)
				}
			}
			at += kv.Keys().Bytes()
		}
	})
}

// ErrNoSnapshot is matched where a cache is of a kind that has no snapshots.
var ErrNoSnapshot = errors.New("caches that drop tokens (heads.offload.heavy) have no snapshots: what they keep depends on every pass")

// snapshots refuses sequences that a snapshot cannot hold.
func (s *Sequence) snapshots() error {
	switch {
	case s.evict != nil:
		return ErrNoSnapshot
	case s.base != nil:
		return errors.New("a text that has branched off another one has no snapshot of its own")
	}
	return nil
}

// activations returns the type of what is kept as it is.
func (s *Sequence) activations() kernels.DType {
	switch {
	case s.tail.dev != nil:
		return s.tail.dtype
	case s.recent.dev != nil:
		return s.recent.shape.DType
	}
	return s.shape.DType
}
