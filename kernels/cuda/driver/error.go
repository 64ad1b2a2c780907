//go:build cuda && cgo && linux

package driver

// #include "shim.h"
import "C"

import (
	"fmt"
	"reflect"
)

// Code is a result code of CUDA's driver. errors.Is finds it in an *Error.
type Code int

// The codes that a caller may want to tell apart.
const (
	InvalidValue          Code = 1
	OutOfMemory           Code = 2
	NotInitialized        Code = 3
	NoDevice              Code = 100
	InvalidDevice         Code = 101
	InvalidImage          Code = 200
	NoBinaryForDevice     Code = 209
	InvalidPTX            Code = 218
	UnsupportedPTXVersion Code = 222
	OperatingSystem       Code = 304
	NotFound              Code = 500
	NotReady              Code = 600
	IllegalAddress        Code = 700
	LaunchOutOfResources  Code = 701
	HostRegisteredAlready Code = 712
	HostNotRegistered     Code = 713
	LaunchFailed          Code = 719
	NotSupported          Code = 801
)

// Error returns CUDA's name of the code and what it stands for.
func (c Code) Error() string {
	name, text := C.hi_error_name(C.int(c)), C.hi_error_text(C.int(c))
	if name == nil || text == nil {
		return fmt.Sprintf("CUDA error %d", int(c))
	}
	return fmt.Sprintf("%s (%d): %s", C.GoString(name), int(c), C.GoString(text))
}

// Error is a call that the driver refused, or an earlier kernel's fault that
// the call met.
type Error struct {
	Op   string // what was asked for, with its figures
	Code Code
	Hint string // what to change, where that is known
}

// Error returns what was asked for, CUDA's answer and what to change.
func (e *Error) Error() string {
	s := "cuda: " + e.Op + ": " + e.Code.Error()
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

// Unwrap returns the Code.
func (e *Error) Unwrap() error { return e.Code }

// failed makes an error of a shim's result.
func failed(code C.int, format string, args ...any) error {
	c := Code(code)
	return &Error{Op: fmt.Sprintf(format, args...), Code: c, Hint: hints[c]}
}

// refused makes an error of gorgonia.org/cu's, whose type is an integer that
// it does not export.
func refused(err error, format string, args ...any) error {
	if v := reflect.ValueOf(err); v.CanInt() {
		return failed(C.int(v.Int()), format, args...)
	}
	return fmt.Errorf("cuda: %s: %w", fmt.Sprintf(format, args...), err)
}

var hints = map[Code]string{
	InvalidImage:          "the kernel image is damaged, or made for another kind of device",
	NoBinaryForDevice:     "no kernel image fits this device; rebuild them for it with \"make cuda-images\"",
	UnsupportedPTXVersion: "the driver is older than the compiler of the kernel images",
	IllegalAddress:        "a kernel read or wrote outside its memory, now or earlier; the device can't be used until the process restarts",
	LaunchFailed:          "a kernel failed, now or earlier; the device can't be used until the process restarts",
}
