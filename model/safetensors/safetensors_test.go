package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
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

// someTensors has every dtype in shapes of 0 to 4 dimensions, some of them empty.
func someTensors(r *rand.Rand, prefix string) []tensor.Tensor {
	var tensors []tensor.Tensor
	for i, d := range []kernels.DType{kernels.F32, kernels.BF16, kernels.F16, kernels.BF16, kernels.F32, kernels.F16} {
		shape := make([]int, i%5)
		elements := 1
		for j := range shape {
			shape[j] = 1 + r.IntN(4)
			if i == 3 && j == 1 {
				shape[j] = 0
			}
			elements *= shape[j]
		}
		data := make([]byte, elements*d.BlockBytes())
		for j := range data {
			data[j] = byte(r.Uint32())
		}
		tensors = append(tensors, tensor.Tensor{Name: fmt.Sprintf("%s<%d>é", prefix, i), DType: d, Shape: shape, Data: data})
	}
	return tensors
}

func write(t testing.TB, tensors []tensor.Tensor) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, tensors); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// raw puts a file together from its header and as many bytes of data.
func raw(header string, bytes int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, bytes)...)
}

func checkTensors(t *testing.T, s *Set, want []tensor.Tensor) {
	t.Helper()
	if got := len(s.Tensors()); got != len(want) {
		t.Errorf("%d tensors, want %d", got, len(want))
	}
	for _, w := range want {
		got, ok := s.Tensor(w.Name)
		if !ok || got.String() != w.String() || !bytes.Equal(got.Data, w.Data) || cap(got.Data) != len(got.Data) {
			t.Errorf("tensor %v, want %v", got, w)
		}
	}
	if _, ok := s.Tensor("none"); ok {
		t.Error("found a tensor that is not there")
	}
}

func TestWriteThenParse(t *testing.T) {
	r := newRand(t)
	want := someTensors(r, "model.")
	data := write(t, want)
	if start := lengthBytes + int(binary.LittleEndian.Uint64(data)); start%8 != 0 {
		t.Errorf("the data begins at byte %d", start)
	}
	s, err := Parse("x.safetensors", data)
	if err != nil {
		t.Fatal(err)
	}
	checkTensors(t, s, want)
	if s.Name() != "x.safetensors" || s.Close() != nil {
		t.Errorf("name %q", s.Name())
	}
	if s, err = Parse("none", write(t, nil)); err != nil || len(s.Tensors()) != 0 {
		t.Errorf("a file of no tensors: %v", err)
	}
}

func TestParseByHand(t *testing.T) {
	// In another order than the data, with notes, and keys of a later day.
	data := raw(` {"b":{"shape":[],"dtype":"F16","data_offsets":[12,14]},"__metadata__":{"format":"pt"},
		"a":{"dtype":"BF16","shape":[3,2],"new":{"x":[1,{"y":null}]},"data_offsets":[0,12]}}   `, 0)
	data = append(data, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14)
	s, err := Parse("x", data)
	if err != nil {
		t.Fatal(err)
	}
	checkTensors(t, s, []tensor.Tensor{
		{Name: "a", DType: kernels.BF16, Shape: []int{3, 2}, Data: []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}},
		{Name: "b", DType: kernels.F16, Data: []byte{13, 14}},
	})
	if all := s.Tensors(); all[0].Name != "a" {
		t.Errorf("the first tensor is %v, want that whose bytes are first", all[0])
	}
}

