package mapped

import (
	"errors"

	"golang.org/x/sys/unix"
)

// populates reports whether the system reads pages when it is told to.
func populates(data []byte) bool {
	return !errors.Is(unix.Madvise(data[:1<<20], unix.MADV_POPULATE_READ), unix.EINVAL)
}
