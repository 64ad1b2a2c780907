package gguf

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"headinfer/kernels"
	"headinfer/model/tensor"
)

// raw puts a file together from its fields: numbers as they are, and strings
// with their length before them.
func raw(fields ...any) []byte {
	b := []byte(magic)
	for _, v := range fields {
		switch x := v.(type) {
		case string:
			b = binary.LittleEndian.AppendUint64(b, uint64(len(x)))
			b = append(b, x...)
		case []byte:
			b = append(b, x...)
		case int:
			b = binary.LittleEndian.AppendUint32(b, uint32(x))
		default:
			var err error
			if b, err = binary.Append(b, binary.LittleEndian, v); err != nil {
				panic(err) // a mistake in the test
			}
		}
	}
	return b
}

func n(count uint64) uint64 { return count }

func TestParseByHand(t *testing.T) {
	for _, version := range []int{2, 3} {
		data := raw(version, n(2), n(2),
			"general.architecture", 8, "gemma",
			"s", 9, 8, n(2), "ab", "c",
			// Innermost dimension first, and data in another order than the list.
			"w", 2, n(32), n(3), 3, n(32),
			"b", 1, n(2), 1, n(0),
		)
		data = append(data, make([]byte, -len(data)&31)...)
		data = append(data, 1, 2, 3, 4)
		data = append(data, make([]byte, 28)...)
		data = append(data, bytes.Repeat([]byte{9}, 60)...)
		f, err := Parse("x", data)
		if err != nil {
			t.Fatal(err)
		}
		s, err := f.Strings("s")
		if f.Architecture() != "gemma" || err != nil || !reflect.DeepEqual(s, []string{"ab", "c"}) {
			t.Errorf("version %d: architecture %q, s %q, %v", version, f.Architecture(), s, err)
		}
		checkTensors(t, f, []tensor.Tensor{
			{Name: "w", DType: kernels.Q4_1, Shape: []int{3, 32}, Data: bytes.Repeat([]byte{9}, 60)},
			{Name: "b", DType: kernels.F16, Shape: []int{2}, Data: []byte{1, 2, 3, 4}},
		})
	}
}

