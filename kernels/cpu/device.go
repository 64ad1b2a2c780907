// Package cpu is the device that every machine has. Its streams are
// goroutines, its device memory is a counted part of the process's own, and
// its operators are the single-threaded functions of package simd split over
// the cores by a pool. Copies between "host" and "device" really copy, so
// that what holds here holds on hardware where they are far apart.
package cpu

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/apache/arrow/go/v17/arrow/memory"

	"headinfer/kernels"
	"headinfer/kernels/cpu/simd"
)

// Device implements kernels.Device on the processor.
type Device struct {
	opened  time.Time
	ledger  *kernels.Ledger
	pool    *pool
	scratch *scratch
	failed  atomic.Pointer[error]
	rounds  bool // see RoundProducts
	// computing is held by the operator that has the pool and the scratch.
	// Copies need neither, and run beside it.
	computing sync.Mutex

	mu      sync.Mutex
	streams []*stream
}

var _ kernels.Device = (*Device)(nil)

// processors is how many Go would use by itself.
var processors = runtime.GOMAXPROCS(0)

// copying is about what one thread copies, in bytes a second. It takes from what
// computes, so nothing hides it, and rates of computing would be of no use.
const copying = 10e9

// Open returns a device with a budget in bytes that computes on threads
// threads, or on all processors if threads is 0. It raises GOMAXPROCS to that
// many and no further: what copies and enqueues runs where a worker waits, since
// a thread more than there are processors takes its time from a worker in the
// middle of a loop that all others wait for.
func Open(budget int64, threads int) *Device {
	if threads <= 0 {
		threads = processors
	}
	if runtime.GOMAXPROCS(0) < threads {
		runtime.GOMAXPROCS(threads)
	}
	d := &Device{opened: time.Now(), ledger: kernels.NewLedger(budget), pool: newPool(threads)}
	d.scratch = newScratch(d.ledger, threads)
	return d
}

// RoundProducts makes products with weights in bf16 round more than kernels.ExactRows rows of
// activations to bf16, which AVX512-BF16 multiplies twice as fast as float32. It is for
// before the first operator, and fails where the processor lacks these instructions.
func (d *Device) RoundProducts() error {
	if err := simd.CanPairs(); err != nil {
		return err
	}
	d.rounds = true
	return nil
}

// Info describes the processor.
func (d *Device) Info() kernels.Info {
	var products kernels.DType // as they are
	if d.rounds {
		products = kernels.BF16
	}
	return kernels.Info{
		Products:    products,
		Kind:        "cpu",
		Name:        fmt.Sprintf("%s/%s, %d threads, %s", runtime.GOOS, runtime.GOARCH, d.pool.workers, simd.Level()),
		Activations: kernels.F32,
		Chunk:       512,
		Nominal:     kernels.Nominal{CopyIn: copying},
	}
}

// Err returns the first failure.
func (d *Device) Err() error {
	if e := d.failed.Load(); e != nil {
		return *e
	}
	return nil
}

func (d *Device) fail(err error) { d.failed.CompareAndSwap(nil, &err) }

// Close lets the streams run dry and ends their goroutines.
func (d *Device) Close() error {
	d.mu.Lock()
	streams := d.streams
	d.streams = nil
	d.mu.Unlock()
	for _, s := range streams {
		close(s.queue)
		<-s.exited
	}
	d.pool.close()
	return nil
}

// alignment suits the widest vectors.
const alignment = 64

// Alloc counts and takes memory.
func (d *Device) Alloc(bytes int64, purpose kernels.Purpose, what string) (kernels.Buffer, error) {
	if err := d.ledger.Take(bytes, purpose, what); err != nil {
		return kernels.Buffer{}, err
	}
	return kernels.Buffer{Data: alignedBytes(bytes), Bytes: bytes, Purpose: purpose}, nil
}

func alignedBytes(n int64) unsafe.Pointer {
	raw := make([]byte, n+alignment)
	p := unsafe.Pointer(unsafe.SliceData(raw))
	return unsafe.Add(p, -uintptr(p)&(alignment-1))
}

// Free uncounts a buffer; the collector takes its memory.
func (d *Device) Free(b kernels.Buffer) {
	if b.Data != nil {
		d.ledger.Give(b.Bytes, b.Purpose)
	}
}

// Weight uses data where it lies.
func (d *Device) Weight(what string, data []byte, dt kernels.DType, rows, cols int) (kernels.Tensor, error) {
	t, err := kernels.HostMatrix(data, dt, rows, cols)
	if err != nil {
		return kernels.Tensor{}, fmt.Errorf("weight %s: %w", what, err)
	}
	if err := d.ledger.Take(t.Bytes(), kernels.Weights, "weight "+what); err != nil {
		return kernels.Tensor{}, err
	}
	return t, nil
}

// NewWeight counts and takes memory that starts as zeros.
func (d *Device) NewWeight(what string, dt kernels.DType, rows, cols int) (kernels.Tensor, error) {
	row, err := dt.RowBytes(cols)
	if err != nil {
		return kernels.Tensor{}, fmt.Errorf("weight %s: %w", what, err)
	}
	b, err := d.Alloc(int64(rows)*int64(row), kernels.Weights, "weight "+what)
	if err != nil {
		return kernels.Tensor{}, err
	}
	return kernels.Matrix(b.Data, dt, rows, cols), nil
}

// Ledger counts device memory.
func (d *Device) Ledger() *kernels.Ledger { return d.ledger }

// InUse is 0: the processor's memory is everyone's.
func (d *Device) InUse() int64 { return 0 }

// Host is Go's own memory.
func (d *Device) Host() memory.Allocator { return memory.DefaultAllocator }

// Pageable is the same: nothing is pinned here.
func (d *Device) Pageable() memory.Allocator { return d.Host() }

// Prepare sizes the scratch.
func (d *Device) Prepare(w kernels.Workload) error {
	d.computing.Lock()
	defer d.computing.Unlock()
	if err := d.scratch.room(w.Rows, w.Columns); err != nil {
		return err
	}
	attention := simd.AttentionScratch(simd.AttentionArgs{
		Rows: min(w.Rows, queryBlock), G: w.Group, HeadDim: w.HeadDim, KVType: kernels.F32,
	})
	if err := d.scratch.each(max(attention, simd.GEMMScratch(w.Columns), stripe), "operators' scratch"); err != nil {
		return err
	}
	parts := (2*d.pool.workers + w.KVHeads - 1) + w.KVHeads // heads × parts is at most this
	partial := parts * partialSize(min(w.Rows, fewRows), w.Group, w.HeadDim)
	_, err := d.scratch.common(max(partial, vectorRows*simd.LayFloats(w.Columns)), "operators' shared scratch")
	return err
}
