package gguf

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"reflect"

	"headinfer/model/tensor"
)

// KV is one metadata entry. Value is a uint8, int8, uint16, int16, uint32, int32,
// uint64, int64, float32, float64, bool or string, or a slice of one of these.
type KV struct {
	Key   string
	Value any
}

// Write writes a GGUF file of version 3 with the metadata and tensors in the
// order given. Tensors are padded to general.alignment if the metadata has it,
// as a uint32, and to 32 bytes otherwise. What Parse would refuse is an error,
// before anything is written.
func Write(w io.Writer, meta []KV, tensors []tensor.Tensor) error {
	alignment, err := check(meta, tensors)
	if err != nil {
		return fmt.Errorf("writing a GGUF file: %w", err)
	}
	out := &writer{w: bufio.NewWriter(w)}
	out.raw([]byte(magic))
	out.number(uint32(3))
	out.number(uint64(len(tensors)))
	out.number(uint64(len(meta)))
	for _, kv := range meta {
		out.text(kv.Key)
		out.value(kv.Value)
	}
	offset := uint64(0)
	for _, t := range tensors {
		out.text(t.Name)
		out.number(uint32(len(t.Shape)))
		for i := len(t.Shape) - 1; i >= 0; i-- {
			out.number(uint64(t.Shape[i]))
		}
		out.number(encodingNumbers[t.DType])
		out.number(offset)
		offset += roundUp(uint64(len(t.Data)), alignment)
	}
	if len(tensors) > 0 {
		out.pad(alignment)
	}
	for _, t := range tensors {
		out.raw(t.Data)
		out.pad(alignment) // after the last too: llama.cpp reads it
	}
	if err := errors.Join(out.err, out.w.Flush()); err != nil {
		return fmt.Errorf("writing a GGUF file: %w", err)
	}
	return nil
}

// check returns the alignment, or says what Parse would refuse.
func check(meta []KV, tensors []tensor.Tensor) (alignment uint64, err error) {
	alignment = defaultAlignment
	seen := map[string]bool{}
	for i, kv := range meta {
		if _, _, ok := typeOf(kv.Value); !ok || kv.Key == "" || seen[kv.Key] {
			return 0, fmt.Errorf("metadata %d, key %q: a %T; keys must be unique and not empty, and values of the types that gguf.KV lists", i, kv.Key, kv.Value)
		}
		seen[kv.Key] = true
		switch kv.Key {
		case keyAlignment:
			n, err := checkAlignment(kv.Value)
			if err != nil {
				return 0, fmt.Errorf("metadata %d, key %q: %w", i, kv.Key, err)
			}
			alignment = uint64(n)
		case keyArchitecture:
			if _, ok := kv.Value.(string); !ok {
				return 0, fmt.Errorf("metadata %d, key %q: a %T, and it must be a string", i, kv.Key, kv.Value)
			}
		}
	}
	clear(seen)
	for i, t := range tensors {
		if err := checkTensor(t); err != nil {
			return 0, fmt.Errorf("tensor %d, name %q: %w", i, t.Name, err)
		}
		if seen[t.Name] {
			return 0, fmt.Errorf("tensor %d, name %q: the name occurs twice", i, t.Name)
		}
		seen[t.Name] = true
	}
	return alignment, nil
}

func checkTensor(t tensor.Tensor) error {
	if t.Name == "" {
		return errors.New("the name is empty")
	}
	if _, ok := encodingNumbers[t.DType]; !ok {
		return fmt.Errorf("dtype %s, and the format has %s", t.DType, supported())
	}
	if len(t.Shape) > maxDims {
		return fmt.Errorf("shape %s, and the format has at most %d dimensions", tensor.FormatShape(t.Shape), maxDims)
	}
	size, err := tensor.Size(t.DType, t.Shape)
	if err != nil {
		return err
	}
	if size == 0 || size != len(t.Data) {
		return fmt.Errorf("%d bytes of data, and %s %s takes %d, which must not be none", len(t.Data), t.DType, tensor.FormatShape(t.Shape), size)
	}
	return nil
}

// writer counts what it writes, and keeps the first error.
type writer struct {
	w   *bufio.Writer
	at  uint64
	err error
}

func (o *writer) raw(b []byte) {
	n, err := o.w.Write(b)
	o.at += uint64(n)
	if o.err == nil {
		o.err = err
	}
}

// number writes a value, or a slice of values, of fixed size.
func (o *writer) number(v any) {
	b, err := binary.Append(nil, binary.LittleEndian, v)
	if o.err == nil {
		o.err = err
	}
	o.raw(b)
}

func (o *writer) text(s string) {
	o.number(uint64(len(s)))
	o.raw([]byte(s))
}

func (o *writer) value(v any) {
	t, element, _ := typeOf(v) // check has seen that it is one
	o.number(uint32(t))
	if t == typeArray {
		o.number(uint32(element))
		o.number(uint64(reflect.ValueOf(v).Len()))
	}
	switch x := v.(type) {
	case string:
		o.text(x)
	case []string:
		for _, s := range x {
			o.text(s)
		}
	default:
		o.number(v)
	}
}

func (o *writer) pad(alignment uint64) {
	const most = 4096
	for left := roundUp(o.at, alignment) - o.at; left > 0; left = roundUp(o.at, alignment) - o.at {
		before := o.at
		o.raw(make([]byte, min(left, most)))
		if o.at == before {
			return // the error is kept
		}
	}
}

// roundUp returns the least multiple of a power of two that is not below n.
func roundUp(n, powerOfTwo uint64) uint64 { return (n + powerOfTwo - 1) &^ (powerOfTwo - 1) }
