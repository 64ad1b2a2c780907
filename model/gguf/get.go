package gguf

import (
	"fmt"
	"math"
)

// Each getter returns the value of a key. Where the file lacks the key the error
// is an ErrNoKey; where the value is of another type, or does not fit, it is an
// ErrType that says the key, what was found and what was wanted. Slices are the
// File's own where the types agree: do not change them.

// Has reports whether the file has the key, of whatever type.
func (f *File) Has(key string) bool {
	_, ok := f.values[key]
	return ok
}

// Uint returns an integer of any width that is not negative.
func (f *File) Uint(key string) (uint64, error) {
	v, err := f.get(key)
	if err != nil {
		return 0, err
	}
	if u, negative, ok := integer(v); ok && !negative {
		return u, nil
	}
	return 0, f.wrong(key, v, "an integer that is not negative")
}

// Int returns an integer of any width that fits in 64 bits with a sign.
func (f *File) Int(key string) (int64, error) {
	v, err := f.get(key)
	if err != nil {
		return 0, err
	}
	if u, negative, ok := integer(v); ok && (negative || u <= math.MaxInt64) {
		return int64(u), nil
	}
	return 0, f.wrong(key, v, "an integer of at most 64 bits with a sign")
}

// Float returns a FLOAT32 or FLOAT64.
func (f *File) Float(key string) (float64, error) {
	v, err := f.get(key)
	if err != nil {
		return 0, err
	}
	switch x := v.(type) {
	case float32:
		return float64(x), nil
	case float64:
		return x, nil
	}
	return 0, f.wrong(key, v, "FLOAT32 or FLOAT64")
}

// Bool returns a BOOL.
func (f *File) Bool(key string) (bool, error) { return exactly[bool](f, key, "BOOL") }

// String returns a STRING. It may be invalid UTF-8.
func (f *File) String(key string) (string, error) { return exactly[string](f, key, "STRING") }

// Strings returns an array of STRING, each of which may be invalid UTF-8.
func (f *File) Strings(key string) ([]string, error) {
	return exactly[[]string](f, key, "an ARRAY of STRING")
}

// Floats returns an array of FLOAT32.
func (f *File) Floats(key string) ([]float32, error) {
	return exactly[[]float32](f, key, "an ARRAY of FLOAT32")
}

// Ints returns an array of integers of any width that each fit in an INT32.
func (f *File) Ints(key string) ([]int32, error) {
	v, err := f.get(key)
	if err != nil {
		return nil, err
	}
	var ints []int32
	ok := false
	switch x := v.(type) {
	case []int32:
		return x, nil
	case []uint8:
		ints, ok = narrow(x)
	case []int8:
		ints, ok = narrow(x)
	case []uint16:
		ints, ok = narrow(x)
	case []int16:
		ints, ok = narrow(x)
	case []uint32:
		ints, ok = narrow(x)
	case []uint64:
		ints, ok = narrow(x)
	case []int64:
		ints, ok = narrow(x)
	}
	if !ok {
		return nil, f.wrong(key, v, "an ARRAY of integers that fit in an INT32")
	}
	return ints, nil
}

func (f *File) get(key string) (any, error) {
	v, ok := f.values[key]
	if !ok {
		return nil, fmt.Errorf("%s: %w: %q is not among the file's %d; convert the model again, or write the key with gguf-py's gguf_new_metadata",
			f.name, ErrNoKey, key, len(f.keys))
	}
	return v, nil
}

func (f *File) wrong(key string, v any, want string) error {
	found := describe(v)
	if _, _, isInteger := integer(v); isInteger {
		found += fmt.Sprintf(" %d", v)
	}
	return fmt.Errorf("%s: %w: key %q is %s, and %s is wanted; the file's converter and this program disagree about the key, so convert the model again",
		f.name, ErrType, key, found, want)
}

func exactly[T any](f *File, key, want string) (T, error) {
	v, err := f.get(key)
	if err != nil {
		var none T
		return none, err
	}
	x, ok := v.(T)
	if !ok {
		return x, f.wrong(key, v, want)
	}
	return x, nil
}

// integer returns an integer of any width in two's complement and whether it is
// negative, or false for a value of another type.
func integer(v any) (u uint64, negative, ok bool) {
	var s int64
	switch x := v.(type) {
	case uint8:
		return uint64(x), false, true
	case uint16:
		return uint64(x), false, true
	case uint32:
		return uint64(x), false, true
	case uint64:
		return x, false, true
	case int8:
		s = int64(x)
	case int16:
		s = int64(x)
	case int32:
		s = int64(x)
	case int64:
		s = x
	default:
		return 0, false, false
	}
	return uint64(s), s < 0, true
}

// narrow converts the elements, or reports that one does not fit.
func narrow[T uint8 | int8 | uint16 | int16 | uint32 | uint64 | int64](from []T) ([]int32, bool) {
	to := make([]int32, len(from))
	for i, v := range from {
		to[i] = int32(v)
		if T(to[i]) != v || (to[i] < 0) != (v < 0) {
			return nil, false
		}
	}
	return to, true
}
