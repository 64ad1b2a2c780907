package mapped

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"headinfer/model/internal/hostile"
)

func TestReadFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for _, want := range [][]byte{{}, {1}, make([]byte, 10_000)} {
		hostile.Write(t, path, want)
		if got, err := ReadFile(path, 10_000); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes of %d: %v", len(got), len(want), err)
		}
	}
	if _, err := ReadFile(path, 9999); err == nil || !strings.Contains(err.Error(), path+" has 10000 bytes, and such a file has at most 9999") {
		t.Errorf("a file that is too large: %v", err)
	}
	if _, err := ReadFile(path+"no", 1); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	for _, odd := range hostile.Odds {
		t.Run(odd.Name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "odd")
			size := odd.Put(t, path)
			var err error
			if err = hostile.Bounded(t, size, func() error { _, err := ReadFile(path, 1<<20); return err }); err != nil && !strings.Contains(err.Error(), path) {
				t.Errorf("an error without the path: %v", err)
			}
			if regular := slices.Contains([]string{"nothing in it", "one byte", "zeros"}, odd.Name); (err == nil) != regular {
				t.Errorf("reading it: %v", err)
			}
		})
	}
}
