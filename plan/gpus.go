package plan

import (
	"slices"
	"strings"
	"unicode"
)

// GPU is a card by its data sheet.
type GPU struct {
	Name      string  `json:"name"`
	Memory    int64   `json:"memory_bytes"`
	Peak      float64 `json:"peak_flop_per_second"`             // dense bf16, with sums in f32
	Bandwidth float64 `json:"memory_bandwidth_byte_per_second"` // of its own memory
	Link      int     `json:"pcie_generation"`                  // 16 lanes
	// Half says that its tensor cores add up in f32 at half of what they can, as
	// GeForce cards' do: what feeds them has twice the time.
	Half bool `json:"half_rate_f32_sums,omitempty"`

	Major           int `json:"compute_major"`
	Minor           int `json:"compute_minor"`
	Multiprocessors int `json:"multiprocessors"`

	aliases []string
}

const (
	tera = 1e12
	giga = 1e9
)

// gpus are by NVIDIA's data sheets. Where a card comes with PCI Express and with SXM,
// both are listed; a name that fits both is the first.
var gpus = []GPU{
	{Name: "RTX 3060 12GB", Memory: 12 << 30, Peak: 25.5 * tera, Bandwidth: 360 * giga, Link: 4, Half: true, Major: 8, Minor: 6, Multiprocessors: 28, aliases: []string{"3060"}},
	{Name: "RTX 3080 10GB", Memory: 10 << 30, Peak: 59.5 * tera, Bandwidth: 760 * giga, Link: 4, Half: true, Major: 8, Minor: 6, Multiprocessors: 68, aliases: []string{"3080"}},
	{Name: "RTX 3090", Memory: 24 << 30, Peak: 71 * tera, Bandwidth: 936 * giga, Link: 4, Half: true, Major: 8, Minor: 6, Multiprocessors: 82},
	{Name: "RTX 4080", Memory: 16 << 30, Peak: 97.5 * tera, Bandwidth: 717 * giga, Link: 4, Half: true, Major: 8, Minor: 9, Multiprocessors: 76},
	{Name: "RTX 4090", Memory: 24 << 30, Peak: 165 * tera, Bandwidth: 1008 * giga, Link: 4, Half: true, Major: 8, Minor: 9, Multiprocessors: 128},
	{Name: "RTX 5090", Memory: 32 << 30, Peak: 209.5 * tera, Bandwidth: 1792 * giga, Link: 5, Half: true, Major: 12, Minor: 0, Multiprocessors: 170},
	{Name: "RTX A6000", Memory: 48 << 30, Peak: 154.8 * tera, Bandwidth: 768 * giga, Link: 4, Major: 8, Minor: 6, Multiprocessors: 84, aliases: []string{"a6000"}},
	{Name: "RTX 6000 Ada", Memory: 48 << 30, Peak: 364 * tera, Bandwidth: 960 * giga, Link: 4, Major: 8, Minor: 9, Multiprocessors: 142, aliases: []string{"6000adageneration"}},
	{Name: "A10", Memory: 24 << 30, Peak: 125 * tera, Bandwidth: 600 * giga, Link: 4, Major: 8, Minor: 6, Multiprocessors: 72},
	{Name: "L4", Memory: 24 << 30, Peak: 121 * tera, Bandwidth: 300 * giga, Link: 4, Major: 8, Minor: 9, Multiprocessors: 58},
	{Name: "L40S", Memory: 48 << 30, Peak: 362 * tera, Bandwidth: 864 * giga, Link: 4, Major: 8, Minor: 9, Multiprocessors: 142},
	{Name: "A100 40GB", Memory: 40 << 30, Peak: 312 * tera, Bandwidth: 1555 * giga, Link: 4, Major: 8, Minor: 0, Multiprocessors: 108, aliases: []string{"a100sxm440gb", "a100pcie40gb"}},
	{Name: "A100 80GB", Memory: 80 << 30, Peak: 312 * tera, Bandwidth: 2039 * giga, Link: 4, Major: 8, Minor: 0, Multiprocessors: 108, aliases: []string{"a100", "a100sxm480gb"}},
	{Name: "A100 80GB PCIe", Memory: 80 << 30, Peak: 312 * tera, Bandwidth: 1935 * giga, Link: 4, Major: 8, Minor: 0, Multiprocessors: 108},
	{Name: "H100 SXM", Memory: 80 << 30, Peak: 989.4 * tera, Bandwidth: 3350 * giga, Link: 5, Major: 9, Minor: 0, Multiprocessors: 132, aliases: []string{"h100", "h10080gbhbm3", "h10080gb"}},
	{Name: "H100 PCIe", Memory: 80 << 30, Peak: 756 * tera, Bandwidth: 2039 * giga, Link: 5, Major: 9, Minor: 0, Multiprocessors: 114},
	{Name: "H200", Memory: 141 * giga, Peak: 989.4 * tera, Bandwidth: 4800 * giga, Link: 5, Major: 9, Minor: 0, Multiprocessors: 132},
	{Name: "B200", Memory: 180 * giga, Peak: 2250 * tera, Bandwidth: 8000 * giga, Link: 5, Major: 10, Minor: 0, Multiprocessors: 148},
}

