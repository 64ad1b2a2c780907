// Package mapped shows a file as memory that is read from disk when it is
// touched and that the operating system may drop again, so that opening a
// checkpoint costs neither time nor memory in its size.
//
// A File owns its mapping until Close. Its bytes are read-only: a write to them
// is a fault that ends the process. The file must not be cut short by another
// process while it is mapped; the operating system answers a touch of what is
// gone with a fault too.
package mapped

import (
	"fmt"
	"math"
	"os"
	"sync"
)

// File is a file mapped into memory. Close may be called from any goroutine,
// once no other uses the bytes.
type File struct {
	path string
	once sync.Once
	err  error
	data []byte
}

// Open maps the regular file at path, following symbolic links. An empty file
// is a File of no bytes. Errors name the path.
func Open(path string) (*File, error) {
	file, info, err := openRegular(path, "mapped into memory")
	if err != nil {
		return nil, err
	}
	defer file.Close() // the mapping outlives the descriptor
	if info.Size() > math.MaxInt {
		return nil, fmt.Errorf("%s has %d bytes, more than this machine's address space; use a 64-bit build", path, info.Size())
	}
	f := &File{path: path}
	if info.Size() == 0 {
		return f, nil // no system maps nothing
	}
	if f.data, err = mapFile(file, int(info.Size())); err != nil {
		return nil, fmt.Errorf("%s: mapping %d bytes: %w", path, info.Size(), err)
	}
	return f, nil
}

// Bytes returns the file's contents: valid until Close, and nil after it.
func (f *File) Bytes() []byte { return f.data }

// Close gives the memory back. Every slice of Bytes is invalid afterwards, and
// touching one is a fault. A second Close does nothing and returns what the
// first did.
func (f *File) Close() error {
	f.once.Do(func() {
		data := f.data
		f.data = nil
		if data == nil {
			return
		}
		if err := unmap(data); err != nil {
			f.err = fmt.Errorf("%s: unmapping %d bytes: %w", f.path, len(data), err)
		}
	})
	return f.err
}

func kind(mode os.FileMode) string {
	switch {
	case mode.IsDir():
		return "directory"
	case mode&os.ModeNamedPipe != 0:
		return "pipe"
	case mode&os.ModeDevice != 0:
		return "device"
	case mode&os.ModeSocket != 0:
		return "socket"
	}
	return "special file"
}
