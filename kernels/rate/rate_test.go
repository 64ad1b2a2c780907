package rate

import (
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow/memory"

	"headinfer/kernels"
	"headinfer/kernels/cpu"
)

// open gives a test the processor as a device with a budget in bytes.
func open(t *testing.T, budget int64) kernels.Device {
	t.Helper()
	dev := cpu.Open(budget, 2)
	t.Cleanup(func() {
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	})
	return dev
}

// random returns a small shape with odd sizes.
func random(t *testing.T) Shape {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	return Shape{
		Rows: 1 + r.IntN(300), Hidden: 1 + r.IntN(500), FFN: 1 + r.IntN(3000),
		KVHeads: 1 + r.IntN(5), Group: 1 + r.IntN(4), HeadDim: 8 * (1 + r.IntN(16)), Keys: 1 + r.IntN(3000),
	}
}

// workload is what Measure prepares for.
func (s Shape) workload() kernels.Workload {
	return kernels.Workload{Rows: s.Rows, Columns: s.Hidden, KVHeads: s.KVHeads, Group: s.Group, HeadDim: s.HeadDim}
}

// finite fails for a rate that cannot be.
func finite(t *testing.T, r Rates) {
	t.Helper()
	v := reflect.ValueOf(r)
	for i := range v.NumField() {
		if x := v.Field(i).Float(); !(x > 1e5 && x < 1e16) {
			t.Errorf("%s is %g", v.Type().Field(i).Name, x)
		}
	}
}

func TestMeasure(t *testing.T) {
	dev, shape := open(t, 1<<30), random(t)
	if err := dev.Prepare(shape.workload()); err != nil {
		t.Fatal(err)
	}
	before := dev.Ledger().Usage()
	r, err := Measure(dev, shape)
	if err != nil {
		t.Fatalf("%+v: %v", shape, err)
	}
	finite(t, r)
	if after := dev.Ledger().Usage(); after.Used != before.Used {
		t.Errorf("%d bytes were taken before and %d after, for %+v", before.Used, after.Used, shape)
	}
}

// TestMeasureWithLittleRoom has a shape that the budget holds only a small part of.
func TestMeasureWithLittleRoom(t *testing.T) {
	dev := open(t, 48<<20)
	r, err := Measure(dev, Shape{Rows: 8192, Hidden: 4096, FFN: 14336, KVHeads: 8, Group: 4, HeadDim: 128, Keys: 131072})
	if err != nil {
		t.Fatal(err)
	}
	finite(t, r)
	if u := dev.Ledger().Usage(); u.Used > 16<<20 {
		t.Errorf("%+v is still taken; only workspace for a few rows may be", u)
	}
}

func TestMeasureWithoutRoom(t *testing.T) {
	dev := open(t, 20<<20)
	_, err := Measure(dev, random(t))
	if !errors.Is(err, kernels.ErrBudget) || !strings.Contains(err.Error(), "copies") {
		t.Errorf("20 MiB for two buffers of 16 gave %v", err)
	}
	if now := dev.Ledger().Usage().Now[kernels.Workspace]; now > 8<<20 {
		t.Errorf("%d bytes were not given back", now)
	}
}

func TestMeasureRefuses(t *testing.T) {
	dev := open(t, 64<<20)
	whole := Shape{Rows: 1, Hidden: 1, FFN: 1, KVHeads: 1, Group: 1, HeadDim: 8, Keys: 1}
	for i := range reflect.TypeFor[Shape]().NumField() {
		shape := whole
		reflect.ValueOf(&shape).Elem().Field(i).SetInt(0)
		name := reflect.TypeFor[Shape]().Field(i).Name
		if _, err := Measure(dev, shape); err == nil || !strings.Contains(err.Error(), name+" is 0") {
			t.Errorf("without %s: %v", name, err)
		}
	}
}

// TestFailedDevice gives memory back though nothing runs any more.
func TestFailedDevice(t *testing.T) {
	dev := open(t, 256<<20)
	s := dev.NewStream("failing")
	dev.Embed(s, kernels.Tensor{}, kernels.Tensor{Rows: 1, Cols: 1, DType: kernels.F32}, []int32{7}, 1)
	broken := s.Synchronize()
	if broken == nil {
		t.Fatal("the device has not failed")
	}
	shape := random(t)
	if err := dev.Prepare(shape.workload()); err != nil {
		t.Fatal(err)
	}
	before := dev.Ledger().Usage().Used
	if _, err := Measure(dev, shape); !errors.Is(err, broken) {
		t.Errorf("got %v, want the device's failure", err)
	}
	if _, err := Copies(dev, 32<<20); !errors.Is(err, broken) {
		t.Errorf("got %v, want the device's failure", err)
	}
	if after := dev.Ledger().Usage().Used; after != before {
		t.Errorf("%d bytes were taken before and %d after", before, after)
	}
}

func TestCopies(t *testing.T) {
	dev := open(t, 256<<20)
	r, err := Copies(dev, 17<<20+12)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []float64{r.CopyIn, r.CopyOut, r.BothIn, r.BothOut} {
		if !(x > 1e7 && x < 1e13) {
			t.Errorf("rates are %+v", r)
		}
	}
	if r.Linear != 0 || r.Attention != 0 || r.Read != 0 {
		t.Errorf("copies alone gave %+v", r)
	}
	if used := dev.Ledger().Usage().Used; used != 0 {
		t.Errorf("%d bytes were not given back", used)
	}
}

