package transfer

import (
	"fmt"
	"unsafe"

	"headinfer/kernels"
)

// tail is where a sequence keeps, on the device and in the activations' type,
// the tokens after the last whole record of its encoding: up to one less than a
// record has, of every layer. The zero tail is that of a sequence without
// records.
type tail struct {
	dev    kernels.Memory
	dtype  kernels.DType
	buffer kernels.Buffer
}

// KeepTail makes a sequence whose encoding has records keep what does not fill
// one in d, on dev.
func (s *Sequence) KeepTail(dev kernels.Memory, d kernels.DType) {
	s.tail = tail{dev: dev, dtype: d}
}

// TailBytes returns the device memory that a tail in d takes.
func (s Shape) TailBytes(d kernels.DType) int64 {
	plain := s
	plain.DType = d
	return plain.Bytes(s.DType.Block())
}

// fit takes the tail's memory.
func (t *tail) fit(shape Shape) (err error) {
	if t.dev == nil || t.buffer.Data != nil {
		return nil
	}
	t.buffer, err = t.dev.Alloc(shape.TailBytes(t.dtype), kernels.KVCache, fmt.Sprintf("the last %d tokens of the KV cache", shape.DType.Block()))
	return err
}

func (t *tail) release() {
	if t.dev != nil {
		t.dev.Free(t.buffer)
	}
	t.buffer = kernels.Buffer{}
}

// Tail returns the tokens of a layer that the blocks do not hold yet, in order;
// there are none in an encoding without records.
func (s *Sequence) Tail(layer int) kernels.KV {
	if s.tail.dev == nil {
		return kernels.KV{}
	}
	return s.TailPlace(layer).TokenRange(0, s.tokens-s.stored)
}

// TailPlace returns where a layer's tail lies, with room for a record.
func (s *Sequence) TailPlace(layer int) kernels.KV {
	side := s.shape.TailBytes(s.tail.dtype) / int64(2*s.shape.Full())
	k := unsafe.Add(s.tail.buffer.Data, int64(2*s.shape.full(layer))*side)
	plain := s.shape
	plain.DType = s.tail.dtype
	return plain.view(k, unsafe.Add(k, side), s.shape.KVHeads, s.shape.DType.Block())
}
