package model

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"headinfer/kernels"
	"headinfer/kernels/cpu"
	"headinfer/model/safetensors"
	"headinfer/model/tensor"
)

// TestLoadCutFile cuts a file after it was opened.
func TestLoadCutFile(t *testing.T) {
	page := make([]byte, 3*os.Getpagesize())
	whole := page[-uintptr(unsafe.Pointer(&page[0]))&uintptr(os.Getpagesize()-1):][:os.Getpagesize()]
	if err := unix.Madvise(whole, unix.MADV_POPULATE_READ); err != nil {
		t.Skipf("reading what is gone is a fault before Linux 5.14: %v", err)
	}
	const rows, cols = 1 << 10, 1 << 10
	var b bytes.Buffer
	if err := safetensors.Write(&b, []tensor.Tensor{{Name: "w", DType: kernels.F32, Shape: []int{rows, cols}, Data: make([]byte, 4*rows*cols)}}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "model.safetensors")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	set, err := safetensors.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := set.Close(); err != nil {
			t.Error(err)
		}
	}()
	if err := os.Truncate(path, 1<<20); err != nil {
		t.Fatal(err)
	}
	dev := cpu.Open(64<<20, 1)
	defer func() {
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	}()
	f := &stored{path: path, lookup: set.Tensor}
	spec := tensorSpec{"w", rows, cols}
	load := f.load(dev, dev.NewStream("test"), []tensorSpec{spec})
	defer load.end()
	if _, err := load.put(spec); err == nil || !strings.Contains(err.Error(), path+": tensor w: reading") {
		t.Errorf("a file that was cut: %v", err)
	}
}
