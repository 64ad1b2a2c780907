//go:build cuda && cgo && linux

package cuda

import (
	"fmt"
	"maps"
	"math"
	"unsafe"

	"headinfer/kernels"
	"headinfer/kernels/cuda/driver"
)

// maxPieces is how many runs of keys and values a kernel takes.
const maxPieces = 4

// Flags of the attention kernels.
const (
	flagCausal = 1
	flagMerge  = 2
	flagFloat  = 4
)

// tiling is how a prefill kernel divides its work: rows and threads a block,
// bytes of shared memory, and blocks that share the keys and values they copy.
type tiling struct {
	kernel                       string
	rows, block, shared, cluster int
}

// The fast kernels by head dimension: for many rows on any device and, where
// there are better ones, on Hopper.
var (
	prefillAnywhere = map[int]tiling{
		64:  {"attention_prefill", 128, 128, 49152, 1},
		96:  {"attention_prefill", 128, 128, 49152, 1},
		128: {"attention_prefill", 128, 128, 65536, 1},
		256: {"attention_prefill", 64, 128, 65536, 1},
	}
	prefillHopper = map[int]tiling{
		64:  {"attention_hopper", 192, 512, 124000, 2},
		128: {"attention_hopper", 128, 384, 164928, 2},
	}
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

// problem is a tile that has been checked.
type problem struct {
	kernels.AttentionArgs
	heads  int // KV heads
	keys   int // that any query sees
	splits int // into which attendByKeys divides them
}

// Attention attends to tiles: to those of few rows together, up to listProblems
// in one launch, and to each of the others by itself.
func (d *Device) Attention(on kernels.Stream, tiles []kernels.AttentionArgs) {
	d.enqueue(on, "attention", func(s *stream) error {
		var few []problem
		for i, a := range tiles {
			heads, keys, err := checkAttention(a)
			if err != nil {
				return fmt.Errorf("tile %d: %w", i, err)
			}
			if heads == 0 || a.Q.Rows == 0 {
				continue
			}
			if a.Window >= keys {
				a.Window = 0 // no query sees more keys than that
			}
			if a.Window > 0 {
				keys = min(keys, a.Window+a.Q.Rows-1)
			}
			p := problem{AttentionArgs: a, heads: heads, keys: keys}
			if _, fast := d.prefill[a.HeadDim]; fast && a.Q.Rows*a.Group <= fewRows {
				few = append(few, p)
			} else if err := d.attendByRows(s, p); err != nil {
				return err
			}
		}
		for len(few) > 0 {
			n := 1
			for n < min(len(few), listProblems) && few[n].HeadDim == few[0].HeadDim {
				n++
			}
			if err := d.attendByKeys(s, few[:n]); err != nil {
				return err
			}
			few = few[n:]
		}
		return nil
	})
}

// capped says whether a problem has what only the capped kernels know of.
func (p *problem) capped() bool { return p.Window > 0 || p.SoftCap > 0 }

// attendByRows divides the rows between blocks, which go through all keys.
func (d *Device) attendByRows(s *stream, p problem) error {
	args, bounds := attentionWords(p.AttentionArgs), boundWords(p.AttentionArgs)
	prefill, fast := d.prefill[p.HeadDim]
	if !fast {
		return d.launch(s, "attention_generic_"+suffix, driver.Dim{X: p.Q.Rows, Y: p.heads * p.Group, Z: 1}, 128, 0,
			append(append(args, bounds...), integer(p.HeadDim))...)
	}
	if p.capped() {
		args, prefill = append(args, bounds...), prefillAnywhere[p.HeadDim]
	}
	if prefill.cluster > 1 {
		maps, err := d.tensorMaps(p.KV)
		if err != nil {
			return err
		}
		args = append(maps, args...)
	}
	clusters := ceil(p.Q.Rows*p.Group, prefill.rows*prefill.cluster)
	return d.launch(s, headKernel(prefill.kernel, p.HeadDim, p.capped()),
		driver.Dim{X: clusters * prefill.cluster, Y: p.heads, Z: 1}, prefill.block, prefill.shared, args...)
}

// tensorMaps describes runs of keys, then of values, to the copies of the kernels
// for Hopper: half a tile of 128 tokens at a time, of its columns or of its tokens.
func (d *Device) tensorMaps(runs []kernels.KV) ([]uint64, error) {
	const words = len(driver.TensorMap{})
	args := make([]uint64, 2*maxPieces*words)
	for i, kv := range runs {
		if kv.Tokens == 0 {
			continue // never looked at
		}
		t := driver.Boxes{
			Size:  [3]int{kv.HeadDim, kv.Tokens, kv.Heads},
			Pitch: [2]int{2 * kv.HeadDim, 2 * kv.HeadStride},
			Box:   [3]int{64, 128, 1},
		}
		if kv.HeadDim == 64 {
			t.Box[1] = 64
		}
		for j, at := range []unsafe.Pointer{kv.K, kv.V} {
			t.At = driver.Pointer(word(at))
			m, err := d.context.TensorMap(t)
			if err != nil {
				return nil, err
			}
			copy(args[(j*maxPieces+i)*words:], m[:])
		}
	}
	return args, nil
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

// boundWords are the arguments that bound keys and scores.
func boundWords(a kernels.AttentionArgs) []uint64 {
	return []uint64{integer(a.Window), real(float64(a.SoftCap))}
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
