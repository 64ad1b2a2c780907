//go:build cuda && cgo && linux

package cuda

import (
	"fmt"
	"maps"
	"math"

	"headinfer/kernels"
	"headinfer/kernels/cuda/driver"
)

const (
	// fewRows is up to how many rows (query tokens × query heads of a KV head)
	// the keys are divided between blocks.
	fewRows = 64
	// maxSplits is into how many parts at most.
	maxSplits = 256
	// keysApart is the fewest keys worth a part of their own.
	keysApart = 256
	// maxPieces is how many runs of keys and values a kernel takes.
	maxPieces = 4
)

// Flags of the attention kernels.
const (
	flagCausal = 1
	flagMerge  = 2
	flagFloat  = 4
)

// tiling is how a prefill kernel divides its work: rows and threads a block,
// and bytes of shared memory.
type tiling struct {
	kernel              string
	rows, block, shared int
}

// The fast kernels by head dimension: for many rows on any device and, where
// there are better ones, on Hopper; decodeShared is the shared memory of those
// for few rows.
var (
	prefillAnywhere = map[int]tiling{
		64:  {"attention_prefill", 128, 128, 49152},
		96:  {"attention_prefill", 128, 128, 49152},
		128: {"attention_prefill", 128, 128, 65536},
		256: {"attention_prefill", 64, 128, 65536},
	}
	prefillHopper = map[int]tiling{
		64:  {"attention_hopper", 192, 512, 124000},
		128: {"attention_hopper", 128, 384, 164928},
	}
	decodeShared = map[int]int{64: 65536, 96: 98304, 128: 98304, 256: 98304}
)

// headKernel is the name of a fast kernel for a head dimension. Only a capped one
// knows of a window and of a cap on scores; the others are faster.
func headKernel(kernel string, headDim int, capped bool) string {
	name := fmt.Sprintf("%s_%s_hd%d", kernel, suffix, headDim)
	if capped {
		name += "_capped"
	}
	return name
}

// prefillKernels returns the kernels for many rows of a compiled target.
func prefillKernels(target string) map[int]tiling {
	kernels := maps.Clone(prefillAnywhere)
	if target == "sm_90a" {
		maps.Copy(kernels, prefillHopper)
	}
	return kernels
}

// Attention attends to a tile.
func (d *Device) Attention(on kernels.Stream, a kernels.AttentionArgs) {
	d.enqueue(on, "attention", func(s *stream) error {
		heads, keys, err := checkAttention(a)
		if err != nil || heads == 0 || a.Q.Rows == 0 {
			return err
		}
		if a.Window >= keys {
			a.Window = 0 // no query sees more keys than that
		}
		args, bounds := attentionWords(a), []uint64{integer(a.Window), real(float64(a.SoftCap))}
		rows := a.Q.Rows * a.Group
		prefill, fast := d.prefill[a.HeadDim]
		capped := a.Window > 0 || a.SoftCap > 0
		if fast && capped {
			args, prefill = append(args, bounds...), prefillAnywhere[a.HeadDim]
		}
		switch {
		case !fast:
			return d.launch(s, "attention_generic_"+suffix, driver.Dim{X: a.Q.Rows, Y: heads * a.Group, Z: 1}, 128, 0,
				append(append(args, bounds...), integer(a.HeadDim))...)
		case rows > fewRows:
			return d.launch(s, headKernel(prefill.kernel, a.HeadDim, capped), driver.Dim{X: ceil(rows, prefill.rows), Y: heads, Z: 1}, prefill.block, prefill.shared, args...)
		default:
			return d.attendByKeys(s, a, args, headKernel("attention_decode", a.HeadDim, capped), heads, keys)
		}
	})
}

// attendByKeys divides the keys into parts, attends to each apart, and joins.
func (d *Device) attendByKeys(s *stream, a kernels.AttentionArgs, args []uint64, name string, heads, keys int) error {
	rows := a.Q.Rows
	if a.Window > 0 {
		keys = min(keys, a.Window+rows-1)
	}
	blocks := heads * ceil(rows*a.Group, fewRows)
	splits := max(1, min(2*d.context.Properties().Multiprocessors/blocks, ceil(keys, keysApart), maxSplits))
	outs := splits * heads * a.Group * rows
	if err := d.atLeast(&d.work.partial, int64(outs)*int64(a.HeadDim+1)*4, "partial attention"); err != nil {
		return err
	}
	partialOut := word(d.work.partial.Data)
	partialLSE := partialOut + 4*uint64(outs)*uint64(a.HeadDim)
	err := d.launch(s, name,
		driver.Dim{X: splits, Y: heads, Z: ceil(rows*a.Group, fewRows)}, 128, decodeShared[a.HeadDim],
		append(args, partialOut, partialLSE, integer(splits))...)
	if err != nil {
		return err
	}
	out, lse := view(a.Out), view(a.LSE)
	return d.launch(s, "attention_combine_"+suffix, driver.Dim{X: rows, Y: heads * a.Group, Z: 1}, 256, 0,
		out[0], out[1], lse[0], lse[1], partialOut, partialLSE,
		integer(rows), integer(heads*a.Group), integer(splits), integer(a.HeadDim), attentionFlags(a))
}

