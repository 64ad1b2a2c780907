//go:build unix

package mapped

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A pipe that nobody writes to must be an error, not a wait.
func TestOpenPipe(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Skipf("needs a file system with pipes: %v", err)
	}
	if _, err := Open(pipe); err == nil || !strings.Contains(err.Error(), pipe+" is a pipe") {
		t.Errorf("a pipe: %v", err)
	}
}

func TestOpenLink(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
	if err := os.WriteFile(file, []byte("weights"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	f, err := Open(link)
	if err != nil {
		t.Fatal(err)
	}
	if string(f.Bytes()) != "weights" {
		t.Errorf("%q through a link", f.Bytes())
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}
