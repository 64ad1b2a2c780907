//go:build cuda && cgo && linux

package driver

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestAvailable(t *testing.T) {
	n, reason := Available()
	if (n == 0) != (reason != "") {
		t.Fatalf("%d devices, reason %q: one of the two must say something", n, reason)
	}
	if n == 0 {
		if _, err := Open(0); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("Open gave %v, expected an error that says %q", err, reason)
		}
		t.Skip("needs a CUDA device: " + reason)
	}
	if _, err := Open(n); err == nil || !strings.Contains(err.Error(), "no device") {
		t.Errorf("Open(%d) of %d devices gave %v", n, n, err)
	}
	if major, minor := Version(); major < 11 {
		t.Errorf("the driver says that it supports CUDA %d.%d", major, minor)
	}
}

// A process that may see no device must go on without one, and say so.
func TestAvailableWithoutDevices(t *testing.T) {
	command := exec.Command(os.Args[0], "-test.run=^TestAvailable$", "-test.v")
	command.Env = append(os.Environ(), "CUDA_VISIBLE_DEVICES=")
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(string(out), "--- SKIP") {
		t.Errorf("found devices though none may be visible:\n%s", out)
	}
}

func TestProperties(t *testing.T) {
	c := open(t)
	p := c.Properties()
	t.Logf("%+v", p)
	if p.Name == "" || p.Major < 5 || p.Multiprocessors < 1 || p.MemoryBytes < 1<<30 || p.L2Bytes < 1<<18 ||
		p.SharedBytes < 48<<10 || p.CopyEngines < 1 || len(p.PCI) != len("0000:01:00.0") {
		t.Errorf("these can't be right: %+v", p)
	}
}

func TestMemory(t *testing.T) {
	c := open(t)
	const bytes = 256 << 20
	before, total, err := c.MemInfo()
	try(t, err)
	p, err := c.Alloc(bytes)
	try(t, err)
	during, _, err := c.MemInfo()
	try(t, err)
	try(t, c.Free(p))
	after, _, err := c.MemInfo()
	try(t, err)
	if before-during < bytes || after < before {
		t.Errorf("free memory was %d, with %d bytes taken %d, then %d", before, bytes, during, after)
	}
	if _, err := c.Alloc(2 * total); !errors.Is(err, OutOfMemory) || !strings.Contains(err.Error(), "are free") {
		t.Errorf("taking twice the device's memory gave %v", err)
	}
	for _, n := range []int64{0, -1} {
		if _, err := c.Alloc(n); err == nil {
			t.Errorf("Alloc(%d) gave no error", n)
		}
		if _, err := c.HostAlloc(n); err == nil {
			t.Errorf("HostAlloc(%d) gave no error", n)
		}
	}
	try(t, c.Free(0))
}

// The second context of a device has the first one's address; a thread that
// was bound to the first must be bound anew.
func TestReopen(t *testing.T) {
	if n, reason := Available(); n == 0 {
		t.Skip("needs a CUDA device: " + reason)
	}
	for range 3 {
		c, err := Open(0)
		try(t, err)
		s, err := c.NewStream(High)
		try(t, err)
		p, err := c.Alloc(1000)
		try(t, err)
		try(t, s.Fill(p, 7, 1000))
		got := make([]byte, 1000)
		try(t, s.CopyOut(start(got), p, 1000))
		try(t, s.Synchronize())
		if got[0] != 7 || got[999] != 7 {
			t.Errorf("read %d and %d, wrote 7", got[0], got[999])
		}
		try(t, c.Free(p))
		try(t, s.Close())
		try(t, c.Close())
		try(t, c.Close())
	}
}

// A kernel's fault loses the context, so another process has it.
func TestFault(t *testing.T) {
	open(t)
	command := exec.Command(os.Args[0], "-test.run=^TestFaultHelper$", "-test.v")
	command.Env = append(os.Environ(), "HEADINFER_TEST_FAULT=1")
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(string(out), "--- PASS: TestFaultHelper") {
		t.Errorf("the helper did not run:\n%s", out)
	}
}

func TestFaultHelper(t *testing.T) {
	if os.Getenv("HEADINFER_TEST_FAULT") == "" {
		t.Skip("part of TestFault")
	}
	c, err := Open(0)
	try(t, err)
	m, err := c.LoadModule("testKernels", []byte(testKernels))
	try(t, err)
	f, err := m.Function("store")
	try(t, err)
	s, err := c.NewStream(Normal)
	try(t, err)
	try(t, s.Launch(f, Dim{}, Dim{}, 0, 8, 1))
	err = s.Synchronize()
	var e *Error
	if !errors.Is(err, IllegalAddress) || !errors.As(err, &e) || e.Hint == "" {
		t.Errorf("writing to address 8 gave %v", err)
	}
	if _, err := c.Alloc(1); !errors.Is(err, IllegalAddress) {
		t.Errorf("after the fault Alloc gave %v", err)
	}
}
