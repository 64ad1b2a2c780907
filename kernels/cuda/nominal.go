package cuda

import "headinfer/kernels"

// generation is what GPUs of a compute capability have in common.
type generation struct {
	peak float64 // multiplications and additions a second of a multiprocessor's tensor cores, in bf16 with sums in f32
	link int     // generation of PCI Express
}

// capabilities are by major and minor: A100; RTX 30; RTX 40; H100; B200; RTX 50. Of
// the cards of a generation it is one's figures, for orders of magnitude.
var capabilities = map[[2]int]generation{
	{8, 0}: {2.9e12, 4}, {8, 6}: {0.9e12, 4}, {8, 9}: {1.3e12, 4}, {9, 0}: {7.5e12, 5}, {10, 0}: {15e12, 5}, {12, 0}: {1.2e12, 5},
}

// Shares of what hardware has that an H100 was measured to give.
const (
	linearShare    = 0.78 // cuBLASLt, 767 of 989 TFLOP/s
	attentionShare = 0.62 // attention_hopper, 617
	linkShare      = 0.88 // 55.3 of 63 GB/s: packets have headers
	lanes          = 16
	blockRows      = 128 // most kernels' for prefill
)

// Nominal returns about what a GPU of some capability and multiprocessors does, on a
// link of which not everything need be known. It is not that of capabilities past
// those that are listed.
func Nominal(major, minor, multiprocessors int, link Link) kernels.Nominal {
	g, known := capabilities[[2]int{major, minor}]
	if !known {
		return kernels.Nominal{}
	}
	// At rest a card lowers its generation, so what counts is the most.
	best := Link{Generation: link.MaxGeneration, Width: link.MaxWidth}
	if best.BytesPerSecond() == 0 {
		best = Link{Generation: g.link, Width: lanes}
	}
	all := g.peak * float64(multiprocessors)
	return kernels.Nominal{
		CopyIn: linkShare * best.BytesPerSecond(), Linear: linearShare * all, Attention: attentionShare * all,
		Blocks: multiprocessors, BlockRows: blockRows,
	}
}
