package cuda

import (
	"math"
	"testing"
	"testing/fstest"
)

func TestReadLink(t *testing.T) {
	const card = "sys/bus/pci/devices/0000:1b:00.0/"
	files := func(speed, width, maxSpeed, maxWidth string) fstest.MapFS {
		return fstest.MapFS{
			card + "current_link_speed": {Data: []byte(speed + "\n")}, card + "current_link_width": {Data: []byte(width + "\n")},
			card + "max_link_speed": {Data: []byte(maxSpeed + "\n")}, card + "max_link_width": {Data: []byte(maxWidth + "\n")},
		}
	}
	for _, c := range []struct {
		system fstest.MapFS
		want   Link
		rate   float64 // GB/s
	}{
		{files("32.0 GT/s PCIe", "16", "32.0 GT/s PCIe", "16"), Link{5, 16, 5, 16}, 63.0},
		{files("16.0 GT/s PCIe", "8", "32.0 GT/s PCIe", "16"), Link{4, 8, 5, 16}, 15.75},
		{files("2.5 GT/s PCIe", "16", "16.0 GT/s PCIe", "16"), Link{1, 16, 4, 16}, 4},
		{files("8 GT/s", "16", "8 GT/s", "16"), Link{3, 16, 3, 16}, 15.75},
		{files("64.0 GT/s PCIe", "16", "64.0 GT/s PCIe", "16"), Link{6, 16, 6, 16}, 121},
		{files("Unknown", "255", "Unknown", "255"), Link{}, 0},
		{files("Unknown speed", "0", "", "x"), Link{}, 0},
		{fstest.MapFS{}, Link{}, 0},
	} {
		got := ReadLink(c.system, "0000:1b:00.0")
		if got != c.want || math.Abs(got.BytesPerSecond()/1e9-c.rate) > 0.02 {
			t.Errorf("read %+v at %g GB/s, want %+v at %g", got, got.BytesPerSecond()/1e9, c.want, c.rate)
		}
	}
	if got := ReadLink(files("32.0 GT/s", "16", "32.0 GT/s", "16"), "0000:1b:00.1"); got != (Link{}) {
		t.Errorf("of another card: %+v", got)
	}
}
