package stages

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"headinfer/config"
	"headinfer/kernels"
	"headinfer/transfer"
)

// without are pipelines that lack a part, by the options that take it away.
var without = [][]string{
	{"heads.prefetch.overlap=false"},
	{"heads.prefetch.ahead=layer"},
	{"heads.prefetch.slots=1"},
	{"heads.offload.pinned=false"},
	{"heads.offload.write=whole"},
	{"heads.prefetch.overlap=false", "heads.prefetch.slots=1"},
	{"heads.prefetch.overlap=false", "heads.offload.write=whole", "heads.prefetch.slots=3"},
	{"heads.prefetch.ahead=layer", "heads.offload.write=whole", "heads.prefetch.slots=1"},
	{"heads.prefetch.overlap=false", "heads.prefetch.ahead=layer", "heads.prefetch.slots=1", "heads.offload.pinned=false", "heads.offload.write=whole"},
}

// TestWithoutAPart takes parts of methods away: no logit changes by a bit, what is moved
// changes only where tiles are written back, and each part is really gone.
func TestWithoutAPart(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for i, c := range []struct {
		method, model string
		sets          []string
	}{
		{"headinfer-1", tinyLlama, nil},
		{"headinfer-2", tinyLlama, []string{"heads.prefetch.slots=3"}},
		{"layer-wise", tinyLlama, nil},
		{"tiled", tinyLlama, []string{"heads.attention.span=37"}},
		{"adaptive", tinyLlama, []string{"heads.attention.recent=20", "heads.attention.sinks=3", "heads.attention.group=2"}},
		{"headinfer-1", architecture(t, "gemma2"), nil},
		{"tiled", architecture(t, "gemma3"), []string{"heads.attention.span=37", "heads.attention.group=1"}},
		{"int8", tinyRandom, []string{"heads.attention.group=1"}},
		{"int4", tinyRandom, []string{"heads.attention.group=2", "heads.attention.span=64"}},
	} {
		t.Run(fmt.Sprint(i, " ", c.method), func(t *testing.T) {
			// Every engine draws the same texts.
			of := func(sets ...string) (*Engine, [][]float32) {
				e := openMethodOn(t, counted(twoThreads), c.method, c.model, append(slices.Clone(c.sets), sets...)...)
				return e, manyTexts(t, e, rand.New(rand.NewPCG(seed, uint64(i))))
			}
			full, want := of()
			for _, sets := range without {
				name := strings.Join(sets, " ")
				e, got := of(sets...)
				for j := range want {
					if !slices.Equal(got[j], want[j]) {
						t.Fatalf("%s: logits %d of %d differ by %g", name, j, len(want), distance(got[j], wide(want[j])))
					}
				}
				checkWithout(t, full, e, sets)
			}
		})
	}
}

