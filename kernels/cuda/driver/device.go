//go:build cuda && cgo && linux

package driver

/*
#include "shim.h"

#cgo noescape hi_bind
#cgo nocallback hi_bind
*/
import "C"

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"unsafe"

	"gorgonia.org/cu"
)

// Available returns how many CUDA devices can be opened, and why when none
// can. The first call opens the driver.
func Available() (devices int, reason string) {
	a := available()
	return a.devices, a.reason
}

type availability struct {
	devices int
	reason  string
}

var available = sync.OnceValue(func() availability {
	var reason [512]C.char
	if C.hi_load(&reason[0], C.size_t(len(reason))) != 0 {
		return availability{reason: C.GoString(&reason[0])}
	}
	n, err := cu.NumDevices()
	if err != nil {
		return availability{reason: refused(err, "counting devices").Error()}
	}
	if n == 0 {
		why := "the NVIDIA driver is there but sees no device"
		if visible, set := os.LookupEnv("CUDA_VISIBLE_DEVICES"); set {
			why += fmt.Sprintf(" (CUDA_VISIBLE_DEVICES is %q)", visible)
		}
		return availability{reason: why}
	}
	return availability{devices: n}
})

// Version returns the CUDA version that the driver supports, such as 13, 0. It
// is 0, 0 without a driver.
func Version() (major, minor int) {
	if n, _ := Available(); n == 0 {
		return 0, 0
	}
	v := cu.Version()
	return v / 1000, v % 1000 / 10
}

// Properties describe a device.
type Properties struct {
	Name            string // such as "NVIDIA H100 80GB HBM3"
	PCI             string // its address, such as "0000:01:00.0", as below /sys/bus/pci/devices
	Major, Minor    int    // compute capability
	Multiprocessors int
	MemoryBytes     int64
	L2Bytes         int
	SharedBytes     int // the most shared memory that a block can have
	CopyEngines     int // 2 or more: copies both ways at once
}

// Context is a device opened for use: its primary context.
type Context struct {
	device     cu.Device
	binding    C.hi_binding
	properties Properties
	closed     atomic.Bool
}

// The id of the latest context: a thread that was bound to a closed context
// must not be taken for one bound to the next, which may have its address.
var contexts atomic.Uint64

// Open opens a device by its number, counted from 0.
func Open(ordinal int) (*Context, error) {
	n, reason := Available()
	if n == 0 {
		return nil, fmt.Errorf("cuda: no device: %s", reason)
	}
	if ordinal < 0 || ordinal >= n {
		return nil, fmt.Errorf("cuda: no device %d: there are %d, counted from 0", ordinal, n)
	}
	device, err := cu.GetDevice(ordinal)
	if err != nil {
		return nil, refused(err, "opening device %d", ordinal)
	}
	properties, err := describe(device)
	if err != nil {
		return nil, refused(err, "describing device %d", ordinal)
	}
	primary, err := device.RetainPrimaryCtx()
	if err != nil {
		return nil, refused(err, "opening %s", properties.Name)
	}
	c := &Context{device: device, properties: properties}
	c.binding = C.hi_binding{context: contextHandle(primary), id: C.uint64_t(contexts.Add(1))}
	return c, nil
}

// describe reads a device's properties.
func describe(device cu.Device) (Properties, error) {
	name, err := device.Name()
	if err != nil {
		return Properties{}, err
	}
	bytes, err := device.TotalMem()
	if err != nil {
		return Properties{}, err
	}
	p := Properties{Name: name, MemoryBytes: bytes}
	var domain, bus, slot int
	// CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN has no name in cu.
	const sharedOptIn cu.DeviceAttribute = 97
	for _, a := range []struct {
		attribute cu.DeviceAttribute
		to        *int
	}{
		{cu.ComputeCapabilityMajor, &p.Major},
		{cu.ComputeCapabilityMinor, &p.Minor},
		{cu.MultiprocessorCount, &p.Multiprocessors},
		{cu.L2CacheSize, &p.L2Bytes},
		{sharedOptIn, &p.SharedBytes},
		{cu.AsyncEngineCount, &p.CopyEngines},
		{cu.PciDomainID, &domain},
		{cu.PciBusID, &bus},
		{cu.PciDeviceID, &slot},
	} {
		if *a.to, err = device.Attribute(a.attribute); err != nil {
			return Properties{}, err
		}
	}
	p.PCI = fmt.Sprintf("%04x:%02x:%02x.0", domain, bus, slot)
	return p, nil
}

// Properties describe the context's device.
func (c *Context) Properties() Properties { return c.properties }

// Synchronize blocks until everything enqueued on the device has run.
func (c *Context) Synchronize() error {
	return c.do(cu.Synchronize, "waiting for the device")
}

// Close waits for what is enqueued and lets the device go. Closing again does
// nothing.
func (c *Context) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	err := c.Synchronize()
	if e := c.device.ReleasePrimaryCtx(); e != nil && err == nil {
		err = refused(e, "closing %s", c.properties.Name)
	}
	return err
}

// do calls a function of cu on a thread whose current context is c.
func (c *Context) do(call func() error, format string, args ...any) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if code := C.hi_bind(c.binding); code != 0 {
		return failed(code, format, args...)
	}
	if err := call(); err != nil {
		return refused(err, format, args...)
	}
	return nil
}

// cu keeps the handles of contexts and events to itself; each is a struct of
// that one field. The arrays below don't compile should that change.
var (
	_ [unsafe.Sizeof(cu.CUContext{}) - unsafe.Sizeof(uintptr(0))]struct{}
	_ [unsafe.Sizeof(uintptr(0)) - unsafe.Sizeof(cu.CUContext{})]struct{}
	_ [unsafe.Sizeof(cu.Event{}) - unsafe.Sizeof(uintptr(0))]struct{}
	_ [unsafe.Sizeof(uintptr(0)) - unsafe.Sizeof(cu.Event{})]struct{}
)

func contextHandle(c cu.CUContext) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&c)) }
func eventHandle(e cu.Event) unsafe.Pointer       { return *(*unsafe.Pointer)(unsafe.Pointer(&e)) }
