package devicetest

import (
	"encoding/binary"
	"fmt"
	"math"
	"testing"
	"unsafe"

	"headinfer/kernels"
)

// pieces takes keys and values, [heads, tokens, hd], cut at up to two random
// places. Each piece is a view of the middle of memory of its own.
func (b *bench) pieces(k, v []float32, heads, tokens, hd int) []kernels.KV {
	b.t.Helper()
	cuts := []int{0, tokens}
	for range b.rand.IntN(3) {
		if at := 1 + b.rand.IntN(tokens); at < tokens && at > cuts[len(cuts)-2] {
			cuts = append(cuts[:len(cuts)-1], at, tokens)
		}
	}
	var out []kernels.KV
	for i, lo := range cuts[:len(cuts)-1] {
		n := cuts[i+1] - lo
		kv := b.emptyKV(heads+1, n+2, hd).HeadRange(1, heads+1).TokenRange(1, n+1)
		b.write(kv.Keys(), ofHeads(k, heads, hd, tokens, lo, lo+n))
		b.write(kv.Values(), ofHeads(v, heads, hd, tokens, lo, lo+n))
		out = append(out, kv)
	}
	return out
}

// ofHeads returns tokens [lo, hi) of each head of x, [heads, tokens, hd].
func ofHeads(x []float32, heads, hd, tokens, lo, hi int) []float32 {
	var out []float32
	for h := range heads {
		out = append(out, x[(h*tokens+lo)*hd:(h*tokens+hi)*hd]...)
	}
	return out
}

const poisonByte = 0xa5

// codedKV takes keys and values of a code, poisoned, with room for two more
// records a head.
func (b *bench) codedKV(d kernels.DType, heads, tokens, hd int) kernels.KV {
	b.t.Helper()
	kv := kernels.KV{DType: d, Heads: heads, Tokens: tokens, HeadDim: hd, HeadStride: (tokens + 2*d.Block()) * hd}
	for _, p := range []*unsafe.Pointer{&kv.K, &kv.V} {
		m := kernels.Matrix(nil, d, heads, kv.HeadStride)
		buffer, err := b.dev.Alloc(m.Bytes(), kernels.KVCache, "coded keys or values")
		if err != nil {
			b.t.Fatal(err)
		}
		b.taken = append(b.taken, buffer)
		m.Data, *p = buffer.Data, buffer.Data
		host := make([]byte, m.Bytes())
		for i := range host {
			host[i] = poisonByte
		}
		b.dev.CopyIn(b.stream, m, kernels.Matrix(unsafe.Pointer(unsafe.SliceData(host)), d, m.Rows, m.Cols))
		if err := b.stream.Synchronize(); err != nil {
			b.t.Fatal(err)
		}
	}
	return kv
}

// raw returns the bytes of a contiguous matrix.
func (b *bench) raw(m kernels.Tensor) []byte {
	b.t.Helper()
	host := make([]byte, m.Bytes())
	b.dev.CopyOut(b.stream, kernels.Matrix(unsafe.Pointer(unsafe.SliceData(host)), m.DType, m.Rows, m.Cols), m)
	if err := b.stream.Synchronize(); err != nil {
		b.t.Fatal(err)
	}
	return host
}

// awkward returns [heads, tokens, hd] numbers that activations can hold. Each
// square of block tokens by block channels is of a kind of its own, and so are
// the blocks of keys and of values in it.
func (b *bench) awkward(heads, tokens, hd, block int) []float32 {
	x := b.normal(heads * tokens * hd)
	for at := 0; at < len(x); at += block {
		if token := at / hd % tokens; token%block != 0 {
			continue
		}
		kind, constant := b.rand.IntN(8), float32(b.rand.NormFloat64())
		for t := range block {
			for c := range block {
				v := &x[at+t*hd+c]
				switch kind {
				case 0: // channels far larger than their neighbours
					if c%11 == 3 {
						*v *= 64
					}
				case 1:
					*v = constant
				case 2:
					*v = -abs(*v) - 8
				case 3: // beyond f16's numbers
					*v *= 0x1p17
				case 4: // with a scale that is beyond them too
					*v *= 0x1p70
				case 5: // with a scale that f16 has in few digits
					*v *= 0x1p-16
				case 6: // or not at all
					*v *= 0x1p-40
				}
				if b.dev.Info().Activations == kernels.BF16 {
					*v = fromBF16(toBF16(*v))
				}
			}
		}
	}
	return x
}

func abs(x float32) float32 { return float32(math.Abs(float64(x))) }

// kvBlock is one block as it came from the device.
type kvBlock struct {
	scale, least float64
	most         float64 // the largest code
	codes        []byte
	finite       bool
}

