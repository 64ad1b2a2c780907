package kernels

import (
	"fmt"

	"github.com/apache/arrow/go/v17/arrow/memory"
)

// AllocateHost takes bytes of an Arrow allocator, whose interface has no error
// but a panic: an error it panicked with is returned as it is, and anything else
// is told with what.
func AllocateHost(a memory.Allocator, bytes int, what string) (data []byte, err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case error:
			err = fmt.Errorf("%s: %s of host memory: %w", what, FormatBytes(int64(bytes)), r)
		default:
			err = fmt.Errorf("%s: %s of host memory: %v", what, FormatBytes(int64(bytes)), r)
		}
	}()
	return a.Allocate(bytes), nil
}
