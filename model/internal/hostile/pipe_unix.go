//go:build unix

package hostile

import (
	"testing"

	"golang.org/x/sys/unix"
)

func pipe(t testing.TB, path string) int64 {
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Skipf("needs a file system with pipes: %v", err)
	}
	return 0
}
