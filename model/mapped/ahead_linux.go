package mapped

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// populate reads memory's pages from disk. Told to the system as a whole, this
// takes no fault a page, leaves the processor to others meanwhile, and is an error
// where touching would be a fault.
func populate(data []byte) error {
	whole := pages(data)
	if len(whole) == 0 {
		touch(data)
		return nil
	}
	err := unix.Madvise(whole, unix.MADV_POPULATE_READ)
	switch {
	case err == nil:
		// What is left of a page at either end.
		touch(data[:1])
		touch(data[len(data)-1:])
	case errors.Is(err, unix.EFAULT), errors.Is(err, unix.EHWPOISON):
		return fmt.Errorf("reading %d bytes of a mapped file: %w; the file has been cut short, or its disk cannot read it", len(data), err)
	default: // before Linux 5.14
		_ = unix.Madvise(whole, unix.MADV_WILLNEED) // a hint
		touch(data)
	}
	return nil
}