// GPUs lists the cards that are known by name.
func GPUs() []GPU { return slices.Clone(gpus) }

// GPUByName finds a card: "4090", "RTX 4090" and "NVIDIA GeForce RTX 4090", as the
// driver has it, are the same.
func GPUByName(name string) (GPU, bool) {
	asked := plainName(name)
	for _, g := range gpus {
		if asked == plainName(g.Name) || slices.Contains(g.aliases, asked) {
			return g, true
		}
	}
	return GPU{}, false
}

// plainName is a name without what it may be written with or without.
func plainName(name string) string {
	plain := strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, name)
	for _, brand := range []string{"nvidia", "geforce", "tesla"} {
		plain = strings.TrimPrefix(plain, brand)
	}
	if rest, ok := strings.CutPrefix(plain, "rtx"); ok && !strings.HasPrefix(rest, "a") && rest != "" {
		return rest
	}
	return plain
}

// What of a data sheet's rates is reached. An H100 was measured to do so; see
// kernels/cuda.Nominal, which has the same for what a run finds.
const (
	linearShare    = 0.78 // cuBLASLt, 767 of 989 TFLOP/s
	attentionShare = 0.62 // our kernel for Hopper, 617
	readShare      = 0.93 // one row's product with a large weight, 3,116 of 3,350 GB/s
	// Where tensor cores run at half rate, nothing else holds them up: what the paper's
	// Table 6, on a 4090, comes to (PyTorch's kernels; ours were not measured there).
	halfLinearShare    = 0.90
	halfAttentionShare = 0.85
)

// links are bytes a second each way that pinned copies reach, by generation of PCI
// Express with 16 lanes: of 31.5e9 and 63e9.
var links = map[int]float64{4: 25 * giga, 5: 55 * giga}

// Rates returns about what a card does alone, each part by itself, as bench and doctor
// measure it.
func (g GPU) Rates() Rates {
	r := Rates{
		CopyIn: links[g.Link], CopyOut: links[g.Link], Read: readShare * g.Bandwidth,
		Linear: linearShare * g.Peak, Attention: attentionShare * g.Peak,
	}
	if g.Half {
		r.Linear, r.Attention = halfLinearShare*g.Peak, halfAttentionShare*g.Peak
	}
	return r
}

// Sheet returns the data sheet's own rates, which are the roofs of a roofline, and the
// link's.
func (g GPU) Sheet() Rates {
	return Rates{CopyIn: links[g.Link], CopyOut: links[g.Link], Read: g.Bandwidth, Linear: g.Peak, Attention: g.Peak}
}
