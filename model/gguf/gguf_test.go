package gguf

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"headinfer/kernels"
	"headinfer/model/tensor"
)

// newRand returns a source seeded by the clock, and logs the seed.
func newRand(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// everyValue has one value of each type that the format has.
func everyValue() []KV {
	return []KV{
		{keyArchitecture, "llama"},
		{"u8", uint8(200)}, {"i8", int8(-100)}, {"u16", uint16(60000)}, {"i16", int16(-30000)},
		{"u32", uint32(4e9)}, {"i32", int32(-2e9)}, {"u64", uint64(math.MaxUint64)}, {"i64", int64(math.MinInt64)},
		{"f32", float32(1.5)}, {"f64", -2.25}, {"yes", true}, {"no", false}, {"string", "a\x00\xffb"},
		{"u8s", []uint8{1, 255}}, {"i8s", []int8{-1, 7}}, {"u16s", []uint16{1, 65535}}, {"i16s", []int16{-3}},
		{"u32s", []uint32{7, 8, 9}}, {"i32s", []int32{-7, 8}}, {"u64s", []uint64{1 << 40}}, {"i64s", []int64{-5, 6}},
		{"f32s", []float32{0.5, -1}}, {"f64s", []float64{}}, {"bools", []bool{true, false, true}},
		{"strings", []string{"", "Ġthe", "x"}},
	}
}

// everyEncoding has a tensor of each encoding, with shapes of 0 to 4 dimensions.
func everyEncoding(t testing.TB, r *rand.Rand) []tensor.Tensor {
	var tensors []tensor.Tensor
	for i, d := range kernels.DTypes() {
		var shape []int
		for range i % (maxDims + 1) {
			shape = append(shape, 1+r.IntN(5))
		}
		if len(shape) > 0 {
			shape[len(shape)-1] *= d.Block()
		} else if d.Quantized() {
			shape = []int{d.Block()}
		}
		size, err := tensor.Size(d, shape)
		if err != nil {
			t.Fatal(err)
		}
		data := make([]byte, size)
		for j := range data {
			data[j] = byte(r.Uint32())
		}
		tensors = append(tensors, tensor.Tensor{Name: "blk." + d.String(), DType: d, Shape: shape, Data: data})
	}
	return tensors
}

func write(t testing.TB, meta []KV, tensors []tensor.Tensor) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, meta, tensors); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestWriteThenParse(t *testing.T) {
	r := newRand(t)
	for _, alignment := range []uint32{0, 1, 8, 32, 4096} {
		meta, tensors := everyValue(), everyEncoding(t, r)
		if alignment > 0 {
			meta = append(meta, KV{keyAlignment, alignment})
		}
		r.Shuffle(len(tensors), func(i, j int) { tensors[i], tensors[j] = tensors[j], tensors[i] })
		data := write(t, meta, tensors)
		f, err := Parse("x.gguf", data)
		if err != nil {
			t.Fatal(err)
		}
		if f.Architecture() != "llama" || f.Name() != "x.gguf" {
			t.Errorf("architecture %q, name %q", f.Architecture(), f.Name())
		}
		keys := f.Keys()
		for i, kv := range meta {
			if keys[i] != kv.Key || !reflect.DeepEqual(f.values[kv.Key], kv.Value) {
				t.Errorf("metadata %d: %q is %v, want %q: %v", i, keys[i], f.values[keys[i]], kv.Key, kv.Value)
			}
		}
		if len(keys) != len(meta) {
			t.Errorf("%d keys, want %d", len(keys), len(meta))
		}
		checkTensors(t, f, tensors)
		if again := write(t, meta, f.Tensors()); !bytes.Equal(again, data) {
			t.Error("writing what was read gives another file")
		}
	}
}

func checkTensors(t *testing.T, f *File, want []tensor.Tensor) {
	t.Helper()
	all := f.Tensors()
	if len(all) != len(want) {
		t.Fatalf("%d tensors, want %d", len(all), len(want))
	}
	for i, w := range want {
		byName, ok := f.Tensor(w.Name)
		for _, got := range []tensor.Tensor{all[i], byName} {
			if !ok || got.String() != w.String() || !bytes.Equal(got.Data, w.Data) || cap(got.Data) != len(got.Data) {
				t.Errorf("tensor %d is %v, want %v", i, got, w)
			}
		}
	}
	if _, ok := f.Tensor("none"); ok {
		t.Error("found a tensor that is not there")
	}
}

