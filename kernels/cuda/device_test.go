//go:build cuda && cgo && linux

package cuda

import (
	"testing"

	"headinfer/kernels"
	"headinfer/kernels/devicetest"
)

func TestDevice(t *testing.T) {
	if n, reason := Available(); n == 0 {
		t.Skip(reason)
	}
	devicetest.Run(t, func(t *testing.T, budget int64) kernels.Device {
		d, err := Open(budget, 0)
		if err != nil {
			t.Fatal(err)
		}
		return d
	})
}
