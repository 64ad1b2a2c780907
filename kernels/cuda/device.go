//go:build cuda && cgo && linux

package cuda

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/apache/arrow/go/v17/arrow/memory"

	"headinfer/kernels"
	"headinfer/kernels/cuda/driver"
	"headinfer/kernels/cuda/images"
)

// activations is the type of hidden states, queries, keys and values.
const activations = kernels.BF16

// Device implements kernels.Device on a GPU.
type Device struct {
	context   *driver.Context
	blas      *driver.BLAS
	modules   []*driver.Module
	functions functions
	prefill   map[int]tiling // by head dimension
	ledger    *kernels.Ledger
	host      *hostMemory
	pageable  *hostMemory
	failed    atomic.Pointer[error]
	epoch     *driver.Event // when the device was opened
	work      workspace
	nominal   kernels.Nominal
	staging   staging

	mu      sync.Mutex
	streams []*stream
	weights []kernels.Buffer
}

var _ kernels.Device = (*Device)(nil)

// Available returns how many devices there are, and if none, why.
func Available() (devices int, reason string) { return driver.Available() }

// Open opens a device by its number, counted from 0, with a budget in bytes.
func Open(budget int64, ordinal int) (kernels.Device, error) {
	context, err := driver.Open(ordinal)
	if err != nil {
		return nil, err
	}
	host := newHostMemory(context)
	d := &Device{
		context: context, ledger: kernels.NewLedger(budget), host: host, pageable: newHostMemory(nil),
		staging: staging{context: context, pinned: host},
	}
	if err := d.start(); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// start loads the kernels and cuBLASLt, and sets the clock.
func (d *Device) start() error {
	p := d.context.Properties()
	target, err := images.Target(p.Major, p.Minor)
	if err != nil {
		return err
	}
	modules, err := images.Load(target)
	if err != nil {
		return err
	}
	for _, m := range modules {
		loaded, err := d.context.LoadModule(m.Name, m.Data)
		if err != nil {
			return err
		}
		d.modules = append(d.modules, loaded)
	}
	d.nominal = Nominal(p.Major, p.Minor, p.Multiprocessors, ReadLink(os.DirFS("/"), p.PCI))
	d.functions.modules, d.prefill = d.modules, prefillKernels(target)
	if d.blas, err = d.context.OpenBLAS(); err != nil {
		return err
	}
	clock, err := d.context.NewStream(0)
	if err != nil {
		return err
	}
	if d.epoch, err = d.context.NewEvent(true); err != nil {
		return errors.Join(err, clock.Close())
	}
	return errors.Join(clock.Record(d.epoch), clock.Synchronize(), clock.Close())
}

// Info describes the GPU.
func (d *Device) Info() kernels.Info {
	p := d.context.Properties()
	return kernels.Info{
		Kind:        "cuda",
		Name:        fmt.Sprintf("%s, %s, compute capability %d.%d", p.Name, kernels.FormatBytes(p.MemoryBytes), p.Major, p.Minor),
		Activations: activations,
		Chunk:       4096,
		Nominal:     d.nominal,
	}
}

// Err returns the first failure.
func (d *Device) Err() error {
	if e := d.failed.Load(); e != nil {
		return *e
	}
	return nil
}

func (d *Device) fail(op string, err error) {
	if err != nil {
		err = fmt.Errorf("%s: %w", op, err)
		d.failed.CompareAndSwap(nil, &err)
	}
}

// Close waits for the device and lets it go.
func (d *Device) Close() error {
	_ = d.context.Synchronize() // a fault has been reported where it was noticed
	err := d.staging.close()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.streams {
		err = errors.Join(err, s.Close())
	}
	for _, b := range append(d.weights, d.work.buffers...) {
		d.Free(b)
	}
	d.streams, d.weights, d.work.buffers = nil, nil, nil
	if d.epoch != nil {
		err = errors.Join(err, d.epoch.Close())
	}
	if d.blas != nil {
		err = errors.Join(err, d.blas.Close())
	}
	for _, m := range d.modules {
		err = errors.Join(err, m.Close())
	}
	if d.Err() != nil {
		err = nil // after a fault, nothing of the context can be closed in order
	}
	return errors.Join(err, d.context.Close())
}

// Ledger counts device memory.
func (d *Device) Ledger() *kernels.Ledger { return d.ledger }

// InUse is what the driver says is not free. A driver that does not answer makes
// the device fail.
func (d *Device) InUse() int64 {
	free, total, err := d.context.MemInfo()
	d.fail("counting device memory", err)
	return total - free
}

// Host is pinned memory.
func (d *Device) Host() memory.Allocator { return d.host }

// Pageable is the same memory, but for the pinning.
func (d *Device) Pageable() memory.Allocator { return d.pageable }

// Alloc counts and takes memory.
func (d *Device) Alloc(bytes int64, purpose kernels.Purpose, what string) (kernels.Buffer, error) {
	if err := d.ledger.Take(bytes, purpose, what); err != nil {
		return kernels.Buffer{}, err
	}
	p, err := d.context.Alloc(max(bytes, 1))
	if err != nil {
		d.ledger.Give(bytes, purpose)
		if errors.Is(err, driver.OutOfMemory) {
			return kernels.Buffer{}, &kernels.RefusedError{What: what, Purpose: purpose, Asked: bytes, Err: err}
		}
		return kernels.Buffer{}, fmt.Errorf("%s (%s): %w", what, purpose, err)
	}
	return kernels.Buffer{Data: address(p), Bytes: bytes, Purpose: purpose}, nil
}

// Free gives memory back.
func (d *Device) Free(b kernels.Buffer) {
	if b.Data == nil {
		return
	}
	d.fail("freeing device memory", d.context.Free(pointer(b.Data)))
	d.ledger.Give(b.Bytes, b.Purpose)
}

// NewWeight takes memory that stays until the device is closed.
func (d *Device) NewWeight(what string, dt kernels.DType, rows, cols int) (kernels.Tensor, error) {
	row, err := dt.RowBytes(cols)
	if err != nil {
		return kernels.Tensor{}, fmt.Errorf("weight %s: %w", what, err)
	}
	b, err := d.Alloc(int64(rows)*int64(row), kernels.Weights, "weight "+what)
	if err != nil {
		return kernels.Tensor{}, err
	}
	d.mu.Lock()
	d.weights = append(d.weights, b)
	d.mu.Unlock()
	if rows > 1 && dt != activations { // a matrix, not a norm
		d.work.encoded.Store(tileBytes)
	}
	return kernels.Matrix(b.Data, dt, rows, cols), nil
}

// Weight copies data to the device, where it stays until the device is closed.
// Large weights go through pinned memory, which is kept until Prepare is called.
func (d *Device) Weight(what string, data []byte, dt kernels.DType, rows, cols int) (kernels.Tensor, error) {
	host, err := kernels.HostMatrix(data, dt, rows, cols)
	if err != nil {
		return kernels.Tensor{}, fmt.Errorf("weight %s: %w", what, err)
	}
	w, err := d.NewWeight(what, dt, rows, cols)
	if err != nil {
		return kernels.Tensor{}, err
	}
	if err := d.staging.copyIn(pointer(w.Data), data[:host.Bytes()]); err != nil {
		return kernels.Tensor{}, fmt.Errorf("weight %s: %w", what, err)
	}
	return w, nil
}

// A device address travels through kernels.Tensor in the place of a host
// pointer; neither Go nor its collector ever follows it.
func address(p driver.Pointer) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&p)) }

func pointer(p unsafe.Pointer) driver.Pointer { return driver.Pointer(uintptr(p)) }

func word(p unsafe.Pointer) uint64 { return uint64(uintptr(p)) }
