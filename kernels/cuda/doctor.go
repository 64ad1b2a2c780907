//go:build cuda && cgo && linux

package cuda

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"headinfer/kernels/cuda/driver"
	"headinfer/kernels/cuda/images"
)

// Built says whether this build has GPU support.
const Built = true

// Describe looks at a device by its number, counted from 0. It finds out what
// Open needs one by one, so that what is missing stands in the facts; its own
// error means that the driver does not let the device be used.
func Describe(ordinal int) (f Facts, err error) {
	c, err := driver.Open(ordinal)
	if err != nil {
		return Facts{}, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	p := c.Properties()
	major, minor := driver.Version()
	f = Facts{
		Driver: driverVersion(), CUDA: fmt.Sprintf("%d.%d", major, minor),
		Name: p.Name, Capability: fmt.Sprintf("%d.%d", p.Major, p.Minor),
		Multiprocessors: p.Multiprocessors, CopyEngines: p.CopyEngines, PCI: p.PCI,
		Nominal: Nominal(p.Major, p.Minor, p.Multiprocessors, ReadLink(os.DirFS("/"), p.PCI)),
	}
	if f.FreeBytes, f.TotalBytes, err = c.MemInfo(); err != nil {
		return f, err
	}
	if f.Image, err = images.Target(p.Major, p.Minor); err != nil {
		f.ImageError = err.Error()
	}
	blas, err := c.OpenBLAS()
	if err != nil {
		f.BLASError = err.Error()
		return f, nil
	}
	f.BLAS, f.BLASVersion = blas.Path(), blas.Version()
	return f, blas.Close()
}

// driverVersion reads the version of the kernel's driver, which CUDA does not tell.
func driverVersion() string {
	text, err := os.ReadFile("/sys/module/nvidia/version")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
