//go:build !(cuda && cgo && linux)

package cuda

import (
	"errors"

	"headinfer/kernels"
)

// Available returns how many devices there are, and if none, why.
func Available() (devices int, reason string) {
	return 0, "this build has no GPU support; `make cuda` makes one that has"
}

// Open returns an error: this build has no GPU support.
func Open(int64, int) (kernels.Device, error) {
	_, reason := Available()
	return nil, errors.New(reason)
}
