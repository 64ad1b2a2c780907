//go:build cuda

package stages

import (
	"os"
	"path/filepath"
	"testing"

	"headinfer/kernels"
)

// TestGPUArchitectures is TestArchitectures on a GPU, which computes in bf16: it
// may be twice as far from float64 as transformers is in bf16 (narrow.json, by
// tools/golden/architectures/narrow.py), since that is one way of rounding among
// others.
func TestGPUArchitectures(t *testing.T) {
	open := onGPU(t)
	dirs, err := os.ReadDir(architectureDir)
	if err != nil {
		t.Fatal(err)
	}
	var narrow map[string]float64
	readJSON(t, filepath.Join(architectureDir, "narrow.json"), &narrow)
	for _, dir := range dirs {
		if !dir.IsDir() {
			continue
		}
		t.Run(dir.Name(), func(t *testing.T) {
			path := architecture(t, dir.Name())
			var want golden
			readJSON(t, filepath.Join(architectureDir, dir.Name(), "expected.json"), &want)
			for method, sets := range map[string][]string{"standard": nil, "headinfer-1": nil, "tiled": {"heads.attention.span=16"}} {
				e := openMethodOn(t, open, method, path, sets...)
				bound := 1e-4
				if e.Device.Info().Activations == kernels.BF16 {
					bound = 2 * narrow[dir.Name()]
				}
				compareArchitecture(t, e, want, method, bound)
			}
		})
	}
}
