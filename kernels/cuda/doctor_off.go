//go:build !(cuda && cgo && linux)

package cuda

import "errors"

// Built says whether this build has GPU support.
const Built = false

// Describe returns an error: this build has no GPU support.
func Describe(int) (Facts, error) {
	_, reason := Available()
	return Facts{}, errors.New(reason)
}