func TestOpen(t *testing.T) {
	r := newRand(t)
	path := filepath.Join(t.TempDir(), "x.gguf")
	want := everyEncoding(t, r)
	if err := os.WriteFile(path, write(t, everyValue(), want), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	checkTensors(t, f, want)
	for range 2 {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	// Metadata outlives the map.
	if s, err := f.Strings("strings"); err != nil || !reflect.DeepEqual(s, []string{"", "Ġthe", "x"}) {
		t.Errorf("after Close: %q, %v", s, err)
	}
	if _, err := Open(path + ".none"); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), path+".none") {
		t.Errorf("a file that is not there: %v", err)
	}
	if err := os.WriteFile(path, []byte("GGUF"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) {
		t.Errorf("a damaged file: %v", err)
	}
}

func TestGetters(t *testing.T) {
	f, err := Parse("x.gguf", write(t, append(everyValue(), KV{"big", []uint32{1, 1 << 31}}, KV{"low", []int64{math.MinInt32 - 1}}), nil))
	if err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		got  func(string) (any, error)
		name string
		want map[string]any // by key; every other key must be an ErrType
	}{
		{anyOf(f.Uint), "Uint", map[string]any{"u8": uint64(200), "u16": uint64(60000), "u32": uint64(4e9), "u64": uint64(math.MaxUint64)}},
		{anyOf(f.Int), "Int", map[string]any{"u8": int64(200), "u16": int64(60000), "u32": int64(4e9),
			"i8": int64(-100), "i16": int64(-30000), "i32": int64(-2e9), "i64": int64(math.MinInt64)}},
		{anyOf(f.Float), "Float", map[string]any{"f32": 1.5, "f64": -2.25}},
		{anyOf(f.Bool), "Bool", map[string]any{"yes": true, "no": false}},
		{anyOf(f.String), "String", map[string]any{keyArchitecture: "llama", "string": "a\x00\xffb"}},
		{anyOf(f.Strings), "Strings", map[string]any{"strings": []string{"", "Ġthe", "x"}}},
		{anyOf(f.Floats), "Floats", map[string]any{"f32s": []float32{0.5, -1}}},
		{anyOf(f.Ints), "Ints", map[string]any{"u8s": []int32{1, 255}, "i8s": []int32{-1, 7}, "u16s": []int32{1, 65535}, "i16s": []int32{-3},
			"u32s": []int32{7, 8, 9}, "i32s": []int32{-7, 8}, "i64s": []int32{-5, 6}}},
	}
	for _, c := range cases {
		for _, key := range f.Keys() {
			got, err := c.got(key)
			want, ok := c.want[key]
			switch {
			case ok && (err != nil || !reflect.DeepEqual(got, want)):
				t.Errorf("%s(%q) = %v, %v, want %v", c.name, key, got, err, want)
			case !ok && (!errors.Is(err, ErrType) || !strings.Contains(err.Error(), fmt.Sprintf("x.gguf: metadata of another type: key %q", key))):
				t.Errorf("%s(%q): error %v", c.name, key, err)
			}
		}
		if _, err := c.got("none"); !errors.Is(err, ErrNoKey) || !strings.Contains(err.Error(), `"none"`) {
			t.Errorf("%s of a key that is not there: %v", c.name, err)
		}
	}
	_, err = f.Uint("i32")
	if want := `key "i32" is INT32 -2000000000, and an integer that is not negative is wanted`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want one with %s", err, want)
	}
	_, err = f.Uint("strings")
	if want := `key "strings" is ARRAY of 3 STRING, and`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want one with %s", err, want)
	}
	if !f.Has("f64s") || f.Has("none") {
		t.Error("Has is wrong")
	}
}

func anyOf[T any](get func(string) (T, error)) func(string) (any, error) {
	return func(key string) (any, error) {
		v, err := get(key)
		return v, err
	}
}

func TestWriteRefuses(t *testing.T) {
	ok := tensor.Tensor{Name: "a", DType: kernels.F32, Shape: []int{1}, Data: make([]byte, 4)}
	with := func(change func(*tensor.Tensor)) []tensor.Tensor {
		c := ok
		change(&c)
		return []tensor.Tensor{c}
	}
	cases := []struct {
		name    string
		meta    []KV
		tensors []tensor.Tensor
		want    string
	}{
		{"type", []KV{{"k", 1}}, nil, `key "k": a int`},
		{"nil", []KV{{"k", nil}}, nil, `key "k"`},
		{"nested", []KV{{"k", [][]string{}}}, nil, `key "k"`},
		{"empty key", []KV{{"", "v"}}, nil, "not empty"},
		{"key twice", []KV{{"k", "v"}, {"k", "v"}}, nil, `metadata 1, key "k"`},
		{"alignment", []KV{{keyAlignment, uint32(24)}}, nil, "power of two"},
		{"alignment's type", []KV{{keyAlignment, uint64(32)}}, nil, "UINT32"},
		{"architecture", []KV{{keyArchitecture, uint32(1)}}, nil, "string"},
		{"empty name", nil, with(func(t *tensor.Tensor) { t.Name = "" }), "name is empty"},
		{"name twice", nil, []tensor.Tensor{ok, ok}, "twice"},
		{"dtype", nil, with(func(t *tensor.Tensor) { t.DType = kernels.Invalid }), "dtype invalid"},
		{"dimensions", nil, with(func(t *tensor.Tensor) { t.Shape = []int{1, 1, 1, 1, 1} }), "at most 4"},
		{"size", nil, with(func(t *tensor.Tensor) { t.Shape = []int{2} }), "takes 8"},
		{"nothing", nil, with(func(t *tensor.Tensor) { t.Shape, t.Data = []int{0}, nil }), "none"},
		{"block", nil, with(func(t *tensor.Tensor) { t.DType = kernels.Q8_0 }), "whole number"},
	}
	for _, c := range cases {
		var b bytes.Buffer
		err := Write(&b, c.meta, c.tensors)
		if err == nil || !strings.Contains(err.Error(), c.want) || b.Len() > 0 {
			t.Errorf("%s: error %v, want one with %q; %d bytes written", c.name, err, c.want, b.Len())
		}
	}
	full := errors.New("the disk is full")
	if err := Write(failing{full}, nil, []tensor.Tensor{ok}); !errors.Is(err, full) {
		t.Errorf("a failing writer: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