func newBlock(bytes []byte, d kernels.DType) kvBlock {
	scale, least := binary.LittleEndian.Uint16(bytes), binary.LittleEndian.Uint16(bytes[2:])
	const exponent = 0x7c00
	k := kvBlock{
		scale: half(scale), least: half(least), most: 255, codes: bytes[4:],
		finite: scale&exponent < exponent && least&exponent < exponent,
	}
	if len(k.codes) < d.Block() {
		k.most = 15
	}
	return k
}

// number returns what code i stands for.
func (k kvBlock) number(i int) float64 {
	code := k.codes[i%len(k.codes)]
	if k.most == 15 {
		code = code >> (4 * (i / len(k.codes))) & 15
	}
	return k.scale*float64(code) + k.least
}

// wrong says in what a block differs from what QuantizeKV has to make of x.
func (k kvBlock) wrong(x []float32) string {
	if !k.finite {
		return "has a scale or a minimum that is not finite"
	}
	low, high := ends(x)
	const largest = 65504
	held, step := max(-largest, min(low, largest)), (high-low)/k.most
	if math.Abs(held-k.least) > roundingOf(kernels.F16, held) {
		return fmt.Sprintf("has minimum %g, of numbers from %g", k.least, low)
	}
	// The range may be counted from the minimum as it is held. If rounding has put
	// that above every number, no code but 0 is of use, whatever the scale.
	scale, fromHeld := k.scale, (high-k.least)/k.most
	if !near16(scale, min(step, largest)) && !near16(scale, min(fromHeld, largest)) && (scale != 0 || fromHeld > 0) {
		return fmt.Sprintf("has scale %g, of numbers from %g to %g", scale, low, high)
	}
	scale = max(0, scale)
	for i, v := range x {
		// A number beyond what the least or the largest code stands for is held as that.
		want := max(k.least, min(float64(v), k.least+k.most*scale))
		if got := k.number(i); !(math.Abs(got-want) <= 0.501*scale) {
			return fmt.Sprintf("holds %g as %g, in steps of %g from %g", v, got, scale, k.least)
		}
	}
	return ""
}

// near16 reports whether x is w rounded to f16, allowing for float32's rounding
// of w before.
func near16(x, w float64) bool {
	return math.Abs(x-w) <= 1.001*roundingOf(kernels.F16, w)+1e-6*math.Abs(w)
}

// limit returns how far from a number of x the block may be: half a step of the
// true range, and what rounding the minimum and the scale to f16 costs. It is
// infinite where they are beyond f16.
func (k kvBlock) limit(x []float32) float64 {
	low, high := ends(x)
	step := (high - low) / k.most
	if math.Abs(low) > 65504 || step > 65504 {
		return math.Inf(1)
	}
	return 0.501*step + 2*roundingOf(kernels.F16, low) + 1.01*k.most*roundingOf(kernels.F16, step)
}

func ends(x []float32) (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, v := range x {
		low, high = min(low, float64(v)), max(high, float64(v))
	}
	return low, high
}

// codedCase is a region of coded memory, and what went into it.
type codedCase struct {
	name           string
	d              kernels.DType
	heads, records int // of the region
	hd             int
	whole          kernels.KV // which has a record of poison or more around the region
	head, record   int        // where the region begins in it
}

func testKVCodes(t *testing.T, b *bench) {
	for _, d := range kernels.KVCodes() {
		for _, hd := range []int{64, 96, 128, 256} {
			if hd%d.Block() == 0 {
				b.oneKVCode(d, hd)
				b.drop()
			}
		}
	}
}

func (b *bench) oneKVCode(d kernels.DType, hd int) {
	b.t.Helper()
	c := codedCase{d: d, hd: hd, heads: 1 + b.rand.IntN(2), records: 1 + b.rand.IntN(3), head: b.rand.IntN(2), record: b.rand.IntN(2)}
	c.whole = b.codedKV(d, c.heads+1, (c.records+1)*d.Block(), hd)
	tokens := c.records * d.Block()
	region := c.whole.HeadRange(c.head, c.head+c.heads).TokenRange(c.record*d.Block(), c.record*d.Block()+tokens)
	k, v := b.awkward(c.heads, tokens, hd, d.Block()), b.awkward(c.heads, tokens, hd, d.Block())
	src := b.pieces(k, v, c.heads, tokens, hd)
	c.name = fmt.Sprintf("%s, %d heads of %d, %d tokens in %d pieces", d, c.heads, hd, tokens, len(src))
	b.dev.QuantizeKV(b.stream, region, src)
	keys := b.held(c, c.whole.K, k, true)
	values := b.held(c, c.whole.V, v, false)
	b.decodes(c, region, keys, values)

	h, r := b.rand.IntN(c.heads), b.rand.IntN(c.records)
	part := c
	part.name += ", a part"
	part.heads, part.records = c.heads-h, 1+b.rand.IntN(c.records-r)
	lo, hi := r*d.Block(), (r+part.records)*d.Block()
	b.decodes(part, region.HeadRange(h, c.heads).TokenRange(lo, hi), keys.part(c, h, lo, hi), values.part(c, h, lo, hi))
}

