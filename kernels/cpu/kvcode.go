package cpu

import (
	"unsafe"

	"headinfer/kernels"
	"headinfer/kernels/cpu/simd"
)

// recordsAtATime is how many records of a head one worker decodes: some 10 µs.
const recordsAtATime = 2

// records returns the keys and values of a head's records [lo, hi).
func records(kv kernels.KV, head, lo, hi int) (keys, values []byte) {
	n := kv.DType.Block()
	part := kv.HeadRange(head, head+1).TokenRange(lo*n, hi*n)
	bytes := part.Keys().RowBytes()
	return unsafe.Slice((*byte)(part.K), bytes), unsafe.Slice((*byte)(part.V), bytes)
}

// QuantizeKV encodes keys and values, a record of a head at a time.
func (d *Device) QuantizeKV(s kernels.Stream, dst kernels.KV, src []kernels.KV) {
	src = append([]kernels.KV(nil), src...) // the caller may use its slice again
	compute(s, "quantize", func(d *Device) error {
		if err := kernels.CheckCoded(kernels.F32, dst, src...); err != nil {
			return err
		}
		n := dst.DType.Block()
		if err := d.scratch.each(n*dst.HeadDim, "a record's keys by channel"); err != nil {
			return err
		}
		perHead := dst.Tokens / n
		d.pool.run(dst.Heads*perHead, func(worker, i int) {
			head, r := i/perHead, i%perHead
			keys, values := records(dst, head, r, r+1)
			c := coder{dtype: dst.DType, headDim: dst.HeadDim, columns: d.scratch.workers[worker]}
			for _, piece := range cut(nil, src, head, r*n, (r+1)*n) {
				c.add(values, piece)
			}
			c.encode(keys, c.columns[:n*dst.HeadDim])
		})
		return nil
	})
}

// coder encodes a record.
type coder struct {
	dtype   kernels.DType
	headDim int
	tokens  int       // so far
	columns []float32 // [head_dim, a block's tokens] the keys
}

// add encodes a piece's values and turns its keys round.
func (c *coder) add(values []byte, piece simd.Piece) {
	block := c.dtype.Block()
	c.encode(values[c.tokens*c.headDim/block*c.dtype.BlockBytes():], piece.V)
	for at := 0; at < len(piece.K); at += c.headDim {
		for j, v := range piece.K[at:][:c.headDim] {
			c.columns[j*block+c.tokens] = v
		}
		c.tokens++
	}
}

func (c *coder) encode(dst []byte, x []float32) {
	if err := simd.Quantize(dst, x, c.dtype); err != nil {
		panic(err) // which the stream makes the device's failure: CheckCoded lets no such shape through
	}
}

// DequantizeKV decodes keys and values.
func (d *Device) DequantizeKV(s kernels.Stream, dst, src kernels.KV) {
	compute(s, "dequantize", func(d *Device) error {
		if err := kernels.CheckCoded(kernels.F32, src, dst); err != nil {
			return err
		}
		n := src.DType.Block()
		perHead := (src.Tokens/n + recordsAtATime - 1) / recordsAtATime
		d.pool.run(src.Heads*perHead, func(_, i int) {
			head, lo := i/perHead, i%perHead*recordsAtATime
			hi := min(lo+recordsAtATime, src.Tokens/n)
			out := headPiece(dst, head, lo*n, hi*n)
			keys, values := records(src, head, lo, hi)
			simd.DequantizeKeys(out.K, keys, src.DType, src.HeadDim)
			if err := simd.Dequantize(out.V, values, src.DType); err != nil {
				panic(err) // as in encode
			}
		})
		return nil
	})
}
