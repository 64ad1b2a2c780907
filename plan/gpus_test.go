package plan

import (
	"math"
	"testing"
)

func TestGPUByName(t *testing.T) {
	for name, want := range map[string]string{
		"4090": "RTX 4090", "rtx-4090": "RTX 4090", "NVIDIA GeForce RTX 4090": "RTX 4090", "rtx 3060": "RTX 3060 12GB", "RTX A6000": "RTX A6000", "a6000": "RTX A6000",
		"H100": "H100 SXM", "NVIDIA H100 80GB HBM3": "H100 SXM", "NVIDIA H100 PCIe": "H100 PCIe", "a100": "A100 80GB", "NVIDIA A100-SXM4-80GB": "A100 80GB",
		"NVIDIA A100-PCIE-40GB": "A100 40GB", "NVIDIA A100 80GB PCIe": "A100 80GB PCIe", "nvidia l40s": "L40S", "NVIDIA RTX 6000 Ada Generation": "RTX 6000 Ada", "h200": "H200",
	} {
		if g, ok := GPUByName(name); !ok || g.Name != want {
			t.Errorf("%q is %q, want %q", name, g.Name, want)
		}
	}
	for _, name := range []string{"", "rtx", "nvidia", "RTX 4091", "H100 XL"} {
		if g, ok := GPUByName(name); ok {
			t.Errorf("%q is %s", name, g.Name)
		}
	}
	seen := map[string]bool{}
	for _, g := range GPUs() {
		if found, ok := GPUByName(g.Name); !ok || found.Name != g.Name || seen[g.Name] {
			t.Errorf("%s finds %s", g.Name, found.Name)
		}
		seen[g.Name] = true
		r, sheet := g.Rates(), g.Sheet()
		if r.Linear <= r.Attention || r.Linear >= sheet.Linear || r.Read >= sheet.Read || r.CopyIn < 20e9 || r.CopyIn > 60e9 || g.Memory < 8<<30 || g.Multiprocessors == 0 || g.Major == 0 {
			t.Errorf("%+v: %+v", g, r)
		}
	}
}

// TestMeasuredCard is about what an H100 was measured to do.
func TestMeasuredCard(t *testing.T) {
	g, _ := GPUByName("H100")
	r := g.Rates()
	for what, c := range map[string][2]float64{
		"linear": {r.Linear, tableRates.Linear}, "attention": {r.Attention, tableRates.Attention}, "read": {r.Read, tableRates.Read},
		"copy in": {r.CopyIn, tableRates.CopyIn}, "copy out": {r.CopyOut, tableRates.CopyOut},
	} {
		if math.Abs(c[0]/c[1]-1) > 0.02 {
			t.Errorf("%s: %g by the data sheet, %g measured", what, c[0], c[1])
		}
	}
}
