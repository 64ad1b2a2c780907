package cpu_test

import (
	"testing"

	"headinfer/kernels"
	"headinfer/kernels/cpu"
	"headinfer/kernels/cpu/simd"
	"headinfer/kernels/devicetest"
)

func TestDevice(t *testing.T) {
	for _, level := range simd.Levels() {
		t.Run(level, func(t *testing.T) {
			use(t, level)
			devicetest.Run(t, func(t *testing.T, budget int64) kernels.Device { return cpu.Open(budget, 3) })
		})
	}
}

// use switches the kernels for the length of a test.
func use(t *testing.T, level string) {
	t.Helper()
	before := simd.Level()
	if err := simd.Use(level); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := simd.Use(before); err != nil {
			t.Error(err)
		}
	})
}
