//go:build cuda && cgo && linux

package cuda

import (
	"errors"
	"sync/atomic"
	"time"

	"headinfer/kernels"
	"headinfer/kernels/cuda/driver"
)

// stream is a CUDA stream. Its methods keep a failure for the device to tell.
type stream struct {
	*driver.Stream
	name  string
	dev   *Device
	wrote atomic.Bool // the kernel enqueued last may have written a weight: see launchEarly
}

// NewStream makes a stream, which ends with the device.
func (d *Device) NewStream(name string) kernels.Stream {
	s := &stream{name: name, dev: d}
	var err error
	if s.Stream, err = d.context.NewStream(0); err != nil {
		d.fail("stream "+name, err)
		return s
	}
	d.mu.Lock()
	d.streams = append(d.streams, s)
	d.mu.Unlock()
	return s
}

// enqueue runs f, which enqueues an operator, unless the device has failed.
func (d *Device) enqueue(on kernels.Stream, op string, f func(s *stream) error) {
	if d.failed.Load() != nil {
		return
	}
	s := on.(*stream)
	d.fail(op+" on stream "+s.name, f(s))
}

func (s *stream) Name() string { return s.name }

func (s *stream) Record(e kernels.Event) {
	ev := e.(*event)
	s.dev.enqueue(s, "record", func(s *stream) error {
		if ev.Event == nil {
			return nil
		}
		err := s.Stream.Record(ev.Event)
		ev.recorded.Store(err == nil)
		return err
	})
}

func (s *stream) Wait(e kernels.Event) {
	ev := e.(*event)
	if ev.recorded.Load() {
		s.dev.enqueue(s, "wait", func(s *stream) error { return s.Stream.Wait(ev.Event) })
	}
}

func (s *stream) Synchronize() error {
	if s.Stream != nil && s.dev.failed.Load() == nil {
		s.dev.fail("stream "+s.name, s.Stream.Synchronize())
	}
	return s.dev.Err()
}

// event is a CUDA event with timing.
type event struct {
	*driver.Event
	dev      *Device
	recorded atomic.Bool
}

// NewEvent makes an event that counts as fired.
func (d *Device) NewEvent() kernels.Event {
	e := &event{dev: d}
	var err error
	e.Event, err = d.context.NewEvent(true)
	d.fail("event", err)
	return e
}

func (e *event) Wait() error {
	if e.recorded.Load() {
		e.dev.fail("event", e.Event.Synchronize())
	}
	return e.dev.Err()
}

func (e *event) Time() time.Duration {
	if !e.recorded.Load() || e.dev.Err() != nil {
		return 0
	}
	t, err := e.Since(e.dev.epoch)
	if errors.Is(err, driver.NotReady) && e.Wait() == nil {
		t, err = e.Since(e.dev.epoch)
	}
	e.dev.fail("event", err)
	return t
}
