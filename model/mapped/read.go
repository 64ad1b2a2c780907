package mapped

import (
	"fmt"
	"io"
	"os"
)

// ReadFile reads a small file whole: a regular one of at most most bytes. Reading
// a pipe would wait for its writer, and a device may never end. Errors name the
// path; that of a file that is not there matches os.ErrNotExist.
func ReadFile(path string, most int64) ([]byte, error) {
	file, info, err := openRegular(path, "read whole")
	if err != nil {
		return nil, err
	}
	defer file.Close() // nothing was written
	if info.Size() > most {
		return nil, fmt.Errorf("%s has %d bytes, and such a file has at most %d; it is another file, or damaged", path, info.Size(), most)
	}
	data := make([]byte, info.Size())
	if _, err := io.ReadFull(file, data); err != nil {
		return nil, fmt.Errorf("%s: reading %d bytes: %w; the file has been cut short meanwhile", path, len(data), err)
	}
	return data, nil
}

// openRegular opens the regular file at path, following symbolic links; what is
// what it is opened for.
func openRegular(path, what string) (*os.File, os.FileInfo, error) {
	// A look before opening: opening a pipe would wait for its writer.
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s is a %s, not a file that can be %s; give the path of a file", path, kind(info.Mode()), what)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	if info, err = file.Stat(); err != nil {
		_ = file.Close() // it was only to be read
		return nil, nil, err
	}
	return file, info, nil
}
