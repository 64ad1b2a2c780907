package main

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lockSamples takes the file for this process until it is closed; false if another has
// it. The byte that is locked lies past all samples, which others may go on reading.
func lockSamples(f *os.File) (bool, error) {
	at := &windows.Overlapped{OffsetHigh: 1 << 30}
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, at)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return false, nil
	}
	return err == nil, err
}
