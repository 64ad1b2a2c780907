package mapped

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestOpen(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for _, size := range []int{0, 1, 4095, 4096, 4097, 1 << 20, 1 + r.IntN(1<<20)} {
		want := make([]byte, size)
		for i := range want {
			want[i] = byte(r.Uint32())
		}
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, want, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(f.Bytes(), want) {
			t.Errorf("%d bytes differ from the file's %d", len(f.Bytes()), size)
		}
		for range 2 {
			if err := f.Close(); err != nil || f.Bytes() != nil {
				t.Errorf("closing %d bytes: %v, and %d are left", size, err, len(f.Bytes()))
			}
		}
		// Nothing keeps the file open, so Windows too lets it go.
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
}

func TestOpenRefused(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), dir+" is a directory") {
		t.Errorf("a directory: %v", err)
	}
	none := filepath.Join(dir, "none")
	if _, err := Open(none); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), none) {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, err := os.Stat(os.DevNull); err == nil {
		if _, err := Open(os.DevNull); err == nil || !strings.Contains(err.Error(), "not a file that can be mapped") {
			t.Errorf("a device: %v", err)
		}
	}
}
