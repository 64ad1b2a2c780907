package model

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"unsafe"

	"headinfer/kernels"
	"headinfer/kernels/cpu/simd"
)

// noise is a source of random tensors in one encoding, norms excepted, which are
// ones in f32. Matrices of f32, f16 and bf16 are normal numbers, which the device
// makes. Those in blocks are blocks of random bits under scales that are all the
// same: the host makes a piece of them, and a matrix larger than that repeats it,
// so that some of its rows are equal. No number is ever encoded or decoded for it.
type noise struct {
	path  string // for errors
	seed  uint64
	dtype kernels.DType
}

// pieceBytes is about how much of a matrix in blocks is made before it repeats.
const pieceBytes = 4 << 20

func (n noise) check(spec tensorSpec) error {
	if _, err := n.dtype.RowBytes(spec.cols); err != nil && !spec.vector() {
		return fmt.Errorf("%s: matrix %s cannot be %s: %w; choose a dtype whose blocks divide that, such as bf16, or another shape",
			n.path, spec.name, n.dtype, err)
	}
	return nil
}

func (noise) close() error { return nil }

func (n noise) bytes(spec tensorSpec) int64 {
	_, bytes := n.held(spec)
	return bytes
}

func (n noise) held(spec tensorSpec) (kind string, bytes int64) {
	if spec.vector() {
		return kernels.F32.String(), 4 * int64(spec.cols)
	}
	return n.dtype.String(), int64(spec.rows) * int64(spec.cols/n.dtype.Block()*n.dtype.BlockBytes())
}

func (n noise) load(dev kernels.Device, s kernels.Stream, _ []tensorSpec) loader {
	return &drawing{noise: n, dev: dev, s: s}
}

// drawing makes tensors on a device, or on the host for it.
type drawing struct {
	noise
	dev   kernels.Device
	s     kernels.Stream
	piece []byte        // of blocks, in the device's kind of host memory
	free  kernels.Event // the piece's last copy has run
}

func (d *drawing) put(spec tensorSpec) (kernels.Tensor, error) {
	if spec.vector() {
		t, err := d.dev.NewWeight(spec.name, kernels.F32, 1, spec.cols)
		if err == nil {
			d.dev.Random(d.s, t, 0, 1, 0)
		}
		return t, err
	}
	t, err := d.dev.NewWeight(spec.name, d.dtype, spec.rows, spec.cols)
	switch {
	case err != nil:
	case d.dtype.Quantized():
		err = d.repeat(t, d.seedOf(spec.name))
	default:
		d.dev.Random(d.s, t, d.seedOf(spec.name), 0, deviation)
	}
	return t, err
}

// repeat fills a matrix with a piece of blocks, as often as it goes in.
func (d *drawing) repeat(w kernels.Tensor, seed uint64) error {
	row := w.Cols / w.DType.Block() * w.DType.BlockBytes()
	rows := min(max(pieceBytes/row, 1), w.Rows)
	if d.free == nil {
		d.free = d.dev.NewEvent()
	}
	if err := d.free.Wait(); err != nil {
		return err
	}
	if len(d.piece) < rows*row {
		d.release()
		var err error
		if d.piece, err = kernels.AllocateHost(d.dev.Host(), max(rows*row, pieceBytes), "random weights"); err != nil {
			return err
		}
	}
	randomBlocks(d.piece[:rows*row], w.DType, seed)
	for from := 0; from < w.Rows; from += rows {
		some := min(rows, w.Rows-from)
		d.dev.CopyIn(d.s, w.RowRange(from, from+some), kernels.Matrix(unsafe.Pointer(unsafe.SliceData(d.piece)), w.DType, some, w.Cols))
	}
	d.s.Record(d.free)
	return nil
}

func (d *drawing) release() {
	if d.piece != nil {
		d.dev.Host().Free(d.piece)
		d.piece = nil
	}
}

func (d *drawing) end() {
	_ = d.s.Synchronize() // a failure is the device's, and reported as such
	d.release()
}

// seedOf gives each tensor a seed of its own.
func (n noise) seedOf(name string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(binary.LittleEndian.AppendUint64(nil, n.seed)) // a hash takes all
	_, _ = h.Write([]byte(name))
	return h.Sum64()
}

// randomBlocks fills dst, whole blocks of d, with random bits and then gives every
// block the scales for which its elements have the deviation of random weights
// and, where d has minima, a mean of zero. Where it has none, the mean is half a
// step, or for IQ4_NL what its table's is.
func randomBlocks(dst []byte, d kernels.DType, seed uint64) {
	state := seed // of SplitMix64 (Steele, Lea & Flood 2014)
	next := func() uint64 {
		state += 0x9e3779b97f4a7c15
		x := state
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		return x ^ x>>31
	}
	words := len(dst) / 8
	for i := range words {
		binary.LittleEndian.PutUint64(dst[8*i:], next())
	}
	for i, rest := 8*words, next(); i < len(dst); i, rest = i+1, rest>>8 {
		dst[i] = byte(rest)
	}
	plain := plainScales(d)
	for ; len(dst) > 0; dst = dst[d.BlockBytes():] {
		for _, p := range plain {
			copy(dst[p.at:], p.bytes)
		}
	}
}

// fixed are bytes of a block that are the same in all.
type fixed struct {
	at    int
	bytes []byte
}

// plainScales returns the bytes of a block of d that are not values. Groups of a
// super-block all have a scale and a minimum of one, of which the super-block's are
// multiples.
func plainScales(d kernels.DType) []fixed {
	// Values that take levels at equal steps, all as often, have this deviation.
	steps := func(levels float64) float64 { return deviation / math.Sqrt((levels*levels-1)/12) }
	half := func(at int, v float64) fixed {
		return fixed{at, binary.LittleEndian.AppendUint16(nil, simd.FloatToHalf(float32(v)))}
	}
	same := func(at int, b byte, n int) fixed {
		f := fixed{at: at}
		for range n {
			f.bytes = append(f.bytes, b)
		}
		return f
	}
	// least is a scale, and the minimum that is half of all steps.
	least := func(at int, levels, sign float64) []fixed {
		return []fixed{half(at, steps(levels)), half(at+2, sign*steps(levels)*(levels-1)/2)}
	}
	// Six bits for each of four groups' scales and minima, then four bits.
	sixes := []fixed{same(4, 1, 8), same(12, 0x11, 4)}
	switch d {
	case kernels.Q8_0:
		return []fixed{half(0, steps(256))}
	case kernels.Q4_0:
		return []fixed{half(0, steps(16))}
	case kernels.Q4_1:
		return least(0, 16, -1)
	case kernels.Q5_0:
		return []fixed{half(0, steps(32))}
	case kernels.Q5_1:
		return least(0, 32, -1)
	case kernels.Q2K:
		return append(least(80, 4, 1), same(0, 0x11, 16))
	case kernels.Q3K: // scales of 33, less 32: low halves, then pairs of bits
		return []fixed{half(108, steps(8)), same(96, 0x11, 8), same(104, 0xaa, 4)}
	case kernels.Q4K:
		return append(least(0, 16, 1), sixes...)
	case kernels.Q5K:
		return append(least(0, 32, 1), sixes...)
	case kernels.Q6K:
		return []fixed{half(208, steps(64)), same(192, 1, 16)}
	case kernels.IQ4NL:
		const spread = 67.2 // the deviation of the table's values
		return []fixed{half(0, deviation/spread)}
	}
	return nil
}