// manyTexts reads a text by itself, and then several questions about a second one in the
// same passes as a third text; it returns all logits on the way.
func manyTexts(t *testing.T, e *Engine, r *rand.Rand) (all [][]float32) {
	t.Helper()
	const steps = 3
	ids := func(n int) []int32 {
		out := make([]int32, n)
		for i := range out {
			out[i] = r.Int32N(int32(min(e.Checkpoint.Config.Vocab, 256)))
		}
		return out
	}
	all = alone(t, e, ids(150+r.IntN(30)), steps)
	e.slots = make(chan struct{}, 5)
	base := admit(t, e)
	if _, err := base.Prefill(t.Context(), ids(120+r.IntN(20)), 30, 0); err != nil {
		t.Fatal(err)
	}
	var batch []reading
	for i, n := range []int{1, 17, 5} {
		if _, err := e.enter(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		branch, err := base.branch(fmt.Sprint(i), n, steps, n)
		if err != nil {
			t.Fatal(err)
		}
		defer branch.Release()
		batch = append(batch, reading{branch, ids(n)})
	}
	base.Release()
	other := admit(t, e)
	defer other.Release()
	if _, err := other.Prefill(t.Context(), ids(70+r.IntN(10)), 30, steps+9); err != nil {
		t.Fatal(err)
	}
	batch = append(batch, reading{other, ids(9)})
	for i := range steps + 1 {
		logits, err := e.read(t.Context(), transfer.Decode, batch, true)
		if err != nil {
			t.Fatal(err)
		}
		for j := range batch {
			all = append(all, slices.Clone(logits[j]))
			batch[j].tokens = []int32{int32(i + 1)}
		}
	}
	return all
}

// counting is a device that counts the bytes of copies.
type counting struct {
	kernels.Device
	in, out atomic.Int64
}

func (c *counting) CopyIn(s kernels.Stream, dst, hostSrc kernels.Tensor) {
	c.in.Add(dst.Bytes())
	c.Device.CopyIn(s, dst, hostSrc)
}

func (c *counting) CopyOut(s kernels.Stream, hostDst, src kernels.Tensor) {
	c.out.Add(src.Bytes())
	c.Device.CopyOut(s, hostDst, src)
}

// counted opens devices that count.
func counted(open opener) opener {
	return func(budget int64) (kernels.Device, error) {
		dev, err := open(budget)
		return &counting{Device: dev}, err
	}
}

// checkWithout looks at what an engine has moved, and when, for the parts that it is to
// lack of a full one that has read the same texts.
func checkWithout(t *testing.T, full, e *Engine, sets []string) {
	t.Helper()
	name, spans := strings.Join(sets, " "), e.timeline.Spans()
	in, out, back := full.loop.moved.In.Load(), full.loop.moved.Out.Load(), int64(0)
	if slices.Contains(sets, "heads.offload.write=whole") {
		back = in
	}
	if i, o := e.loop.moved.In.Load(), e.loop.moved.Out.Load(); in == 0 || i != in || o != out+back {
		t.Errorf("%s: %d bytes are counted as moved in and %d out, want %d and %d", name, i, o, in, out+back)
	}
	all, here := full.Device.(*counting), e.Device.(*counting)
	if here.in.Load() != all.in.Load() || here.out.Load() != all.out.Load()+back {
		t.Errorf("%s: %d bytes were moved in and %d out, want %d and %d", name, here.in.Load(), here.out.Load(), all.in.Load(), all.out.Load()+back)
	}
	alone := slices.Contains(sets, "heads.prefetch.overlap=false")
	if o := e.timeline.Overlap(); alone && (o.Copy == 0 || o.Hidden != 0) {
		t.Errorf("%s: of %v of copies, %v went on during computing", name, o.Copy, o.Hidden)
	}
	if n, tiles := early(spans); tiles == 0 || n > 0 && (alone || slices.Contains(sets, "heads.prefetch.ahead=layer")) {
		t.Errorf("%s: %d of %d tiles were copied before the queries of their layer were there", name, n, tiles)
	}
	if n := unwritten(spans); n > 0 && back > 0 {
		t.Errorf("%s: %d tiles were not written back after their attention", name, n)
	}
}

// unwritten counts the tiles that were copied to the device and not back after their
// attention, in the same pass. Tiles of several texts may have one name.
func unwritten(spans []transfer.Span) (n int) {
	type place struct {
		pass int
		name string
	}
	attended, missing := map[place]time.Duration{}, map[place]int{}
	for _, s := range spans { // in order of their starts
		at := place{s.Pass, s.Name}
		switch end, was := attended[at]; {
		case s.Track == transfer.CopyIn:
			missing[at]++
		case s.Track == transfer.Compute && !was:
			attended[at] = s.End
		case s.Track == transfer.CopyOut && was && s.Start >= end:
			missing[at]--
		}
	}
	for _, tiles := range missing {
		n += max(tiles, 0)
	}
	return n
}

// early counts the tiles whose copy to the device began before the projections of their
// layer had ended, in the same pass.
func early(spans []transfer.Span) (n, tiles int) {
	type place struct {
		pass  int
		layer string
	}
	ready := map[place]transfer.Span{}
	for _, s := range spans {
		if strings.HasSuffix(s.Name, " project") {
			ready[place{s.Pass, layerOf(s.Name)}] = s
		}
	}
	for _, s := range spans {
		if s.Track != transfer.CopyIn {
			continue
		}
		if tiles++; s.Start < ready[place{s.Pass, layerOf(s.Name)}].End {
			n++
		}
	}
	return n, tiles
}

// TestWithoutRefusals goes through options that have nothing to take away.
func TestWithoutRefusals(t *testing.T) {
	const onDevice, noSlots = "heads.offload.to=device", "heads.prefetch.slots=none"
	registry, err := Registry()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		sets []string
		want []string
	}{
		{[]string{"heads.prefetch.overlap=false", "heads.prefetch.ahead=layer", "heads.offload.pinned=false", "heads.offload.write=whole"}, nil},
		{[]string{onDevice, noSlots}, nil},
		{[]string{onDevice, "heads.prefetch.overlap=true", "heads.offload.pinned=true", "heads.offload.write=append"}, nil},
		{[]string{onDevice, "heads.offload.pinned=false"}, []string{`option "pinned" is for a cache on the host; expected to: host, or pinned: true`}},
		{[]string{onDevice, "heads.offload.write=whole"}, []string{`option "write" is for a cache on the host; expected to: host, or write: append`}},
		{[]string{onDevice, "heads.prefetch.overlap=false"}, []string{`--set heads.prefetch.overlap=false: option "overlap" is for a cache on the host; expected to: host in "offload", or overlap: true`}},
		{[]string{onDevice, "heads.prefetch.ahead=layer"}, []string{`--set heads.prefetch.ahead=layer: option "ahead" is for a cache on the host; expected to: host in "offload", or ahead: pass`}},
		{[]string{onDevice, noSlots, "heads.prefetch.overlap=false", "heads.prefetch.ahead=layer"}, []string{
			`option "overlap" is for a ring with slots; expected slots: 2, or overlap: true`,
			`option "ahead" is for a ring with slots; expected slots: 2, or ahead: pass`,
		}},
	} {
		var got config.Problems
		p, err := config.LoadFile("../pipelines/adaptive.yaml", registry, c.sets)
		if err == nil {
			_, _, err = Graphs(registry, p)
		}
		if err != nil && !errors.As(err, &got) {
			t.Fatal(err)
		}
		ok := len(got) == len(c.want)
		for _, want := range c.want {
			ok = ok && slices.ContainsFunc(got, func(p config.Problem) bool { return strings.Contains(p.Error(), want) })
		}
		if !ok {
			t.Errorf("%v: %v, want %q", c.sets, err, c.want)
		}
	}
}
