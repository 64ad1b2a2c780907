package model

import (
	"fmt"
	"runtime"
	"sync"
	"unsafe"

	"headinfer/kernels"
	"headinfer/kernels/cpu/simd"
	"headinfer/model/mapped"
	"headinfer/model/tensor"
)

const (
	// aheadBytes is how far files are read before their tensors are put: enough
	// for a disk to be busy, and so little that nothing else is driven from memory.
	aheadBytes = 1 << 30
	// stageBytes is how much is decoded on the host before it is copied.
	stageBytes = 16 << 20
)

// loading brings tensors of files to a device. The files are read ahead, by all
// processors, also for a device that uses weights where they lie: its first pass
// would read them a page at a time.
type loading struct {
	file   *stored
	dev    kernels.Device
	s      kernels.Stream
	ahead  *mapped.Ahead
	done   int // tensors that have been put
	stages [2]stage
	next   int // of the stages
}

// stage is host memory, of the kind that the device copies from at full speed, for
// a part of a matrix that is decoded, until its copy has run. Two in turn let one
// be decoded while the other is copied. What needs no decoding does not pass here,
// but goes the way that the device has for weights.
type stage struct {
	data []byte
	free kernels.Event
}

func (f *stored) load(dev kernels.Device, s kernels.Stream, specs []tensorSpec) loader {
	parts := make([][]byte, len(specs))
	for i, spec := range specs {
		t, _ := f.lookup(spec.name)
		parts[i] = t.Data
	}
	return &loading{file: f, dev: dev, s: s, ahead: mapped.ReadAhead(parts, aheadBytes)}
}

func (l *loading) put(spec tensorSpec) (kernels.Tensor, error) {
	t, _ := l.file.lookup(spec.name)
	if err := l.ahead.Wait(l.done); err != nil {
		return kernels.Tensor{}, fmt.Errorf("%s: tensor %s: %w", l.file.path, t.Name, err)
	}
	l.done++
	switch {
	case spec.vector():
		return l.vector(t, spec)
	case t.Decode != nil:
		return l.decoded(t, spec)
	}
	return l.dev.Weight(t.Name, t.Data, t.DType, spec.rows, spec.cols)
}

// vector brings a vector, such as a norm's: they are tiny, and every device takes
// them in f32.
func (l *loading) vector(t tensor.Tensor, spec tensorSpec) (kernels.Tensor, error) {
	values := make([]float32, spec.cols)
	if err := simd.Dequantize(values, t.Data, t.DType); err != nil {
		return kernels.Tensor{}, fmt.Errorf("%s: tensor %s: %w", l.file.path, t.Name, err)
	}
	raw := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(values))), 4*len(values))
	return l.dev.Weight(t.Name, raw, kernels.F32, 1, len(values))
}

// decoded brings a matrix that the host decodes, some rows at a time.
func (l *loading) decoded(t tensor.Tensor, spec tensorSpec) (kernels.Tensor, error) {
	w, err := l.dev.NewWeight(t.Name, t.DType, spec.rows, spec.cols)
	if err != nil {
		return w, err
	}
	row := int(rowBytes(t))
	step := max(stageBytes/row, 1)
	for from := 0; from < spec.rows; from += step {
		to := min(from+step, spec.rows)
		st, err := l.stage((to - from) * row)
		if err != nil {
			return w, fmt.Errorf("%s: tensor %s: %w", l.file.path, t.Name, err)
		}
		decodeRows(t, st.data, from, to)
		l.dev.CopyIn(l.s, w.RowRange(from, to), kernels.Matrix(unsafe.Pointer(unsafe.SliceData(st.data)), t.DType, to-from, spec.cols))
		l.s.Record(st.free)
	}
	return w, nil
}

// stage returns the next one, for some bytes, once its last copy has run.
func (l *loading) stage(bytes int) (*stage, error) {
	st := &l.stages[l.next]
	l.next = 1 - l.next
	if st.free == nil {
		st.free = l.dev.NewEvent()
	}
	if err := st.free.Wait(); err != nil {
		return nil, err
	}
	if len(st.data) < bytes {
		l.dev.Host().Free(st.data)
		st.data = nil
		var err error
		if st.data, err = kernels.AllocateHost(l.dev.Host(), max(bytes, stageBytes), "decoding weights"); err != nil {
			return nil, err
		}
	}
	return st, nil
}

// decodeRows decodes rows [from, to) on all processors.
func decodeRows(t tensor.Tensor, dst []byte, from, to int) {
	row := int(rowBytes(t))
	workers := runtime.NumCPU()
	share := (to - from + workers - 1) / workers
	var all sync.WaitGroup
	for at := from; at < to; at += share {
		end := min(at+share, to)
		all.Go(func() { t.Decode(dst[(at-from)*row:(end-from)*row], at, end) })
	}
	all.Wait()
}

func (l *loading) end() {
	l.ahead.Close()
	_ = l.s.Synchronize() // a failure is the device's, and reported as such
	for _, st := range l.stages {
		if st.data != nil {
			l.dev.Host().Free(st.data)
		}
	}
}
