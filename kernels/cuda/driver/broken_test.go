//go:build cuda && cgo && linux

package driver

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Drivers that are there but of no use, made with the C compiler: each must
// give a reason, and the process must go on.
func TestBrokenDrivers(t *testing.T) {
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("needs a C compiler: ", err)
	}
	for name, c := range map[string]struct{ source, reason string }{
		"without cuInit": {
			"int nothing;",
			"the NVIDIA driver does not start: cuInit: an unknown error (500)",
		},
		"of another version": {
			`int cuInit(unsigned flags) { return 803; }
			 int cuGetErrorName(int code, const char **name) { *name = "MISMATCH"; return 0; }`,
			"cuInit: MISMATCH (803); the library does not fit the kernel's driver",
		},
		"without devices": {
			`int cuInit(unsigned flags) { return 0; }
			 int cuDeviceGetCount(int *count) { *count = 0; return 0; }`,
			"the NVIDIA driver is there but sees no device",
		},
		"without most functions": {
			"int cuInit(unsigned flags) { return 0; }",
			"counting devices: CUDA error 500",
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			source := filepath.Join(dir, "driver.c")
			try(t, os.WriteFile(source, []byte(c.source), 0o600))
			if out, err := exec.Command(cc, "-shared", "-fPIC", "-o", filepath.Join(dir, "libcuda.so.1"), source).CombinedOutput(); err != nil {
				t.Skipf("the C compiler makes no library: %v\n%s", err, out)
			}
			again := exec.Command(os.Args[0], "-test.run=^TestAvailable$", "-test.v")
			again.Env = append(os.Environ(), "LD_LIBRARY_PATH="+dir)
			out, err := again.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "--- SKIP") || !strings.Contains(string(out), c.reason) {
				t.Errorf("expected to be told %q, got %v\n%s", c.reason, err, out)
			}
		})
	}
}