// decoded is what each number, [heads, tokens, head_dim], has to decode to: want
// to within float32's rounding, and to within limit of what was encoded.
type decoded struct {
	plain              []float32
	want, slack, limit []float64
}

// part returns tokens [lo, hi) of the heads from head on.
func (x decoded) part(c codedCase, head, lo, hi int) decoded {
	var out decoded
	for h := head; h < c.heads; h++ {
		from, to := (h*c.records*c.d.Block()+lo)*c.hd, (h*c.records*c.d.Block()+hi)*c.hd
		out.plain = append(out.plain, x.plain[from:to]...)
		out.want = append(out.want, x.want[from:to]...)
		out.slack = append(out.slack, x.slack[from:to]...)
		out.limit = append(out.limit, x.limit[from:to]...)
	}
	return out
}

// held decodes one side of a region by the layout that kernels.KV documents, and
// fails where a block is not what it should be, or bytes beside the region have
// been written.
func (b *bench) held(c codedCase, side unsafe.Pointer, plain []float32, keys bool) decoded {
	b.t.Helper()
	n, size := c.d.Block(), c.d.BlockBytes()
	all := b.raw(kernels.Matrix(side, c.d, c.whole.Heads, c.whole.HeadStride))
	x := decoded{plain: plain, want: make([]float64, len(plain)), slack: make([]float64, len(plain)), limit: make([]float64, len(plain))}
	numbers, at := make([]float32, n), make([]int, n)
	for i := range len(all) / size {
		bytes := all[i*size:][:size]
		h, inHead := i/(c.whole.HeadStride/n), i%(c.whole.HeadStride/n)
		h, r, j := h-c.head, inHead/c.hd-c.record, inHead%c.hd
		if h < 0 || h >= c.heads || r < 0 || r >= c.records {
			for _, v := range bytes {
				if v != poisonByte {
					b.t.Fatalf("%s: wrote to block %d of head %d, outside the destination", c.name, inHead, h+c.head)
				}
			}
			continue
		}
		block := newBlock(bytes, c.d)
		for i := range n {
			at[i] = (h*c.records+r)*n*c.hd + j*n + i
			if keys {
				at[i] = ((h*c.records+r)*n+i)*c.hd + j
			}
			numbers[i] = plain[at[i]]
		}
		if w := block.wrong(numbers); w != "" {
			b.t.Fatalf("%s, keys %v: head %d, record %d, block %d %s", c.name, keys, h, r, j, w)
		}
		limit := block.limit(numbers)
		for i, a := range at {
			x.want[a], x.limit[a] = block.number(i), limit
			x.slack[a] = 1e-6 * (math.Abs(block.least) + block.most*block.scale)
		}
	}
	return x
}

// decodes decodes src and compares.
func (b *bench) decodes(c codedCase, src kernels.KV, keys, values decoded) {
	b.t.Helper()
	memory := b.emptyKV(src.Heads+1, src.Tokens+2, src.HeadDim)
	dst := memory.HeadRange(1, src.Heads+1).TokenRange(2, src.Tokens+2)
	b.dev.DequantizeKV(b.stream, dst, src)
	for side, x := range map[unsafe.Pointer]decoded{memory.K: keys, memory.V: values} {
		got := b.read(kernels.Matrix(side, memory.DType, 1, memory.Heads*memory.HeadStride))
		for i, v := range got {
			h, at := i/memory.HeadStride-1, i%memory.HeadStride-2*src.HeadDim
			if h < 0 || at < 0 || at >= src.Tokens*src.HeadDim {
				if v == v {
					b.t.Fatalf("%s: wrote %g outside the destination", c.name, v)
				}
				continue
			}
			j := h*src.Tokens*src.HeadDim + at
			rounding := x.slack[j] + 1.01*roundingOf(memory.DType, x.want[j])
			if off := math.Abs(float64(v) - x.want[j]); !(off <= rounding) {
				b.t.Fatalf("%s: number %d of head %d decodes to %g, and its code is for %g", c.name, at, h, v, x.want[j])
			}
			if off := math.Abs(float64(v) - float64(x.plain[j])); !(off <= x.limit[j]+rounding) {
				b.t.Fatalf("%s: number %d of head %d is %g, off by %g, which may be %g", c.name, at, h, x.plain[j], off, x.limit[j]+rounding)
			}
		}
	}
}
