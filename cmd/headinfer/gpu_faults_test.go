//go:build cuda && cgo && linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"headinfer/kernels"
	"headinfer/kernels/cuda"
	"headinfer/kernels/cuda/driver"
)

// needGPU skips a test where there is none.
func needGPU(t *testing.T) {
	t.Helper()
	if n, reason := cuda.Available(); n == 0 {
		t.Skip("needs a CUDA device: " + reason)
	}
}

// beside opens the GPU in this process, to see what others leave there.
func beside(t *testing.T) kernels.Device {
	t.Helper()
	dev, err := cuda.Open(1<<20, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	})
	return dev
}

// TestGPUFaultNoBLAS hides cuBLASLt: to ask for the GPU is an error that says
// where it was looked for, and auto goes on with the processor.
func TestGPUFaultNoBLAS(t *testing.T) {
	needGPU(t)
	dir, empty := faults(t, "a short text"), t.TempDir()
	hidden := []string{"HEADINFER_CUBLAS=" + empty, "LD_LIBRARY_PATH=", "CUDA_HOME=", "CUDA_PATH="}
	c := start(t, dir, hidden, "run", "p.yaml", "--device", "cuda")
	code := c.end(t)
	if code == 0 {
		t.Skip("the system's loader finds cuBLASLt here without being told where it is")
	}
	for _, said := range []string{"headinfer: cuBLASLt not found", filepath.Join(empty, "libcublasLt.so"), "set HEADINFER_CUBLAS"} {
		if code != exitUsage || !strings.Contains(c.errOut.String(), said) {
			t.Errorf("exit code %d, and %q was expected in %s", code, said, &c.errOut)
		}
	}
	c = start(t, dir, hidden, "run", "p.yaml", "--device", "auto", "--json")
	goesOn(t, c)
	if !strings.Contains(c.errOut.String(), "the GPU cannot be used; going on with the processor") {
		t.Errorf("the log does not say why the processor is used: %s", &c.errOut)
	}
}

// TestGPUFaultPinnedMemory has the system refuse memory for a cache on the
// host when one document has been answered: the program's address space is
// bounded then, since CUDA itself needs plenty of it to start.
func TestGPUFaultPinnedMemory(t *testing.T) {
	needGPU(t)
	// Blocks of the cache are as large as all before them: what is left beside the last
	// one that fits must be enough for the driver's own small needs.
	const allowance = 200 << 20
	dir := faults(t)
	// The documents come through a pipe, so that the second waits for the bound.
	path := filepath.Join(dir, "documents.jsonl")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	pipe, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pipe.Close() }()
	// A program that has ended reads no more.
	if err := pipe.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	r := random(t)
	send := func(id string, tokens int) {
		if _, err := pipe.WriteString(document(t, id, textOf(r, tokens))); err != nil {
			t.Fatal(err)
		}
	}
	// Few threads, each with little room of its own, leave the bound to the cache.
	c := start(t, dir, []string{"MALLOC_ARENA_MAX=1", "GOMAXPROCS=2"}, "run", "p.yaml", "--device", "cuda",
		"--set", "documents.jsonl.mode=append", "--set", "documents.chunked-prefill.chunk=4096",
		"--set", "heads.attention.span=4096") // device memory takes address space, too
	send("1", 5000)
	answers := filepath.Join(dir, "out/answers.jsonl")
	c.await(t, "the first answer", func() bool {
		data, err := os.ReadFile(answers)
		return err == nil && len(data) > 0
	})
	bound := uint64(mapped(t, c.Process.Pid)) + allowance
	if err := unix.Prlimit(c.Process.Pid, unix.RLIMIT_AS, &unix.Rlimit{Cur: bound, Max: bound}, nil); err != nil {
		t.Fatal(err)
	}
	send("2", 600000) // 2.3 GiB in bf16
	refusal(t, c, exitFailed, `^headinfer: stage "chunked-prefill": .*KV cache of \d+ tokens, layer \d+ of \d+: .*(mapping|pinning) \d+ bytes of host memory: .*look at`)
	if got := readAnswers(t, answers); len(got) != 1 || got[0].ID != "1" {
		t.Errorf("the finished answers are %+v", got)
	}
}

var mappedLine = regexp.MustCompile(`(?m)^VmSize:\s+(\d+) kB$`)

// mapped returns a process's address space in bytes.
func mapped(t *testing.T, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	m := mappedLine.FindSubmatch(status)
	if m == nil {
		t.Fatalf("no VmSize in %s", status)
	}
	kib, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

// TestGPUFaultPinnedTwice pins the same memory again.
func TestGPUFaultPinnedTwice(t *testing.T) {
	needGPU(t)
	c, err := driver.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	pages, err := unix.Mmap(-1, 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Munmap(pages); err != nil {
			t.Error(err)
		}
	}()
	if err := c.HostRegister(pages); err != nil {
		t.Fatal(err)
	}
	if err := c.HostRegister(pages); err == nil || !strings.Contains(err.Error(), "pinning 1048576 bytes of host memory") || !strings.Contains(err.Error(), "part of it is pinned already") {
		t.Errorf("pinning again gave %v", err)
	}
	if err := c.HostUnregister(pages); err != nil {
		t.Error(err)
	}
}

// TestGPUFaultMemoryComesBack sees all of the GPU's memory free again after a
// run that was interrupted among its copies, and after one that was killed.
func TestGPUFaultMemoryComesBack(t *testing.T) {
	needGPU(t)
	dev := beside(t)
	before := dev.InUse()
	interruptWhileCopying(t)
	free(t, dev, before, "an interrupted run")

	c := start(t, faults(t, textOf(random(t), 60000)), nil, "run", "p.yaml", "--device", "cuda", "--set", "documents.chunked-prefill.chunk=16")
	c.loaded(t)
	during := dev.InUse()
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if code := c.end(t); code != -1 {
		t.Errorf("a run that was killed ended by itself, with exit code %d: %s", code, &c.errOut)
	}
	if during <= before {
		t.Errorf("%d bytes were in use before a run and %d during it", before, during)
	}
	free(t, dev, before, "a killed run")
}

// free waits until no more of the device's memory is in use than before.
func free(t *testing.T, dev kernels.Device, before int64, what string) {
	t.Helper()
	const leeway = 8 << 20
	deadline := time.Now().Add(5 * time.Second)
	for now := dev.InUse(); now > before+leeway; now = dev.InUse() {
		if time.Now().After(deadline) {
			t.Errorf("%d bytes of the device's memory were in use before %s, and %d after it", before, what, now)
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}
