package transfer

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"github.com/apache/arrow/go/v17/arrow/memory"

	"headinfer/kernels"
	"headinfer/kernels/cpu"
)

// BenchmarkSnapshots writes and loads a gigabyte, or HEADINFER_TEST_GIB of them, and
// prints it beside what the same threads do to the page cache's memory and to a plain
// file.
func BenchmarkSnapshots(b *testing.B) {
	shape := Shape{Layers: 16, KVHeads: 8, HeadDim: 128, DType: kernels.F32}
	tokens := 8192
	if s := os.Getenv("HEADINFER_TEST_GIB"); s != "" {
		gib, err := strconv.Atoi(s)
		if err != nil {
			b.Fatal(err)
		}
		tokens *= gib
	}
	dev := cpu.Open(1<<30, 0)
	defer func() { _ = dev.Close() }()
	slabs := NewSlabs(memory.DefaultAllocator, 0)
	defer slabs.Close()
	port := NewSnapshotPort(dev)
	of := SnapshotOf{Model: "bench", Shape: shape, Activations: kernels.F32}
	sequence := func() *Sequence {
		s := NewHostSequence(shape, slabs)
		s.Expect(tokens)
		if err := s.Extend(tokens, 1); err != nil {
			b.Fatal(err)
		}
		for l := range shape.Layers {
			for _, kv := range s.View(l, 0, shape.KVHeads, 0, tokens) {
				for h := range shape.KVHeads {
					one := kv.HeadRange(h, h+1)
					k, v := hostBytes(one.Keys()), hostBytes(one.Values())
					for i := range k {
						k[i], v[i] = byte(i*l), byte(i*h)
					}
				}
			}
		}
		return s
	}
	from, to := sequence(), sequence()
	defer from.Release()
	if err := from.Advance(tokens); err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(b.TempDir(), "s.arrow")
	ids := make([]int32, tokens)
	b.Run("write", func(b *testing.B) {
		b.SetBytes(shape.Bytes(tokens))
		for b.Loop() {
			if err := WriteSnapshot(b.Context(), path, of, from, SnapshotText{Tokens: ids}, port); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("load", func(b *testing.B) {
		b.SetBytes(shape.Bytes(tokens))
		for b.Loop() {
			s, err := OpenSnapshot(path)
			if err != nil {
				b.Fatal(err)
			}
			fresh := *to
			if _, err := s.Load(b.Context(), &fresh, tokens, port); err != nil {
				b.Fatal(err)
			}
			_ = s.Close()
		}
	})
	b.Run("limit: reading the file into memory", func(b *testing.B) {
		b.SetBytes(shape.Bytes(tokens))
		file, err := os.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = file.Close() }()
		for b.Loop() {
			var all sync.WaitGroup
			n := runtime.GOMAXPROCS(0)
			for t := range n {
				all.Go(func() {
					for l := t; l < shape.Layers; l += n {
						for _, kv := range to.View(l, 0, shape.KVHeads, 0, tokens) {
							for h := range shape.KVHeads {
								one := kv.HeadRange(h, h+1)
								at := int64(l*shape.KVHeads+h) * 2 * one.Keys().Bytes()
								_, _ = file.ReadAt(hostBytes(one.Keys()), at)
								_, _ = file.ReadAt(hostBytes(one.Values()), at+one.Keys().Bytes())
							}
						}
					}
				})
			}
			all.Wait()
		}
	})
}
