package mapped

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

func mapFile(file *os.File, size int) ([]byte, error) {
	// No size here takes the file's own.
	section, err := windows.CreateFileMapping(windows.Handle(file.Fd()), nil, windows.PAGE_READONLY, 0, 0, nil)
	if err != nil {
		return nil, err
	}
	addr, err := windows.MapViewOfFile(section, windows.FILE_MAP_READ, 0, 0, uintptr(size))
	// The view holds the section open by itself.
	if closeErr := windows.CloseHandle(section); err != nil || closeErr != nil {
		if err == nil {
			err = windows.UnmapViewOfFile(addr)
		}
		return nil, errors.Join(err, closeErr)
	}
	// The address is of memory that Go's collector neither owns nor moves, so
	// reading it as a pointer through memory is sound.
	return unsafe.Slice(*(**byte)(unsafe.Pointer(&addr)), size), nil
}

func unmap(data []byte) error {
	return windows.UnmapViewOfFile(uintptr(unsafe.Pointer(unsafe.SliceData(data))))
}
