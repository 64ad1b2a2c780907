//go:build cuda && cgo && linux

package driver

/*
#include "shim.h"

#cgo nocallback hi_copy_in
#cgo nocallback hi_copy_out
#cgo noescape hi_copy_within
#cgo nocallback hi_copy_within
#cgo nocallback hi_copy_rect
#cgo noescape hi_fill
#cgo nocallback hi_fill
*/
import "C"

import "unsafe"

// CopyIn enqueues a copy of bytes from host memory to the device.
func (s *Stream) CopyIn(dst Pointer, src unsafe.Pointer, bytes int64) error {
	if bytes == 0 {
		return nil
	}
	if code := C.hi_copy_in(s.context.binding, C.uint64_t(dst), src, C.size_t(bytes), s.handle); code != 0 {
		return failed(code, "copying %d bytes to the device", bytes)
	}
	return nil
}

// CopyOut enqueues a copy of bytes from the device to host memory.
func (s *Stream) CopyOut(dst unsafe.Pointer, src Pointer, bytes int64) error {
	if bytes == 0 {
		return nil
	}
	if code := C.hi_copy_out(s.context.binding, dst, C.uint64_t(src), C.size_t(bytes), s.handle); code != 0 {
		return failed(code, "copying %d bytes from the device", bytes)
	}
	return nil
}

// CopyWithin enqueues a copy of bytes from one place of the device to another;
// the two must not overlap.
func (s *Stream) CopyWithin(dst, src Pointer, bytes int64) error {
	if bytes == 0 {
		return nil
	}
	if code := C.hi_copy_within(s.context.binding, C.uint64_t(dst), C.uint64_t(src), C.size_t(bytes), s.handle); code != 0 {
		return failed(code, "copying %d bytes within the device", bytes)
	}
	return nil
}

// Rows is the extent of a strided copy: Count rows of Bytes each, whose starts
// are DstPitch and SrcPitch bytes apart. A pitch is no less than Bytes.
type Rows struct {
	Count, Bytes       int64
	DstPitch, SrcPitch int64
}

// CopyInRows enqueues a strided copy from host memory to the device.
func (s *Stream) CopyInRows(dst Pointer, src unsafe.Pointer, r Rows) error {
	return s.copyRows(C.HI_IN, dst, 0, src, r, "to")
}

// CopyOutRows enqueues a strided copy from the device to host memory.
func (s *Stream) CopyOutRows(dst unsafe.Pointer, src Pointer, r Rows) error {
	return s.copyRows(C.HI_OUT, 0, src, dst, r, "from")
}

// CopyWithinRows enqueues a strided copy within the device.
func (s *Stream) CopyWithinRows(dst, src Pointer, r Rows) error {
	return s.copyRows(C.HI_WITHIN, dst, src, nil, r, "within")
}

func (s *Stream) copyRows(direction C.int, dst, src Pointer, host unsafe.Pointer, r Rows, where string) error {
	if r.Count == 0 || r.Bytes == 0 {
		return nil
	}
	rect := C.hi_rect{
		dst: C.uint64_t(dst), dst_pitch: C.uint64_t(r.DstPitch),
		src: C.uint64_t(src), src_pitch: C.uint64_t(r.SrcPitch),
		width: C.uint64_t(r.Bytes), rows: C.uint64_t(r.Count),
	}
	if code := C.hi_copy_rect(s.context.binding, direction, rect, host, s.handle); code != 0 {
		return failed(code, "copying %d rows of %d bytes (pitches %d to %d) %s the device", r.Count, r.Bytes, r.SrcPitch, r.DstPitch, where)
	}
	return nil
}

// Fill enqueues setting bytes of the device to a value.
func (s *Stream) Fill(dst Pointer, value byte, bytes int64) error {
	if bytes == 0 {
		return nil
	}
	if code := C.hi_fill(s.context.binding, C.uint64_t(dst), C.uint8_t(value), C.size_t(bytes), s.handle); code != 0 {
		return failed(code, "filling %d bytes of the device", bytes)
	}
	return nil
}
