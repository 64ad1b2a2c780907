//go:build cuda && cgo && linux

package driver

import (
	"errors"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"headinfer/kernels/cuda/images"
)

// floats looks at bytes as float32.
func floats(b []byte) []float32 { return unsafe.Slice((*float32)(start(b)), len(b)/4) }

// Many goroutines, each with its own stream, at once.
func TestVectorAdd(t *testing.T) {
	c := open(t)
	add := must(kernels(t, c).Function("vector_add"))(t)
	r := random(t)
	var done sync.WaitGroup
	for range 32 {
		n := 1 + r.IntN(100_000)
		s := stream(t, c)
		host := pinned(t, c, 3*4*n)
		p := device(t, c, int64(3*4*n))
		x := floats(host)
		for i := range x {
			x[i] = r.Float32()
		}
		done.Go(func() {
			step := Pointer(4 * n)
			err := errors.Join(
				s.CopyIn(p, start(host), int64(len(host))),
				s.Launch(add, Dim{X: (n + 127) / 128}, Dim{X: 128}, 0, uint64(p), uint64(p+step), uint64(p+2*step), uint64(n)),
				s.CopyOut(start(x[2*n:]), p+2*step, int64(4*n)),
				s.Synchronize())
			if err != nil {
				t.Error(err)
				return
			}
			for i := range n {
				if x[2*n+i] != x[i]+x[n+i] {
					t.Errorf("n = %d: element %d is %g, not %g + %g", n, i, x[2*n+i], x[i], x[n+i])
					return
				}
			}
		})
	}
	done.Wait()
}

func TestEvents(t *testing.T) {
	c := open(t)
	m := kernels(t, c)
	spin, store := must(m.Function("spin"))(t), must(m.Function("store"))(t)
	first, second := stream(t, c), stream(t, c)
	before, after := event(t, c, true), event(t, c, true)
	p := device(t, c, 8)
	got := pinned(t, c, 8)
	const pause = 20 * time.Millisecond

	if ok, err := after.Reached(); !ok || err != nil {
		t.Errorf("an event never recorded counts as reached; got %v, %v", ok, err)
	}
	try(t, second.Wait(after))
	try(t, first.Fill(p, 0, 8))
	try(t, first.Record(before))
	try(t, first.Launch(spin, Dim{}, Dim{}, 0, uint64(pause.Nanoseconds())))
	try(t, first.Launch(store, Dim{}, Dim{}, 0, uint64(p), 0x0807060504030201))
	try(t, first.Record(after))
	try(t, second.Wait(after))
	try(t, second.CopyOut(start(got), p, 8))
	reached, err := after.Reached()
	try(t, err)
	idle, err := second.Idle()
	try(t, err)
	if reached || idle {
		t.Errorf("with %v of work enqueued the event was reached (%v) or the waiting stream idle (%v)", pause, reached, idle)
	}
	try(t, second.Synchronize())
	if string(got) != "\x01\x02\x03\x04\x05\x06\x07\x08" {
		t.Errorf("the second stream read %v: it did not wait for the first", got)
	}
	try(t, after.Synchronize())
	if reached, err := after.Reached(); !reached || err != nil {
		t.Errorf("the event was not reached after its stream ran dry: %v, %v", reached, err)
	}
	took, err := after.Since(before)
	try(t, err)
	if took < pause || took > 50*pause {
		t.Errorf("%v passed between the events, with %v of work", took, pause)
	}
}

func TestShared(t *testing.T) {
	c := open(t)
	f := must(kernels(t, c).Function("needs_shared"))(t)
	s := stream(t, c)
	p := device(t, c, 4)
	if err := s.Launch(f, Dim{}, Dim{}, 64<<10, uint64(p)); err == nil {
		t.Error("a launch with 64 KiB of shared memory did not need SetShared")
	}
	if err := f.SetShared(c.Properties().SharedBytes + 1); err == nil {
		t.Error("more shared memory was allowed than there is")
	}
	try(t, f.SetShared(64<<10))
	try(t, s.Launch(f, Dim{}, Dim{}, 64<<10, uint64(p)))
	var got uint32
	try(t, s.CopyOut(unsafe.Pointer(&got), p, 4))
	try(t, s.Synchronize())
	if got != 1234567 {
		t.Errorf("read %d", got)
	}
	blocks, err := f.Occupancy(32, 64<<10)
	try(t, err)
	if blocks < 1 || blocks > 8 {
		t.Errorf("%d blocks with 64 KiB each on one multiprocessor", blocks)
	}
	resources, err := f.Resources()
	try(t, err)
	if resources.Registers < 1 || resources.MaxThreads < 32 || resources.LocalBytes != 0 {
		t.Errorf("these can't be right: %+v", resources)
	}
}

// A struct of words is passed as its words, and read before Launch returns. One
// that is aligned to more than a word may have a gap before it.
func TestWideParameter(t *testing.T) {
	c := open(t)
	t.Run("aligned to 8", func(t *testing.T) { testWideParameter(t, c, kernels(t, c)) })
	t.Run("aligned to 64", func(t *testing.T) {
		ptx := strings.Replace(testKernels, ".align 8 .b8 words", ".align 64 .b8 words", 1)
		if ptx == testKernels {
			t.Fatal("the struct of words was not found")
		}
		m := must(c.LoadModule("aligned", []byte(ptx)))(t)
		defer func() { try(t, m.Close()) }()
		testWideParameter(t, c, m)
	})
}

