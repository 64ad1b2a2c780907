package gguf

import (
	"bytes"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"headinfer/kernels"
	"headinfer/model/tensor"
)

// FuzzParse checks that no bytes make Parse panic or break a promise, and that
// what it reads survives being written and read again.
func FuzzParse(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2)) // the corpus is the same in every run
	f.Add(write(f, everyValue(), everyEncoding(f, r)))
	f.Add(write(f, nil, nil))
	f.Add(write(f, []KV{{keyAlignment, uint32(8)}, {"s", []string{"a", "", "b"}}},
		[]tensor.Tensor{{Name: "w", DType: kernels.Q4_1, Shape: []int{2, 32}, Data: make([]byte, 40)}}))
	f.Add(raw(2, n(1), n(1), "k", 9, 5, n(1), 7, "w", 0, 0, n(0)))
	for _, name := range slices.Sorted(maps.Keys(hostileFiles())) {
		if data := hostileFiles()[name].data; len(data) < 1<<12 {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse("fuzz", data)
		if err != nil {
			var at *FileError
			if !errors.As(err, &at) || at.Offset < 0 || at.Offset > len(data) {
				t.Fatalf("error %v", err)
			}
			return
		}
		checkInvariants(t, file, data)
		first := rewrite(t, file)
		again, err := Parse("fuzz", first)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(rewrite(t, again), first) {
			t.Fatal("reading and writing again gives another file")
		}
	})
}

func rewrite(t *testing.T, f *File) []byte {
	t.Helper()
	var meta []KV
	for _, key := range f.Keys() {
		meta = append(meta, KV{key, f.values[key]})
	}
	return write(t, meta, f.Tensors())
}