func TestRefused(t *testing.T) {
	const huge = uint64(1) << 60
	oneTensor := func(fields ...any) []byte {
		return append(raw(append([]any{3, n(1), n(0)}, fields...)...), make([]byte, 256)...)
	}
	oneValue := func(fields ...any) []byte { return raw(append([]any{3, n(0), n(1)}, fields...)...) }
	cases := []struct {
		name string
		data []byte
		kind error
		want string
	}{
		{"empty", nil, ErrDamaged, "x: at byte 0 (header): the mark GGUF passes the end of the file (0 bytes)"},
		{"magic", []byte("PK\x03\x04 and more"), ErrUnsupported, `found "PK\x03\x04" where a GGUF file has "GGUF"`},
		{"lfs", []byte("version https://git-lfs.github.com/spec/v1\noid"), ErrUnsupported, "git lfs pull"},
		{"version 1", raw(1, 0, 0), ErrUnsupported, "at byte 4 (header): GGUF version 1 is not read"},
		{"version 4", raw(4, n(0), n(0)), ErrUnsupported, "GGUF version 4 is not read"},
		{"version 0", raw(0, n(0), n(0)), ErrUnsupported, "GGUF version 0"},
		{"big-endian", raw([]byte{0, 0, 0, 3}, n(0), n(0)), ErrUnsupported, "big-endian GGUF file (version 3)"},
		{"tensors", raw(3, huge, n(0)), ErrDamaged, "at byte 8 (header): a list of 1152921504606846976 tensors of at least 25 bytes each passes the end of the file (24 bytes)"},
		{"metadata", raw(3, n(0), uint64(math.MaxUint64)), ErrDamaged, "at byte 16 (header): a list of 18446744073709551615 metadata entries"},
		{"key length", oneValue(huge, make([]byte, 64)), ErrDamaged, "at byte 24 (metadata 0): key of 1152921504606846976 bytes passes the end of the file (96 bytes); the file is cut or damaged"},
		{"empty key", oneValue("", 4, 1, 1), ErrDamaged, "key is empty"},
		{"key twice", raw(3, n(0), n(2), "k", 4, 1, "k", 4, 1), ErrDamaged, `(metadata 1, key "k"): the key occurs twice`},
		{"type", oneValue("k", 13, n(0)), ErrDamaged, `at byte 33 (metadata 0, key "k"): a value of type 13`},
		{"bool", oneValue("k", 7, []byte{2}, n(0)), ErrDamaged, "at byte 37 (metadata 0, key \"k\"): a BOOL of 2"},
		{"bools", oneValue("k", 9, 7, n(3), []byte{1, 0, 255}), ErrDamaged, "at byte 51 (metadata 0, key \"k\"): a BOOL of 255"},
		{"string", oneValue("k", 8, uint64(99), "short"), ErrDamaged, `(metadata 0, key "k"): string of 99 bytes passes the end of the file (58 bytes)`},
		{"element type", oneValue("k", 9, 77, n(1), n(1)), ErrDamaged, "type 77"},
		{"nested", oneValue("k", 9, 9, n(1), 4, n(1), 1), ErrUnsupported, "array of arrays"},
		{"elements", oneValue("k", 9, 5, huge), ErrDamaged, "1152921504606846976 INT32 elements of at least 4 bytes each"},
		{"overflow", oneValue("k", 9, 10, huge<<1), ErrDamaged, "2305843009213693952 UINT64 elements"},
		{"strings", oneValue("k", 9, 8, huge), ErrDamaged, "1152921504606846976 STRING elements"},
		{"element", oneValue("k", 9, 8, n(2), "ab", huge), ErrDamaged, `at byte 59 (metadata 0, key "k", element 1): string of`},
		{"alignment", oneValue(keyAlignment, 4, 48), ErrDamaged, "an alignment of 48 bytes"},
		{"no alignment", oneValue(keyAlignment, 4, 0), ErrDamaged, "an alignment of 0 bytes"},
		{"alignment's type", oneValue(keyAlignment, 10, n(32)), ErrDamaged, `key "general.alignment"): found UINT64`},
		{"architecture", oneValue(keyArchitecture, 4, 48), ErrDamaged, "found UINT32 where the format says STRING"},
		{"name", oneTensor("", 1, n(2), 0, n(0)), ErrDamaged, "(tensor 0): the name is empty"},
		{"dimensions", oneTensor("w", 5, n(1), n(1), n(1), n(1), n(1), 0, n(0)), ErrDamaged, `(tensor 0, name "w"): 5 dimensions`},
		{"dimension 0", oneTensor("w", 2, n(4), n(0), 0, n(0)), ErrDamaged, "dimension 1 is 0"},
		{"dimension", oneTensor("w", 1, huge<<3, 0, n(0)), ErrDamaged, "dimension 0 is 9223372036854775808"},
		{"shape", oneTensor("w", 2, n(1<<32), n(1<<32), 1, n(0)), ErrDamaged, "larger than this machine's address space"},
		{"row", oneTensor("w", 1, huge, 0, n(0)), ErrDamaged, "f32 [1152921504606846976], 4611686018427387904 bytes at"},
		{"row's bytes", oneTensor("w", 1, huge<<1, 0, n(0)), ErrDamaged, "larger than this machine's address space"},
		{"blocks", oneTensor("w", 2, n(33), n(2), 8, n(0)), ErrDamaged, "33 elements is not a whole number of q8_0 blocks"},
		{"scalar block", oneTensor("w", 0, 8, n(0)), ErrDamaged, "not a whole number"},
		{"super-block", oneTensor("w", 2, n(288), n(2), 12, n(0)), ErrDamaged, "288 elements is not a whole number of q4_k blocks of 256"},
		{"encoding", oneTensor("w", 1, n(256), 23, n(0)), ErrUnsupported, `(tensor 0, name "w"): encoding IQ4_XS (type 23) is not read, only F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL`},
		{"unknown encoding", oneTensor("w", 1, n(256), 99, n(0)), ErrUnsupported, "encoding type 99 is unknown"},
		{"misaligned", oneTensor("w", 1, n(1), 0, n(4)), ErrDamaged, "an offset of 4, and it must be a multiple of the file's alignment of 32"},
		{"offset", oneTensor("w", 1, n(1), 0, n(1<<20)), ErrDamaged, "f32 [1], 4 bytes at 64 + 1048576, passes the end"},
		{"offset overflows", oneTensor("w", 1, n(1), 0, -n(32)), ErrDamaged, "passes the end"},
		{"name twice", append(raw(3, n(2), n(0), "w", 1, n(1), 0, n(0), "w", 1, n(1), 0, n(32)), make([]byte, 99)...), ErrDamaged, "(tensor 1, name \"w\"): the name occurs twice"},
		{"overlap", append(raw(3, n(2), n(0), "a", 1, n(1), 0, n(32), "b", 1, n(9), 0, n(0)), make([]byte, 99)...), ErrDamaged, `(tensor 0, name "a"): the data begins inside that of tensor 1, "b"`},
		{"same place", append(raw(3, n(2), n(0), "a", 1, n(1), 0, n(0), "b", 1, n(1), 0, n(0)), make([]byte, 99)...), ErrDamaged, `(tensor 1, name "b"): the data begins inside that of tensor 0, "a"`},
	}
	for _, c := range cases {
		_, err := Parse("x", c.data)
		var at *FileError
		if err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, c.kind) || !errors.As(err, &at) {
			t.Errorf("%s: error\n  %v\nwant one with\n  %s", c.name, err, c.want)
		}
	}
}

