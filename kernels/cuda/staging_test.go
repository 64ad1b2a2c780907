//go:build cuda && cgo && linux

package cuda

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/apache/arrow/go/v17/arrow/memory"
	"golang.org/x/sys/unix"

	"headinfer/kernels"
)

// openGPU gives a test the first device, or skips it.
func openGPU(t testing.TB, budget int64) *Device {
	t.Helper()
	if n, reason := Available(); n == 0 {
		t.Skip(reason)
	}
	d, err := Open(budget, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d.(*Device)
}

// noise fills memory at random, 8 bytes at a time.
func noise(r *rand.Rand, b []byte) {
	for ; len(b) >= 8; b = b[8:] {
		binary.LittleEndian.PutUint64(b, r.Uint64())
	}
	for i := range b {
		b[i] = byte(r.Uint32())
	}
}

func newRand(t testing.TB) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// readBack returns what lies on the device.
func readBack(t testing.TB, d *Device, at unsafe.Pointer, size int) []byte {
	t.Helper()
	s, err := d.context.NewStream(0)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, size)
	if err := errors.Join(s.CopyOut(unsafe.Pointer(unsafe.SliceData(got)), pointer(at), int64(size)), s.Synchronize(), s.Close()); err != nil {
		t.Fatal(err)
	}
	return got
}

// TestWeightBytes copies weights of many sizes, from any address, and reads them
// back: nothing else changes, and the source is free when the copy has returned.
func TestWeightBytes(t *testing.T) {
	r := newRand(t)
	d := openGPU(t, 256<<20)
	const most, beyond = 4 * halfBytes, 256
	b, err := d.Alloc(most+beyond, kernels.Weights, "the test")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Free(b)
	source, left := make([]byte, most+64), make([]byte, most+beyond)
	for _, size := range []int{
		1, stagedFrom - 1, stagedFrom, stagedFrom + 1, halfBytes - 1, halfBytes, halfBytes + 1, 2 * halfBytes, 3*halfBytes + 1, 3*halfBytes + r.IntN(halfBytes),
	} {
		at := r.IntN(64)
		data := source[at : at+size]
		noise(r, data)
		noise(r, left)
		if err := errors.Join(d.staging.openStream(), d.staging.direct(pointer(b.Data), left)); err != nil {
			t.Fatal(err)
		}
		want := bytes.Clone(data)
		if err := d.staging.copyIn(pointer(b.Data), data); err != nil {
			t.Fatal(err)
		}
		clear(data)
		got := readBack(t, d, b.Data, size+beyond)
		if !bytes.Equal(got[:size], want) {
			t.Errorf("%d bytes from address %d did not arrive as they went", size, at)
		}
		if !bytes.Equal(got[size:], left[size:size+beyond]) {
			t.Errorf("%d bytes from address %d wrote past their end", size, at)
		}
	}
}

