package gguf

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"strings"

	"headinfer/kernels"
)

const (
	magic            = "GGUF"
	defaultAlignment = 32
	maxDims          = 4 // of a tensor, by the format

	keyArchitecture = "general.architecture"
	keyAlignment    = "general.alignment"
)

// valueType is a metadata value's type as the file numbers it.
type valueType uint32

const (
	typeUint8 valueType = iota
	typeInt8
	typeUint16
	typeInt16
	typeUint32
	typeInt32
	typeFloat32
	typeBool
	typeString
	typeArray
	typeUint64
	typeInt64
	typeFloat64
)

// valueInfo is what a type's values are called and how they are read.
type valueInfo struct {
	name  string // in the format's description
	bytes int    // of one value; 0 where they vary
	zero  any    // of the Go type that holds one; nil for an array
	one   func(b []byte) any
	many  func(b []byte, n int) any
}

var valueTypes = [...]valueInfo{
	typeUint8:   fixed[uint8]("UINT8"),
	typeInt8:    fixed[int8]("INT8"),
	typeUint16:  fixed[uint16]("UINT16"),
	typeInt16:   fixed[int16]("INT16"),
	typeUint32:  fixed[uint32]("UINT32"),
	typeInt32:   fixed[int32]("INT32"),
	typeFloat32: fixed[float32]("FLOAT32"),
	typeBool:    fixed[bool]("BOOL"),
	typeString:  {name: "STRING", zero: ""},
	typeArray:   {name: "ARRAY"},
	typeUint64:  fixed[uint64]("UINT64"),
	typeInt64:   fixed[int64]("INT64"),
	typeFloat64: fixed[float64]("FLOAT64"),
}

// fixed describes a type whose values all take as many bytes as T's.
func fixed[T any](name string) valueInfo {
	var zero T
	many := func(b []byte, n int) []T {
		values := make([]T, n)
		// The caller took exactly n values' bytes and T is of fixed size, which
		// are the two things that Decode can fail on.
		_, _ = binary.Decode(b, binary.LittleEndian, values)
		return values
	}
	return valueInfo{
		name:  name,
		bytes: binary.Size(zero),
		zero:  zero,
		one:   func(b []byte) any { return many(b, 1)[0] },
		many:  func(b []byte, n int) any { return many(b, n) },
	}
}

func (t valueType) String() string {
	if int(t) < len(valueTypes) {
		return valueTypes[t].name
	}
	return fmt.Sprintf("type %d", uint32(t))
}

// typeOf returns the type that writes v, the type of its elements if that is an
// array, and whether the format can hold it.
func typeOf(v any) (t, element valueType, ok bool) {
	want := reflect.TypeOf(v)
	if want == nil {
		return 0, 0, false
	}
	for i, known := range valueTypes {
		if known.zero == nil {
			continue
		}
		switch scalar := reflect.TypeOf(known.zero); want {
		case scalar:
			return valueType(i), 0, true
		case reflect.SliceOf(scalar):
			return typeArray, valueType(i), true
		}
	}
	return 0, 0, false
}

// describe names a metadata value's type for a person.
func describe(v any) string {
	t, element, ok := typeOf(v)
	switch {
	case !ok:
		return fmt.Sprintf("%T", v)
	case t == typeArray:
		return fmt.Sprintf("ARRAY of %d %s", reflect.ValueOf(v).Len(), element)
	}
	return t.String()
}

// encodings maps a tensor's type as the file numbers it to ours.
var encodings = map[uint32]kernels.DType{
	0: kernels.F32, 1: kernels.F16, 2: kernels.Q4_0, 3: kernels.Q4_1,
	6: kernels.Q5_0, 7: kernels.Q5_1, 8: kernels.Q8_0,
	10: kernels.Q2K, 11: kernels.Q3K, 12: kernels.Q4K, 13: kernels.Q5K, 14: kernels.Q6K,
	20: kernels.IQ4NL, 30: kernels.BF16,
}

// encodingNumbers is the inverse of encodings.
var encodingNumbers = func() map[kernels.DType]uint32 {
	numbers := map[kernels.DType]uint32{}
	for number, d := range encodings {
		numbers[d] = number
	}
	return numbers
}()

// otherEncodings names those that are not read, so that an error can.
var otherEncodings = map[uint32]string{
	4: "Q4_2", 5: "Q4_3", 9: "Q8_1",
	15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 21: "IQ3_S",
	22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M",
	31: "Q4_0_4_4", 32: "Q4_0_4_8", 33: "Q4_0_8_8", 34: "TQ1_0", 35: "TQ2_0",
	39: "MXFP4", 40: "NVFP4", 41: "Q1_0",
}

// supported lists the encodings that are read, as the format writes them.
func supported() string {
	var names []string
	for _, d := range kernels.DTypes() {
		if _, ok := encodingNumbers[d]; ok {
			names = append(names, strings.ToUpper(d.String()))
		}
	}
	return strings.Join(names, ", ")
}