func testWideParameter(t *testing.T, c *Context, m *Module) {
	f := must(m.Function("store_one"))(t)
	s := stream(t, c)
	r := random(t)
	const words = 1000
	p := device(t, c, 8*words)
	got, want := make([]uint64, words), make([]uint64, words)
	args := make([]uint64, words+2)
	for i := range words {
		for w := range words {
			args[w] = r.Uint64()
		}
		args[words], args[words+1], want[i] = uint64(p)+uint64(8*i), uint64(i), args[i]
		try(t, s.Launch(f, Dim{}, Dim{}, 0, args...))
	}
	try(t, s.CopyOut(start(got), p, 8*words))
	try(t, s.Synchronize())
	for i := range words {
		if got[i] != want[i] {
			t.Fatalf("word %d is %#x, want %#x", i, got[i], want[i])
		}
	}
	if err := s.Launch(f, Dim{}, Dim{}, 0, args[1:]...); !errors.Is(err, ErrArguments) {
		t.Errorf("a launch with a word too few gave %v", err)
	}
}

// What kernels copy with a tensor map, the tests of attention compare. These are
// tensors that there is no map of.
func TestTensorMapErrors(t *testing.T) {
	c := open(t)
	if c.Properties().Major < 9 {
		t.Skip("needs a device of compute capability 9.0")
	}
	good := Boxes{At: device(t, c, 1<<20), Size: [3]int{64, 100, 3}, Pitch: [2]int{128, 100 * 128}, Box: [3]int{64, 128, 1}}
	if m, err := c.TensorMap(good); err != nil || m == (TensorMap{}) {
		t.Fatalf("a good tensor gave %v, %v", m, err)
	}
	for what, change := range map[string]func(*Boxes){
		"an address between 16 bytes": func(b *Boxes) { b.At += 8 },
		"a pitch between 16 bytes":    func(b *Boxes) { b.Pitch[1] += 8 },
		"no tokens":                   func(b *Boxes) { b.Size[1] = 0 },
		"a box of 257 tokens":         func(b *Boxes) { b.Box[1] = 257 },
		"rows of more than 128 bytes": func(b *Boxes) { b.Size[0], b.Box[0] = 128, 128 },
	} {
		bad := good
		change(&bad)
		if _, err := c.TensorMap(bad); !errors.Is(err, InvalidValue) || !strings.Contains(err.Error(), "tensor") {
			t.Errorf("%s gave %v", what, err)
		}
	}
}

func TestModuleErrors(t *testing.T) {
	c := open(t)
	m := kernels(t, c)
	s := stream(t, c)
	if _, err := m.Function("vector_subtract"); !errors.Is(err, NotFound) || !strings.Contains(err.Error(), "vector_subtract") {
		t.Errorf("an unknown kernel gave %v", err)
	}
	if _, err := m.Function("narrow"); err == nil || !strings.Contains(err.Error(), "parameter 1") {
		t.Errorf("a kernel with a parameter of 4 bytes gave %v", err)
	}
	f := must(m.Function("store"))(t)
	if err := s.Launch(f, Dim{}, Dim{}, 0, 1); !errors.Is(err, ErrArguments) {
		t.Errorf("a launch with one argument of two gave %v", err)
	}
	if err := s.Launch(f, Dim{}, Dim{X: 4096}, 0, 1, 2); !errors.Is(err, InvalidValue) {
		t.Errorf("a block of 4096 threads gave %v", err)
	}
	if _, err := c.LoadModule("empty", nil); err == nil {
		t.Error("an empty image was loaded")
	}
	if _, err := c.LoadModule("damaged", []byte("\x7fELF and nothing more")); err == nil {
		t.Error("a damaged image was loaded")
	}
	wrong := strings.Replace(testKernels, "add.f32 %f2, %f0, %f1;", "add.f32 %f2, %f0, %unknown;", 1)
	if _, err := c.LoadModule("wrong", []byte(wrong)); !errors.Is(err, InvalidPTX) || !strings.Contains(err.Error(), "unknown") {
		t.Errorf("wrong PTX gave %v", err)
	}
}

// Every kernel of every image that this device can run is there, and takes its
// parameters as 8-byte words. The PTX names them.
func TestImages(t *testing.T) {
	c := open(t)
	p := c.Properties()
	target, err := images.Target(p.Major, p.Minor)
	try(t, err)
	portable, err := images.Load("compute_80")
	try(t, err)
	entry := regexp.MustCompile(`\.entry (\w+)`)
	for _, name := range []string{target, "compute_80"} {
		began := time.Now()
		modules, err := images.Load(name)
		try(t, err)
		count := 0
		for i, image := range modules {
			m := must(c.LoadModule(name+"/"+image.Name, image.Data))(t)
			for _, e := range entry.FindAllSubmatch(portable[i].Data, -1) {
				f, err := m.Function(string(e[1]))
				if err != nil {
					t.Error(err)
					continue
				}
				count++
				r, err := f.Resources()
				try(t, err)
				if r.LocalBytes > 0 {
					t.Logf("%s: %s keeps %d bytes a thread in local memory (%d registers)", name, f.Name(), r.LocalBytes, r.Registers)
				}
			}
			try(t, m.Close())
		}
		t.Logf("%s: %d kernels of %d modules in %v", name, count, len(modules), time.Since(began).Round(time.Millisecond))
	}
}

// What one launch costs the goroutine that makes it. The device takes longer
// over each, so the timer runs only while its queue has room.
func BenchmarkLaunch(b *testing.B) {
	c := open(b)
	f := must(kernels(b, c).Function("store"))(b)
	s := stream(b, c)
	p := device(b, c, 8)
	e := event(b, c, false)
	for name, call := range map[string]func() error{
		"launch": func() error { return s.Launch(f, Dim{}, Dim{}, 0, uint64(p), 1) },
		"record": func() error { return s.Record(e) },
		"wait":   func() error { return s.Wait(e) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				if i%256 == 0 {
					b.StopTimer()
					try(b, s.Synchronize())
					b.StartTimer()
				}
				try(b, call())
			}
		})
	}
}
