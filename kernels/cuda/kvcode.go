//go:build cuda && cgo && linux

package cuda

import (
	"fmt"
	"strings"

	"headinfer/kernels"
	"headinfer/kernels/cuda/driver"
)

const (
	// decodedBlocks is how many blocks of codes a block of threads decodes.
	decodedBlocks = 256
	// encodedBlocks is how many it encodes.
	encodedBlocks = 128
)

// QuantizeKV encodes keys and values. It needs no workspace, so any stream may
// have it.
func (d *Device) QuantizeKV(on kernels.Stream, dst kernels.KV, src []kernels.KV) {
	d.enqueue(on, "quantize", func(s *stream) error {
		if len(src) == 0 || len(src) > maxPieces {
			return fmt.Errorf("%d runs of keys to encode; 1 to %d are possible", len(src), maxPieces)
		}
		if err := kernels.CheckCoded(activations, dst, src...); err != nil {
			return err
		}
		args := append([]uint64{word(dst.K), word(dst.V), headBytes(dst), integer(dst.HeadDim), integer(len(src))}, pieceWords(src)...)
		return d.launch(s, codedKernel("quantise_kv", dst.DType),
			driver.Dim{X: dst.Tokens / dst.DType.Block(), Y: dst.Heads, Z: 2 * ceil(dst.HeadDim, encodedBlocks)}, 128, 0, args...)
	})
}

// DequantizeKV decodes keys and values. It needs no workspace, so any stream may
// have it.
func (d *Device) DequantizeKV(on kernels.Stream, dst, src kernels.KV) {
	d.enqueue(on, "dequantize", func(s *stream) error {
		if err := kernels.CheckCoded(activations, src, dst); err != nil {
			return err
		}
		records := src.Tokens / src.DType.Block()
		return d.launch(s, codedKernel("dequantise_kv", src.DType),
			driver.Dim{X: ceil(records*src.HeadDim, decodedBlocks), Y: src.Heads, Z: 2}, 128, 0,
			word(dst.K), word(dst.V), integer(dst.HeadStride), word(src.K), word(src.V), headBytes(src), integer(records), integer(src.HeadDim))
	})
}

// codedKernel names a kernel for one of kernels.KVCodes.
func codedKernel(name string, code kernels.DType) string {
	return name + "_" + suffix + "_" + strings.ReplaceAll(code.String(), "/", "_")
}

// headBytes are the bytes between two heads' first records.
func headBytes(coded kernels.KV) uint64 {
	return integer(coded.HeadStride / coded.DType.Block() * coded.DType.BlockBytes())
}
