package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"headinfer/model/tensor"
)

// Write writes one safetensors file with the tensors in the order given. What
// Parse would refuse is an error, before anything is written.
func Write(w io.Writer, tensors []tensor.Tensor) error {
	header, err := marshal(tensors)
	if err != nil {
		return fmt.Errorf("writing a safetensors file: %w", err)
	}
	length := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	for _, part := range [][]byte{length, header} {
		if _, err := w.Write(part); err != nil {
			return fmt.Errorf("writing a safetensors file: %w", err)
		}
	}
	for _, t := range tensors {
		if _, err := w.Write(t.Data); err != nil {
			return fmt.Errorf("writing a safetensors file: tensor %q: %w", t.Name, err)
		}
	}
	return nil
}

// marshal makes the header, with spaces after it that bring the data to a
// multiple of 8 bytes.
func marshal(tensors []tensor.Tensor) ([]byte, error) {
	type item struct {
		DType   string `json:"dtype"`
		Shape   []int  `json:"shape"`
		Offsets [2]int `json:"data_offsets"`
	}
	items := map[string]item{}
	offset := 0
	for i, t := range tensors {
		fail := func(err error) ([]byte, error) { return nil, fmt.Errorf("tensor %d, name %q: %w", i, t.Name, err) }
		size, err := tensor.Size(t.DType, t.Shape)
		if err != nil {
			return fail(err)
		}
		_, twice := items[t.Name]
		name := strings.ToUpper(t.DType.String())
		switch {
		case twice || t.Name == keyMetadata:
			return fail(errors.New("the name is taken"))
		case !utf8.ValidString(t.Name):
			return fail(errors.New("the name is not valid UTF-8, which JSON needs"))
		case dtypes[name] != t.DType:
			return fail(fmt.Errorf("dtype %s, and the format has F32, F16 and BF16 here", t.DType))
		case size != len(t.Data):
			return fail(fmt.Errorf("%d bytes of data, and %s %s takes %d", len(t.Data), t.DType, tensor.FormatShape(t.Shape), size))
		case len(t.Shape) > maxDims:
			return fail(fmt.Errorf("shape %s, and at most %d dimensions are read", tensor.FormatShape(t.Shape), maxDims))
		}
		items[t.Name] = item{name, append([]int{}, t.Shape...), [2]int{offset, offset + size}}
		offset += size
	}
	header, err := json.Marshal(items)
	if err != nil {
		return nil, err
	}
	if len(header) > maxHeader-lengthBytes {
		return nil, fmt.Errorf("a header of %d bytes, and the format allows %d; write the tensors to several files", len(header), maxHeader)
	}
	return append(header, bytes.Repeat([]byte{' '}, -len(header)&(lengthBytes-1))...), nil
}
