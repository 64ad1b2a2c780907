package gguf

import (
	"fmt"
	"math/bits"
	"strings"
)

func (f *File) readMetadata(r *reader, count int) error {
	for i := range count {
		r.enter("metadata", i)
		at := r.at
		key, err := r.text("key")
		if err != nil {
			return err
		}
		if len(key) == 0 {
			return r.damaged(at, "the key is empty; the file is damaged")
		}
		r.name = string(key)
		if _, twice := f.values[r.name]; twice {
			return r.damaged(at, "the key occurs twice; the file is damaged, or its converter is wrong")
		}
		number, err := r.uint32("the type of a value")
		if err != nil {
			return err
		}
		at = r.at
		value, err := r.value(valueType(number))
		if err != nil {
			return err
		}
		if err := f.general(r, value); err != nil {
			return r.damaged(at, "%v; convert the model again", err)
		}
		f.keys = append(f.keys, r.name)
		f.values[r.name] = value
	}
	return nil
}

// general takes note of the metadata that the format itself gives a meaning.
func (f *File) general(r *reader, value any) error {
	switch r.name {
	case keyArchitecture:
		arch, ok := value.(string)
		if !ok {
			return fmt.Errorf("found %s where the format says STRING", describe(value))
		}
		f.arch = arch
	case keyAlignment:
		alignment, err := checkAlignment(value)
		if err != nil {
			return err
		}
		r.alignment = alignment
	}
	return nil
}

func checkAlignment(value any) (uint32, error) {
	n, ok := value.(uint32)
	if !ok {
		return 0, fmt.Errorf("found %s where the format says UINT32", describe(value))
	}
	if bits.OnesCount32(n) != 1 {
		return 0, fmt.Errorf("an alignment of %d bytes, and it must be a power of two", n)
	}
	return n, nil
}

// value reads a value of the given type into its Go type.
func (r *reader) value(t valueType) (any, error) {
	switch {
	case int(t) >= len(valueTypes):
		return nil, r.unknownType(t)
	case t == typeString:
		b, err := r.text("string")
		return string(b), err
	case t == typeArray:
		return r.array()
	}
	info := valueTypes[t]
	b, err := r.fixed(info, 1)
	if err != nil {
		return nil, err
	}
	return info.one(b), nil
}

func (r *reader) unknownType(t valueType) error {
	return r.damaged(r.at-4, "a value of %s, and the format has 0 to %d; the file is damaged, or of a newer format", t, len(valueTypes)-1)
}

// fixed takes n values of a type of fixed size.
func (r *reader) fixed(info valueInfo, n int) ([]byte, error) {
	at := r.at
	b, err := r.take(n*info.bytes, "a value of type "+info.name)
	if err != nil || info.name != valueTypes[typeBool].name {
		return b, err
	}
	for i, v := range b {
		if v > 1 {
			return nil, r.damaged(at+i, "a BOOL of %d, and it must be 0 or 1; the file is damaged", v)
		}
	}
	return b, nil
}

// array reads the type and number of an array's elements, and them.
func (r *reader) array() (any, error) {
	number, err := r.uint32("the type of an array's elements")
	if err != nil {
		return nil, err
	}
	t := valueType(number)
	switch {
	case int(t) >= len(valueTypes):
		return nil, r.unknownType(t)
	case t == typeArray:
		return nil, r.unsupported(r.at-4, "an array of arrays, which no model needs; convert the model again without this key")
	case t == typeString:
		return r.strings()
	}
	info := valueTypes[t]
	n, err := r.count(info.name+" elements", info.bytes)
	if err != nil {
		return nil, err
	}
	b, err := r.fixed(info, n)
	if err != nil {
		return nil, err
	}
	return info.many(b, n), nil
}

// strings reads an array of strings. A vocabulary has a hundred thousand, so
// they share one copy of their text: the first pass checks and measures, and the
// second cuts.
func (r *reader) strings() ([]string, error) {
	n, err := r.count("STRING elements", leastString)
	if err != nil {
		return nil, err
	}
	start, total := r.at, 0
	for r.element = range n {
		b, err := r.text("string")
		if err != nil {
			return nil, err
		}
		total += len(b)
	}
	var all strings.Builder
	all.Grow(total)
	values := make([]string, n)
	r.at = start
	for r.element = range n {
		b, err := r.text("string")
		if err != nil {
			return nil, err
		}
		from := all.Len()
		all.Write(b)
		values[r.element] = all.String()[from:]
	}
	r.element = -1
	return values, nil
}