func checkAttention(a kernels.AttentionArgs) (heads, keys int, err error) {
	if len(a.KV) == 0 || len(a.KV) > maxPieces {
		return 0, 0, fmt.Errorf("%d runs of keys; 1 to %d are possible", len(a.KV), maxPieces)
	}
	heads = a.KV[0].Heads
	for _, kv := range a.KV {
		if kv.Heads != heads || kv.HeadDim != a.HeadDim || kv.DType != activations {
			return 0, 0, fmt.Errorf("a run of keys has %d heads of %d in %s, and the first %d of %d in %s",
				kv.Heads, kv.HeadDim, kv.DType, heads, a.HeadDim, activations)
		}
		keys += kv.Tokens
	}
	if a.Window < 0 || (a.Window > 0 && !a.Causal) {
		return 0, 0, fmt.Errorf("a window of %d keys, causal: %t; it has to be positive and under a causal mask, or 0", a.Window, a.Causal)
	}
	if !(a.SoftCap >= 0) || math.IsInf(float64(a.SoftCap), 1) {
		return 0, 0, fmt.Errorf("scores capped at %g; a positive number is possible, or 0 for none", a.SoftCap)
	}
	if err := want("q", a.Q, activations, a.Q.Rows, heads*a.Group*a.HeadDim); err != nil {
		return 0, 0, err
	}
	if a.Out.DType != kernels.F32 {
		if err := want("out", a.Out, activations, a.Q.Rows, a.Q.Cols); err != nil {
			return 0, 0, err
		}
	}
	return heads, keys, want("lse", a.LSE, kernels.F32, heads*a.Group, a.Q.Rows)
}

func attentionFlags(a kernels.AttentionArgs) uint64 {
	flags := uint64(0)
	if a.Causal {
		flags |= flagCausal
	}
	if a.Merge {
		flags |= flagMerge
	}
	if a.Out.DType == kernels.F32 {
		flags |= flagFloat
	}
	return flags
}

// attentionWords are the arguments that all attention kernels begin with.
func attentionWords(a kernels.AttentionArgs) []uint64 {
	q, out, lse := view(a.Q), view(a.Out), view(a.LSE)
	args := []uint64{
		q[0], q[1], out[0], out[1], lse[0], lse[1], integer(a.Q.Rows), integer(a.Group),
		real(float64(a.Scale)), attentionFlags(a), integer(len(a.KV)),
	}
	return append(args, pieceWords(a.KV)...)
}

// pieceWords are up to maxPieces runs of keys and values as arguments.
func pieceWords(pieces []kernels.KV) []uint64 {
	var args []uint64
	for i := range maxPieces {
		var kv kernels.KV
		if i < len(pieces) {
			kv = pieces[i]
		}
		args = append(args, word(kv.K), word(kv.V), integer(kv.Tokens), integer(kv.HeadStride))
	}
	return args
}

// Merge folds out2, lse2 into out, lse.
func (d *Device) Merge(on kernels.Stream, out, lse, out2, lse2 kernels.Tensor, headDim int) {
	d.enqueue(on, "merge", func(s *stream) error {
		heads := out.Cols / headDim
		for _, err := range []error{
			want("out2", out2, out2.DType, out.Rows, out.Cols),
			want("lse", lse, kernels.F32, heads, out.Rows), want("lse2", lse2, kernels.F32, heads, out.Rows),
		} {
			if err != nil {
				return err
			}
		}
		flags := uint64(0)
		if out2.DType == kernels.F32 {
			flags |= 1
		}
		if out.DType == kernels.F32 {
			flags |= flagFloat
		}
		o, l, o2, l2 := view(out), view(lse), view(out2), view(lse2)
		return d.launch(s, "merge_"+suffix, driver.Dim{X: out.Rows, Y: heads, Z: 1}, 64, 0,
			o[0], o[1], l[0], l[1], o2[0], o2[1], l2[0], l2[1], integer(out.Rows), integer(heads), integer(headDim), flags)
	})
}