// TestWeightMemory follows what is pinned: nothing for small weights, nothing
// after Prepare and after the device has been closed.
func TestWeightMemory(t *testing.T) {
	r := newRand(t)
	d := openGPU(t, 256<<20)
	// weight loads a matrix in f32, whose bytes begin at an odd address.
	weight := func(rows, cols int) {
		t.Helper()
		data := make([]byte, 4*rows*cols+1)[1:]
		noise(r, data)
		w, err := d.Weight("of a test", data, kernels.F32, rows, cols)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(readBack(t, d, w.Data, len(data)), data) {
			t.Errorf("[%d, %d] did not arrive as it went", rows, cols)
		}
	}
	pieces := func() int {
		d.host.mu.Lock()
		defer d.host.mu.Unlock()
		return len(d.host.sizes)
	}
	is := func(want int, when string) {
		t.Helper()
		if n := pieces(); n != want {
			t.Errorf("%s, %d pieces of host memory are pinned, want %d", when, n, want)
		}
	}
	prepare := func() {
		t.Helper()
		if err := d.Prepare(kernels.Workload{Rows: 8, Columns: 64, KVHeads: 2, Group: 2, HeadDim: 64}); err != nil {
			t.Fatal(err)
		}
	}
	prepare()
	weight(1, 4096)
	is(0, "after a small weight")
	weight(1234, 5678)
	is(2, "after a large weight")
	prepare()
	is(0, "after Prepare")
	weight(1+r.IntN(300), 10_007)
	weight(3000, 2000)
	is(2, "after another large weight")
	// Weights may come from several goroutines.
	var all sync.WaitGroup
	parts := make([][]byte, 4)
	loaded := make([]kernels.Tensor, len(parts))
	for i := range parts {
		parts[i] = make([]byte, 4*(500_000+r.IntN(1_000_000)))
		noise(r, parts[i])
		all.Go(func() {
			var err error
			if loaded[i], err = d.Weight(fmt.Sprint(i), parts[i], kernels.F32, 1, len(parts[i])/4); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for i, data := range parts {
		if loaded[i].Data != nil && !bytes.Equal(readBack(t, d, loaded[i].Data, len(data)), data) {
			t.Errorf("part %d did not arrive as it went", i)
		}
	}
	is(2, "after some at once")
	if err := d.staging.close(); err != nil {
		t.Error(err)
	}
	is(0, "after closing")
}

// none has no memory to give.
type none struct{}

func (none) Allocate(int) []byte           { panic(errors.New("none")) }
func (none) Reallocate(int, []byte) []byte { panic(errors.New("none")) }
func (none) Free([]byte)                   {}

// TestWeightUnpinned copies a weight where the system pins no memory.
func TestWeightUnpinned(t *testing.T) {
	r := newRand(t)
	d := openGPU(t, 64<<20)
	d.staging.pinned = none{}
	data := make([]byte, 8_000_004)
	noise(r, data)
	for range 2 {
		w, err := d.Weight("of a test", data, kernels.F32, 1, len(data)/4)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(readBack(t, d, w.Data, len(data)), data) {
			t.Error("it did not arrive as it went")
		}
	}
}

// warmFile maps a file of random bytes and touches all of it.
func warmFile(b *testing.B, size int) []byte {
	b.Helper()
	check := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	f, err := os.Create(filepath.Join(b.TempDir(), "weights"))
	check(err)
	part := make([]byte, 1<<20)
	noise(newRand(b), part)
	_, err = io.CopyN(f, endless(part), int64(size))
	check(err)
	data, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED|unix.MAP_POPULATE)
	check(errors.Join(err, f.Close()))
	b.Cleanup(func() {
		if err := unix.Munmap(data); err != nil {
			b.Error(err)
		}
	})
	return data
}

// endless reads the same bytes again and again.
type endless []byte

func (e endless) Read(p []byte) (int, error) { return copy(p, e), nil }

// stingy pins memory but for the second time it is asked.
type stingy struct {
	memory.Allocator
	asked, held int
}

func (s *stingy) Allocate(bytes int) []byte {
	if s.asked++; s.asked == 2 {
		panic(errors.New("no more can be pinned"))
	}
	s.held++
	return s.Allocator.Allocate(bytes)
}

func (s *stingy) Free(b []byte) {
	s.held--
	s.Allocator.Free(b)
}

// TestNotPinned checks that where the system pins too little, weights come to the
// device all the same, and that it is asked once for all of them.
func TestNotPinned(t *testing.T) {
	const size = stagedFrom + 12345
	d, r := openGPU(t, 1<<30), newRand(t)
	to, err := d.Alloc(size, kernels.Weights, "the test")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Free(to)
	host := &stingy{Allocator: d.host}
	st := &staging{context: d.context, pinned: host}
	src := make([]byte, size)
	for i, want := range []struct{ asked, held int }{{2, 0}, {2, 0}, {4, 2}} {
		if i == 2 { // loading has ended and begins again
			if err := st.close(); err != nil {
				t.Fatal(err)
			}
		}
		noise(r, src)
		if err := st.copyIn(pointer(to.Data), src); err != nil {
			t.Fatal(err)
		}
		if got := readBack(t, d, to.Data, size); !bytes.Equal(got, src) {
			t.Errorf("weight %d is another on the device", i)
		}
		if host.asked != want.asked || host.held != want.held {
			t.Errorf("after weight %d the system was asked %d times and %d halves are held; expected %+v", i, host.asked, host.held, want)
		}
	}
	if err := st.close(); err != nil || host.held != 0 {
		t.Errorf("%d halves are held at the end, %v", host.held, err)
	}
}

// Prints how fast 1 GiB of a warm, mapped file gets to the device in weights of
// some sizes: as the driver does it, and through halves of some sizes. limit is
// the copies alone, without what fills the halves.
func BenchmarkWeight(b *testing.B) {
	const all = 1 << 30
	d := openGPU(b, all)
	to, err := d.Alloc(all, kernels.Weights, "the benchmark")
	if err != nil {
		b.Fatal(err)
	}
	defer d.Free(to)
	file := warmFile(b, all)
	run := func(name string, half, weight int, copyIn func(st *staging, at, size int) error) {
		b.Run(name, func(b *testing.B) {
			st := &staging{context: d.context, pinned: d.host}
			if err := errors.Join(st.openStream(), st.openHalves(half)); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				for at := 0; at < all; at += weight {
					if err := copyIn(st, at, weight); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.N)*all/b.Elapsed().Seconds()/1e9, "GB/s")
			if err := st.close(); err != nil {
				b.Error(err)
			}
		})
	}
	run("limit", halfBytes, halfBytes, func(st *staging, at, size int) error {
		half := unsafe.Pointer(unsafe.SliceData(st.halves[0].data))
		err := st.stream.CopyIn(pointer(unsafe.Add(to.Data, at)), half, int64(size))
		if at+size == all {
			err = errors.Join(err, st.stream.Synchronize())
		}
		return err
	})
	for _, weight := range []int{8 << 20, 32 << 20, 128 << 20} {
		of := fmt.Sprintf("weights=%dMiB/", weight>>20)
		run(of+"driver", 1, weight, func(st *staging, at, size int) error {
			return st.direct(pointer(unsafe.Add(to.Data, at)), file[at:at+size])
		})
		for _, half := range []int{2 << 20, 4 << 20, 8 << 20, 16 << 20, 32 << 20} {
			run(of+fmt.Sprintf("halves=%dMiB", half>>20), half, weight, func(st *staging, at, size int) error {
				return st.staged(pointer(unsafe.Add(to.Data, at)), file[at:at+size])
			})
		}
	}
}
