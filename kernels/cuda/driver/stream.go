//go:build cuda && cgo && linux

package driver

/*
#include "shim.h"

#cgo noescape hi_record
#cgo nocallback hi_record
#cgo noescape hi_wait
#cgo nocallback hi_wait
*/
import "C"

import (
	"errors"
	"time"
	"unsafe"

	"gorgonia.org/cu"
)

// Priority orders streams that compete for the device.
type Priority int

// The priorities. Copies are not affected.
const (
	Normal Priority = iota
	High            // runs first where both could
)

// Stream is a queue of work whose entries run one after another. It does not
// wait for the device's default stream, nor that for it.
type Stream struct {
	context *Context
	stream  cu.Stream
	handle  unsafe.Pointer
}

// NewStream makes a stream.
func (c *Context) NewStream(p Priority) (*Stream, error) {
	s := &Stream{context: c}
	err := c.do(func() error {
		least, greatest, err := cu.StreamPriorityRange()
		if err != nil {
			return err
		}
		level := least
		if p == High {
			level = greatest
		}
		s.stream, err = cu.MakeStreamWithPriority(level, cu.NonBlocking)
		return err
	}, "making a stream")
	if err != nil {
		return nil, err
	}
	s.handle = unsafe.Pointer(s.stream.C())
	return s, nil
}

// Context returns the context that the stream belongs to.
func (s *Stream) Context() *Context { return s.context }

// Synchronize blocks until everything enqueued so far has run.
func (s *Stream) Synchronize() error {
	return s.context.do(s.stream.Synchronize, "waiting for a stream")
}

// Idle reports whether everything enqueued has run.
func (s *Stream) Idle() (bool, error) {
	return settled(s.context.do(s.stream.Query, "asking whether a stream is idle"))
}

// Record makes e stand for everything enqueued so far.
func (s *Stream) Record(e *Event) error {
	if code := C.hi_record(s.context.binding, e.handle, s.handle); code != 0 {
		return failed(code, "recording an event")
	}
	return nil
}

// Wait holds what is enqueued after it until the point that e stands for now.
// An event never recorded holds nothing.
func (s *Stream) Wait(e *Event) error {
	if code := C.hi_wait(s.context.binding, s.handle, e.handle); code != 0 {
		return failed(code, "making a stream wait for an event")
	}
	return nil
}

// Close gives the stream back; what is enqueued still runs.
func (s *Stream) Close() error {
	return s.context.do(s.stream.Destroy, "closing a stream")
}

// Event is a point in a stream.
type Event struct {
	context *Context
	event   cu.Event
	handle  unsafe.Pointer
}

// NewEvent makes an event, which counts as reached until it is recorded. One
// without timing costs less to record.
func (c *Context) NewEvent(timing bool) (*Event, error) {
	flags := cu.DefaultEvent
	if !timing {
		flags = cu.DisableTiming
	}
	e := &Event{context: c}
	err := c.do(func() (err error) {
		e.event, err = cu.MakeEvent(flags)
		return err
	}, "making an event")
	if err != nil {
		return nil, err
	}
	e.handle = eventHandle(e.event)
	return e, nil
}

// Synchronize blocks until the recorded point has been reached.
func (e *Event) Synchronize() error {
	return e.context.do(e.event.Synchronize, "waiting for an event")
}

// Reached reports whether the recorded point has been reached.
func (e *Event) Reached() (bool, error) {
	return settled(e.context.do(e.event.Query, "asking for an event"))
}

// Since returns how long after start e was reached; both have timing and have
// been reached. CUDA counts in 32-bit floating-point milliseconds, so over
// more than a minute the answer is only good to some microseconds.
func (e *Event) Since(start *Event) (time.Duration, error) {
	var ms float64
	err := e.context.do(func() (err error) {
		ms, err = start.event.Elapsed(e.event)
		return err
	}, "measuring the time between two events")
	return time.Duration(ms * float64(time.Millisecond)), err
}

// Close gives the event back.
func (e *Event) Close() error {
	return e.context.do(func() error { return cu.DestroyEvent(&e.event) }, "closing an event")
}

// settled tells "not yet" from a failure.
func settled(err error) (bool, error) {
	if errors.Is(err, NotReady) {
		return false, nil
	}
	return err == nil, err
}