// refusing is host memory that cannot be had.
type refusing struct{ kernels.Device }

func (r refusing) Host() memory.Allocator { return none{r.Device.Host()} }

type none struct{ memory.Allocator }

var errNone = errors.New("no memory can be pinned")

func (none) Allocate(int) []byte { panic(errNone) }

func TestNoHostMemory(t *testing.T) {
	dev := open(t, 64<<20)
	if _, err := Copies(refusing{dev}, 1<<20); !errors.Is(err, errNone) || !strings.Contains(err.Error(), "16 MiB of host memory") {
		t.Errorf("got %v", err)
	}
	if used := dev.Ledger().Usage().Used; used != 0 {
		t.Errorf("%d bytes were not given back", used)
	}
	if _, err := Pin(refusing{dev}, 1<<20); !errors.Is(err, errNone) || !strings.Contains(err.Error(), "1 MiB of host memory") {
		t.Errorf("pinning gave %v", err)
	}
}

func TestPin(t *testing.T) {
	if x, err := Pin(open(t, 1), 5<<20+3); err != nil || !(x > 1e6 && x < 1e16) {
		t.Errorf("%g bytes a second, %v", x, err)
	}
}

func TestOverlap(t *testing.T) {
	ms := func(at ...int) (d []time.Duration) {
		for _, x := range at {
			d = append(d, time.Duration(x)*time.Millisecond)
		}
		return d
	}
	for _, c := range []struct {
		a, b          []time.Duration
		first, second float64 // pieces a second
	}{
		{ms(0, 10, 20), ms(0, 10, 20), 100, 100},
		{ms(0, 10, 20), ms(0, 40, 50), 100, 25},           // b's tail does not count
		{ms(10, 20, 30, 40), ms(0, 20, 40), 100, 50},      // nor its start
		{ms(0, 5, 10), ms(100, 110, 200), 10, 10},         // never at once
		{ms(0, 0, 0), ms(0, 10, 20), 100, 100},            // too fast for the clock
		{ms(0, 8, 24), ms(4, 8, 12, 16), 1000. / 12, 250}, // parts of pieces: ½ and ½ in 12 ms
	} {
		x, y := overlap(c.a, c.b)
		if math.Abs(x-c.first) > 1e-6 || math.Abs(y-c.second) > 1e-6 {
			t.Errorf("%v and %v moved %g and %g pieces a second, want %g and %g", c.a, c.b, x, y, c.first, c.second)
		}
	}
}

func TestWithin(t *testing.T) {
	whole := product{rows: 8192, cols: 4096, outs: 14336}
	if got := whole.within(math.Inf(1), math.MaxInt64, kernels.BF16); got != whole {
		t.Errorf("with room for all, %+v", got)
	}
	for range 1000 {
		p := product{1 + rand.IntN(9000), 1 + rand.IntN(5000), 1 + rand.IntN(20000)}
		flop, bytes := math.Exp(40*rand.Float64()), int64(math.Exp(30*rand.Float64()))
		got := p.within(flop, bytes, kernels.F32)
		if least := got.rows <= 64 && got.outs <= 64; !least && (got.flop() > flop || got.bytes(kernels.F32) > bytes) ||
			got.rows > p.rows || got.outs > p.outs || got.cols != p.cols || got.rows < 1 || got.outs < 1 {
			t.Fatalf("%+v within %g FLOP and %d bytes became %+v", p, flop, bytes, got)
		}
		a := tile{1 + rand.IntN(9000), 1 + rand.IntN(16), 1 + rand.IntN(8), 1 + rand.IntN(256), 1 + rand.IntN(200000)}
		small := a.within(flop, bytes, kernels.BF16)
		if least := small.rows <= 64 && small.heads == 1 && small.keys <= 64; !least && (small.flop() > flop || small.bytes(kernels.BF16) > bytes) ||
			small.rows > a.rows || small.keys > a.keys || small.group != a.group || small.dim != a.dim || small.heads < 1 || small.keys < 1 {
			t.Fatalf("%+v within %g FLOP and %d bytes became %+v", a, flop, bytes, small)
		}
	}
}

func TestHostRead(t *testing.T) {
	for _, threads := range []int{0, 1, 3} {
		if x := HostRead(threads); !(x > 1e7 && x < 1e13) {
			t.Errorf("%d threads read %g bytes a second", threads, x)
		}
	}
}

func TestScramble(t *testing.T) {
	for _, n := range []int{0, 1, 8, 4095, 4097, 10000} {
		words := make([]uint64, n)
		scramble(words)
		want, zeros := uint64(0), 0
		for _, w := range words[:n/8*8] {
			if w == 0 {
				zeros++
			}
		}
		for i := range n / 8 {
			l := words[8*i:]
			for j := range 4 {
				want += l[j] ^ l[j+4]
			}
		}
		if got := sum(words); got != want || zeros > 0 {
			t.Errorf("%d words: the sum is %d, want %d; %d are zero", n, got, want, zeros)
		}
	}
}
