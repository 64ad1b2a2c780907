//go:build cuda && cgo && linux

package cuda

import (
	"fmt"
	"math"
	"sync"

	"headinfer/kernels"
	"headinfer/kernels/cuda/driver"
)

// functions finds kernels by name, once each.
type functions struct {
	modules []*driver.Module
	mu      sync.Mutex
	found   map[string]*driver.Function
}

// get returns a kernel, allowed as much dynamic shared memory as it will be
// launched with.
func (f *functions) get(name string, shared int) (*driver.Function, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fn := f.found[name]; fn != nil {
		return fn, nil
	}
	for _, m := range f.modules {
		fn, err := m.Function(name)
		if err != nil {
			continue
		}
		if shared > 0 {
			if err := fn.SetShared(shared); err != nil {
				return nil, err
			}
		}
		if f.found == nil {
			f.found = map[string]*driver.Function{}
		}
		f.found[name] = fn
		return fn, nil
	}
	return nil, fmt.Errorf("no kernel is called %s", name)
}

// launch enqueues a kernel; an empty grid is nothing to do.
func (d *Device) launch(s *stream, name string, grid driver.Dim, block, shared int, args ...uint64) error {
	if !empty(grid) {
		s.wrote.Store(false)
	}
	return d.begin(s, (*driver.Stream).Launch, name, grid, block, shared, args)
}

// launchEarly is launch for the kernels that may begin while those before them
// end (kernels/cuda/src/common.cuh says what such a kernel obeys). They read
// weights ahead of that, so the first kernel after one that has written a weight
// begins in order.
func (d *Device) launchEarly(s *stream, name string, grid driver.Dim, block, shared int, args ...uint64) error {
	call := (*driver.Stream).LaunchDependent
	if !empty(grid) && s.wrote.Swap(false) {
		call = (*driver.Stream).Launch
	}
	return d.begin(s, call, name, grid, block, shared, args)
}

// empty reports whether a grid has no blocks.
func empty(grid driver.Dim) bool { return grid.X == 0 || grid.Y == 0 || grid.Z == 0 }

type launcher func(s *driver.Stream, f *driver.Function, grid, block driver.Dim, shared int, args ...uint64) error

func (d *Device) begin(s *stream, call launcher, name string, grid driver.Dim, block, shared int, args []uint64) error {
	if empty(grid) {
		return nil
	}
	fn, err := d.functions.get(name, shared)
	if err != nil {
		return err
	}
	return call(s.Stream, fn, grid, driver.Dim{X: block, Y: 1, Z: 1}, shared, args...)
}

// suffix is how kernels' names call the type of activations.
const suffix = "bf16"

// weightKernel names the kernel that reads weights of an encoding.
func weightKernel(kernel string, d kernels.DType) string {
	return kernel + "_" + suffix + "_" + d.String()
}

func integer(n int) uint64 { return uint64(int64(n)) }

func real(x float64) uint64 { return math.Float64bits(x) }

func ceil(a, b int) int { return (a + b - 1) / b }

// view gives a matrix's address and stride as two words.
func view(t kernels.Tensor) [2]uint64 { return [2]uint64{word(t.Data), integer(t.Stride)} }

// want fails unless a tensor has a type and shape.
func want(name string, t kernels.Tensor, dt kernels.DType, rows, cols int) error {
	if t.DType != dt || t.Rows != rows || t.Cols != cols {
		return fmt.Errorf("%s is %s, not %s [%d, %d]", name, t, dt, rows, cols)
	}
	return nil
}