// A number in a file must not become memory before it is checked.
func TestHugeNumbersTakeNoMemory(t *testing.T) {
	r := newRand(t)
	small := write(t, everyValue(), everyEncoding(t, r))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	parses := 0
	for _, huge := range []uint64{1 << 31, 1 << 60, math.MaxUint64} {
		for at := len(magic) + 4; at+8 <= len(small)-512; at++ {
			data := bytes.Clone(small)
			binary.LittleEndian.PutUint64(data[at:], huge)
			if f, err := Parse("x", data); err == nil {
				checkInvariants(t, f, data)
			}
			parses++
		}
	}
	runtime.ReadMemStats(&after)
	each := (after.TotalAlloc - before.TotalAlloc) / uint64(parses)
	if most := uint64(64 << 10); each > most {
		t.Errorf("%d bytes a parse of a file of %d, want at most %d", each, len(small), most)
	}
}

func TestCutAnywhere(t *testing.T) {
	r := newRand(t)
	data := write(t, everyValue(), everyEncoding(t, r))
	tensors := 0
	if f, err := Parse("x", data); err != nil {
		t.Fatal(err)
	} else {
		tensors = len(f.Tensors())
	}
	for end := range data {
		f, err := Parse("cut.gguf", data[:end:end])
		if err != nil {
			checkError(t, err, "cut.gguf", end)
			continue
		}
		// Only the padding after the last tensor may be missing.
		if len(f.Tensors()) != tensors || len(data)-end >= defaultAlignment {
			t.Errorf("cut at %d of %d: %d tensors and no error", end, len(data), len(f.Tensors()))
		}
	}
}

func TestAnyByteChanged(t *testing.T) {
	r := newRand(t)
	data := write(t, everyValue(), everyEncoding(t, r))
	for at := range data {
		for _, b := range []byte{0, 1, 0x7f, 0xff, byte(r.Uint32())} {
			changed := bytes.Clone(data)
			changed[at] = b
			if f, err := Parse("x", changed); err != nil {
				checkError(t, err, "x", len(data))
			} else {
				checkInvariants(t, f, changed)
			}
		}
	}
}

func checkError(t *testing.T, err error, name string, size int) {
	t.Helper()
	var at *FileError
	if !errors.As(err, &at) || at.File != name || at.Offset < 0 || at.Offset > size || at.Place == "" ||
		errors.Is(err, ErrDamaged) == errors.Is(err, ErrUnsupported) || len(err.Error()) > 1000 {
		t.Errorf("error %v (%#v)", err, at)
	}
}

// checkInvariants checks what the package promises of every File.
func checkInvariants(t *testing.T, f *File, data []byte) {
	t.Helper()
	type span struct{ from, to uintptr }
	start := uintptr(unsafe.Pointer(unsafe.SliceData(data)))
	spans := []span{{0, 0}}
	for _, w := range f.Tensors() {
		size, err := tensor.Size(w.DType, w.Shape)
		if err != nil || size != len(w.Data) || size != cap(w.Data) || size == 0 {
			t.Fatalf("%v has %d bytes, want %d (%v)", w, len(w.Data), size, err)
		}
		from := uintptr(unsafe.Pointer(&w.Data[0])) - start // wraps if it is before
		spans = append(spans, span{from, from + uintptr(size)})
		if got, ok := f.Tensor(w.Name); !ok || &got.Data[0] != &w.Data[0] {
			t.Fatalf("%v is not found by its name", w)
		}
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	for i, s := range spans[1:] {
		if s.from < spans[i].to || s.to > uintptr(len(data)) {
			t.Fatalf("a tensor at %v of %d bytes, after one at %v", s, len(data), spans[i])
		}
	}
	for _, key := range f.Keys() {
		if !f.Has(key) {
			t.Fatalf("key %q is listed and not there", key)
		}
	}
}
