package cpu

import (
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"headinfer/kernels"
)

// depth is how many operators a stream holds before enqueueing blocks.
const depth = 1024

// stream runs its entries one after another on a goroutine, as a CUDA stream
// does on the device.
type stream struct {
	name   string
	dev    *Device
	queue  chan func()
	exited chan struct{}
}

// NewStream starts a stream's goroutine, which ends with the device.
func (d *Device) NewStream(name string) kernels.Stream {
	s := &stream{name: name, dev: d, queue: make(chan func(), depth), exited: make(chan struct{})}
	d.mu.Lock()
	d.streams = append(d.streams, s)
	d.mu.Unlock()
	go func() {
		defer close(s.exited)
		for f := range s.queue {
			f()
		}
	}()
	return s
}

// enqueue adds an operator. Once the device has failed, operators are skipped.
func (s *stream) enqueue(op string, f func()) {
	s.queue <- func() {
		if s.dev.failed.Load() != nil {
			return
		}
		defer func() {
			if r := recover(); r != nil {
				err, ok := r.(error)
				if !ok {
					err = fmt.Errorf("%v", r)
				}
				s.dev.fail(fmt.Errorf("%s on stream %q: %w\n%s", op, s.name, err, debug.Stack()))
			}
		}()
		f()
	}
}

// compute enqueues an operator that needs the pool or the scratch.
func compute(s kernels.Stream, op string, f func(d *Device) error) {
	cs := s.(*stream)
	cs.enqueue(op, func() {
		cs.dev.computing.Lock()
		defer cs.dev.computing.Unlock()
		if err := f(cs.dev); err != nil {
			cs.dev.fail(fmt.Errorf("%s on stream %q: %w", op, cs.name, err))
		}
	})
}

func (s *stream) Name() string { return s.name }

func (s *stream) Record(e kernels.Event) {
	p := &point{reached: make(chan struct{})}
	e.(*event).last.Store(p)
	s.queue <- func() {
		p.at = time.Since(s.dev.opened)
		close(p.reached)
	}
}

func (s *stream) Wait(e kernels.Event) {
	if p := e.(*event).last.Load(); p != nil {
		s.queue <- func() { <-p.reached }
	}
}

func (s *stream) Synchronize() error {
	dry := make(chan struct{})
	s.queue <- func() { close(dry) }
	<-dry
	return s.dev.Err()
}

// event stands for the point at which it was recorded last.
type event struct {
	dev  *Device
	last atomic.Pointer[point]
}

type point struct {
	reached chan struct{}
	at      time.Duration // valid once reached is closed
}

// NewEvent makes an event that counts as fired.
func (d *Device) NewEvent() kernels.Event { return &event{dev: d} }

func (e *event) Wait() error {
	if p := e.last.Load(); p != nil {
		<-p.reached
	}
	return e.dev.Err()
}

func (e *event) Time() time.Duration {
	p := e.last.Load()
	if p == nil {
		return 0
	}
	<-p.reached
	return p.at
}
