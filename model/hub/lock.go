package hub

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// acquire takes the lock of a file, which is made if need be, from every other
// holder in this process or another. It waits as long as ctx allows, and calls
// waiting first if it has to. The lock ends with release, or with the process.
func acquire(ctx context.Context, path string, waiting func()) (release func() error, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	for first := true; ; first = false {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o664)
		if err != nil {
			return nil, err
		}
		taken, err := tryLock(f)
		if err != nil {
			_ = f.Close()
			return nil, fmt.Errorf("%s: locking: %w; set HF_HUB_CACHE to a folder on a file system with locks", path, err)
		}
		// Another program may have removed the file between opening and locking,
		// and someone may hold its successor.
		if taken && current(f, path) {
			return f.Close, nil
		}
		_ = f.Close()
		if first && !taken {
			waiting()
		}
		if err := sleep(ctx, lockPause); err != nil {
			return nil, err
		}
	}
}

// current reports whether an open file is still what its path leads to.
func current(f *os.File, path string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(path)
	return err == nil && os.SameFile(a, b)
}