func TestRefused(t *testing.T) {
	one := func(fields string, bytes int) []byte { return raw(`{"w":{`+fields+`}}`, bytes) }
	many := strings.Repeat("1,", maxDims) + "1"
	long := strings.Repeat("n", 4096)
	cases := []struct {
		name string
		data []byte
		kind error
		want string
	}{
		{"empty", nil, ErrDamaged, "x: at byte 0 (header's length): 0 bytes"},
		{"short", make([]byte, 7), ErrDamaged, "7 bytes, and the header's length alone takes 8"},
		{"lfs", []byte("version https://git-lfs.github.com/spec/v1\noid"), ErrUnsupported, "git lfs pull"},
		{"header", binary.LittleEndian.AppendUint64(nil, 5), ErrDamaged, "a header of 5 bytes passes the end of the file (8 bytes)"},
		{"huge header", binary.LittleEndian.AppendUint64(nil, math.MaxUint64), ErrDamaged, "a header of 18446744073709551615 bytes, and the format allows 100000000"},
		{"no JSON", raw("", 0), ErrDamaged, "ends too soon"},
		{"JSON", raw(`{"w":{]}`, 0), ErrDamaged, `(tensor "w"): the JSON is broken`},
		{"cut JSON", raw(`{"w":{"dtype":"F3`, 0), ErrDamaged, "ends too soon"},
		{"array", raw(`[]`, 0), ErrDamaged, `found "[" where "{" belongs`},
		{"text", raw("{\"\xff\":{}}", 0), ErrDamaged, "UTF-8"},
		{"more", raw(`{} {}`, 0), ErrDamaged, `found "{" after the end`},
		{"garbage", raw(`{} ~`, 0), ErrDamaged, "the JSON is broken"},
		{"name twice", raw(`{"w":{"dtype":"F16","shape":[1],"data_offsets":[0,2]},"w":{"dtype":"F16","shape":[1],"data_offsets":[2,4]}}`, 4), ErrDamaged, `(header): the key "w" occurs twice`},
		{"key twice", one(`"dtype":"F16","dtype":"F32"`, 4), ErrDamaged, `the key "dtype" occurs twice`},
		{"metadata", raw(`{"__metadata__":{"a":1}}`, 0), ErrDamaged, "(__metadata__): found the number 1 where a string belongs"},
		{"entry", raw(`{"w":null}`, 0), ErrDamaged, `found null where "{" belongs`},
		{"dtype", one(`"dtype":"F8_E8M0","shape":[2],"data_offsets":[0,2]`, 2), ErrUnsupported, `(tensor "w"): dtype F8_E8M0 is not read, only F32, F16, BF16, F8_E4M3 and F8_E5M2`},
		{"dtype's type", one(`"dtype":16`, 2), ErrDamaged, "found the number 16"},
		{"dtype's case", one(`"DTYPE":"F16","shape":[1],"data_offsets":[0,2]`, 2), ErrDamaged, "no dtype"},
		{"no shape", one(`"dtype":"F16","data_offsets":[0,2]`, 2), ErrDamaged, "no shape"},
		{"negative", one(`"dtype":"F16","shape":[-1],"data_offsets":[0,2]`, 2), ErrDamaged, "found the number -1"},
		{"fraction", one(`"dtype":"F16","shape":[1.5],"data_offsets":[0,2]`, 2), ErrDamaged, "found the number 1.5"},
		{"dimensions", one(`"dtype":"F16","shape":[`+many+`],"data_offsets":[0,2]`, 2), ErrDamaged, "more than 8 numbers"},
		{"overflow", one(`"dtype":"F16","shape":[4294967296,4294967296],"data_offsets":[0,0]`, 0), ErrDamaged, "larger than this machine's address space"},
		{"hidden overflow", one(`"dtype":"F16","shape":[4294967296,4294967296,0],"data_offsets":[0,0]`, 0), ErrDamaged, "larger than this machine's address space"},
		{"bytes' overflow", one(`"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]`, 0), ErrDamaged, "larger than this machine's address space"},
		{"number", one(`"dtype":"F32","shape":[18446744073709551617],"data_offsets":[0,4]`, 4), ErrDamaged, "found the number 18446744073709551617"},
		{"one offset", one(`"dtype":"F16","shape":[1],"data_offsets":[2]`, 2), ErrDamaged, "data_offsets [2]"},
		{"three offsets", one(`"dtype":"F16","shape":[1],"data_offsets":[0,2,4]`, 2), ErrDamaged, "more than 2 numbers"},
		{"backwards", one(`"dtype":"F16","shape":[1],"data_offsets":[2,0]`, 2), ErrDamaged, "data_offsets [2 0]"},
		{"size", one(`"dtype":"F16","shape":[2,3],"data_offsets":[0,10]`, 10), ErrDamaged, "F16 [2, 3] takes 12 bytes, and data_offsets [0 10] hold 10"},
		{"past the end", one(`"dtype":"F16","shape":[1],"data_offsets":[0,2]`, 1), ErrDamaged, "pass the end of the data (1 bytes after a header of"},
		{"more data", one(`"dtype":"F16","shape":[1],"data_offsets":[0,2]`, 5), ErrDamaged, "3 bytes follow that are no tensor's"},
		{"gap", one(`"dtype":"F16","shape":[1],"data_offsets":[2,4]`, 4), ErrDamaged, "leave 2 bytes before them"},
		{"overlap", raw(`{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},"b":{"dtype":"F16","shape":[2],"data_offsets":[2,6]}}`, 6), ErrDamaged, `(tensor "b"): data_offsets [2 6] overlap the tensor "a", which ends at 4`},
		{"long name", raw(`{"`+long+`":3}`, 0), ErrDamaged, "nnn…"},
	}
	for _, c := range cases {
		_, err := Parse("x", c.data)
		if err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, c.kind) {
			t.Errorf("%s: error\n  %v\nwant one with\n  %s", c.name, err, c.want)
			continue
		}
		checkError(t, err, "x", len(c.data))
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

func TestCutAnywhere(t *testing.T) {
	r := newRand(t)
	data := write(t, someTensors(r, "model."))
	for end := range data {
		_, err := Parse("cut", data[:end:end])
		if err == nil {
			t.Fatalf("cut at %d of %d: no error", end, len(data))
		}
		checkError(t, err, "cut", end)
	}
}

func TestAnyByteChanged(t *testing.T) {
	r := newRand(t)
	data := write(t, someTensors(r, "model."))
	for at := range data {
		for _, b := range []byte{0, '"', '9', '}', 0xff, byte(r.Uint32())} {
			changed := bytes.Clone(data)
			changed[at] = b
			if s, err := Parse("x", changed); err != nil {
				checkError(t, err, "x", len(data))
			} else {
				checkInvariants(t, s, changed)
			}
		}
	}
}

// checkInvariants checks what the package promises of every file.
func checkInvariants(t *testing.T, s *Set, data []byte) {
	t.Helper()
	rest := data[lengthBytes+binary.LittleEndian.Uint64(data):]
	for _, w := range s.Tensors() {
		size, err := tensor.Size(w.DType, w.Shape)
		if w.Decode != nil {
			size /= 2
			w.Decode(make([]byte, 2*size), 0, w.Shape[0])
		}
		if err != nil || size != len(w.Data) || size != cap(w.Data) || size > len(rest) {
			t.Fatalf("%v has %d bytes, want %d (%v)", w, len(w.Data), size, err)
		}
		if size > 0 && &w.Data[0] != &rest[0] {
			t.Fatalf("%v does not begin where the one before ends", w)
		}
		rest = rest[size:]
		if got, ok := s.Tensor(w.Name); !ok || got.String() != w.String() {
			t.Fatalf("%v is not found by its name", w)
		}
	}
	if len(rest) != 0 {
		t.Fatalf("%d bytes are no tensor's", len(rest))
	}
}

// A number in a file must not become memory before it is checked.
func TestHugeHeaderTakesNoMemory(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const parses = 100
	for i := range parses {
		data := binary.LittleEndian.AppendUint64(nil, uint64(maxHeader-i))
		if _, err := Parse("x", data); !errors.Is(err, ErrDamaged) {
			t.Fatalf("error %v", err)
		}
	}
	runtime.ReadMemStats(&after)
	if each, most := (after.TotalAlloc-before.TotalAlloc)/parses, uint64(16<<10); each > most {
		t.Errorf("%d bytes a parse, want at most %d", each, most)
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
		tensors []tensor.Tensor
		want    string
	}{
		{"twice", []tensor.Tensor{ok, ok}, `tensor 1, name "a": the name is taken`},
		{"reserved", with(func(t *tensor.Tensor) { t.Name = keyMetadata }), "taken"},
		{"text", with(func(t *tensor.Tensor) { t.Name = "\xff" }), "UTF-8"},
		{"dtype", with(func(t *tensor.Tensor) { t.DType, t.Shape = kernels.Q8_0, []int{32} }), "dtype q8_0"},
		{"invalid", with(func(t *tensor.Tensor) { t.DType = kernels.Invalid }), "dtype invalid"},
		{"size", with(func(t *tensor.Tensor) { t.Shape = []int{3} }), "4 bytes of data, and f32 [3] takes 12"},
		{"dimensions", with(func(t *tensor.Tensor) { t.Shape = []int{1, 1, 1, 1, 1, 1, 1, 1, 1} }), "at most 8 dimensions"},
	}
	for _, c := range cases {
		var b bytes.Buffer
		if err := Write(&b, c.tensors); err == nil || !strings.Contains(err.Error(), c.want) || b.Len() > 0 {
			t.Errorf("%s: error %v, want one with %q; %d bytes written", c.name, err, c.want, b.Len())
		}
	}
	full := errors.New("the disk is full")
	for after := range 3 {
		if err := Write(&failing{after, full}, []tensor.Tensor{ok}); !errors.Is(err, full) {
			t.Errorf("a writer that fails after %d writes: %v", after, err)
		}
	}
}

type failing struct {
	after int
	err   error
}

func (f *failing) Write(b []byte) (int, error) {
	if f.after--; f.after < 0 {
		return 0, f.err
	}
	return len(b), nil
}

// FuzzParse checks that no bytes make Parse panic or break a promise, and that
// what it reads survives being written and read again.
func FuzzParse(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2)) // the corpus is the same in every run
	f.Add(write(f, someTensors(r, "a")))
	f.Add(write(f, nil))
	f.Add(raw(`{"w":{"dtype":"F8_E4M3","shape":[3,2],"data_offsets":[0,6]},"w_scale":{"dtype":"F32","shape":[3,1],"data_offsets":[6,18]}}`, 18))
	f.Add(raw(`{"__metadata__":{"format":"pt"},"w":{"dtype":"F16","shape":[2],"x":[null,{}],"data_offsets":[0,4]}} `, 4))
	headers := hostileHeaders()
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		f.Add(raw(headers[name][0][:min(len(headers[name][0]), 1<<12)], 8))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Parse("fuzz", data)
		if err != nil {
			var at *FileError
			if !errors.As(err, &at) || at.Offset < 0 || at.Offset > len(data) {
				t.Fatalf("error %v", err)
			}
			return
		}
		checkInvariants(t, s, data)
		if slices.ContainsFunc(s.Tensors(), func(w tensor.Tensor) bool { return w.Decode != nil }) {
			return // there is no writing of fp8
		}
		first := write(t, s.Tensors())
		again, err := Parse("fuzz", first)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(write(t, again.Tensors()), first) {
			t.Fatal("reading and writing again gives another file")
		}
	})
}
