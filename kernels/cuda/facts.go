package cuda

import (
	"io/fs"
	"path"
	"strconv"
	"strings"

	"headinfer/kernels"
)

// Facts describe a GPU for a person who wants to know what a run will find.
type Facts struct {
	Driver          string `json:"driver"` // the NVIDIA driver's version, such as "580.65.06"; empty if unknown
	CUDA            string `json:"cuda"`   // what the driver supports, such as "13.0"
	Name            string `json:"name"`
	Capability      string `json:"compute_capability"` // such as "9.0"
	Multiprocessors int    `json:"multiprocessors"`
	CopyEngines     int    `json:"copy_engines"` // 2 or more copy both ways at once
	PCI             string `json:"pci"`          // the card's address, as ReadLink takes it
	FreeBytes       int64  `json:"free_bytes"`   // with nothing of ours on it but the context
	TotalBytes      int64  `json:"total_bytes"`
	Image           string `json:"kernel_image"` // which compiled kernels it gets
	ImageError      string `json:"kernel_image_error,omitempty"`
	BLAS            string `json:"cublaslt"` // the library's file
	BLASVersion     string `json:"cublaslt_version"`
	BLASError       string `json:"cublaslt_error,omitempty"`

	Nominal kernels.Nominal `json:"-"`
}

// Link is a card's connection to the host. Generations and widths (lanes) are
// 0 where the system does not say.
type Link struct {
	Generation    int `json:"generation"`
	Width         int `json:"width"`
	MaxGeneration int `json:"max_generation"` // of card and slot together
	MaxWidth      int `json:"max_width"`
}

// generations of PCI Express by their transfers a second and lane, and what a
// lane carries with them: the line code leaves 8 of 10, then 128 of 130 bits,
// and generation 6 carries 242 bytes in packets of 256.
var generations = map[string]struct {
	number int
	lane   float64 // bytes a second
}{
	"2.5": {1, 2.5e9 / 8 * 8 / 10}, "5.0": {2, 5e9 / 8 * 8 / 10}, "8.0": {3, 8e9 / 8 * 128 / 130},
	"16.0": {4, 16e9 / 8 * 128 / 130}, "32.0": {5, 32e9 / 8 * 128 / 130}, "64.0": {6, 64e9 / 8 * 242 / 256},
}

// ReadLink reads a card's link from the system's files; root is where "sys" is.
// A card at rest may lower its generation: read it while it is in use.
func ReadLink(root fs.FS, pci string) Link {
	read := func(name string) string {
		text, err := fs.ReadFile(root, path.Join("sys/bus/pci/devices", pci, name))
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(text))
	}
	// "32.0 GT/s PCIe", or "Unknown" in some virtual machines.
	generation := func(name string) int {
		speed, _, _ := strings.Cut(read(name), " ")
		if !strings.Contains(speed, ".") {
			speed += ".0" // older kernels: "8 GT/s"
		}
		return generations[speed].number
	}
	// 255 stands for not known.
	width := func(name string) int {
		if n, err := strconv.Atoi(read(name)); err == nil && n > 0 && n <= 32 {
			return n
		}
		return 0
	}
	return Link{
		Generation: generation("current_link_speed"), Width: width("current_link_width"),
		MaxGeneration: generation("max_link_speed"), MaxWidth: width("max_link_width"),
	}
}

// BytesPerSecond returns what the link carries each way, packets' headers
// included, or 0 if that is not known.
func (l Link) BytesPerSecond() float64 {
	for _, g := range generations {
		if g.number == l.Generation {
			return g.lane * float64(l.Width)
		}
	}
	return 0
}
