//go:build cuda

package stages

import (
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"headinfer/kernels/cuda/driver"
)

// TestGPUWithoutAPart takes parts of methods away on a GPU: what the model prefers is
// the same token everywhere, and each part is really gone.
func TestGPUWithoutAPart(t *testing.T) {
	open := onGPU(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for _, c := range []struct {
		method string
		sets   []string
	}{
		{"headinfer-1", nil}, {"adaptive", nil}, {"tiled", []string{"heads.attention.span=53"}}, {"int8", []string{"heads.attention.group=2"}},
	} {
		t.Run(c.method, func(t *testing.T) {
			of := func(sets ...string) (*Engine, [][]float32) {
				e := openMethodOn(t, counted(open), c.method, randomTiny, append(slices.Clone(c.sets), sets...)...)
				return e, manyTexts(t, e, rand.New(rand.NewPCG(seed, 0)))
			}
			full, want := of()
			for _, sets := range without {
				name := strings.Join(sets, " ")
				e, got := of(sets...)
				worst := 0.0
				for i := range want {
					worst = max(worst, distance(got[i], wide(want[i])))
					if a, b := argmax(want[i]), argmax(got[i]); a != b {
						t.Errorf("%s: token %d after logits %d, with all parts %d", name, b, i, a)
					}
				}
				t.Logf("%s: logits differ by %.2g of the largest, %.0f%% of copies hidden", name, worst, 100*e.timeline.Overlap().HiddenShare())
				checkWithout(t, full, e, sets)
			}
		})
	}
}

// TestGPUPinned asks the driver whether the memory of a cache on the host is pinned.
func TestGPUPinned(t *testing.T) {
	open := onGPU(t)
	if os.Getenv("HEADINFER_TEST_ON") == "cpu" {
		t.Skip("the processor pins nothing")
	}
	context, err := driver.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := context.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, pinned := range []bool{true, false} {
		var sets []string
		if !pinned {
			sets = []string{"heads.offload.pinned=false"}
		}
		text := admit(t, openMethodOn(t, open, "adaptive", randomTiny, sets...))
		if _, err := text.Prefill(t.Context(), make([]int32, 300), 100, 0); err != nil {
			t.Fatal(err)
		}
		const page = 4096
		k := text.Sequence.View(0, 0, 1, 0, 300)[0].K
		k = unsafe.Add(k, -int(uintptr(k)%page))
		memory := unsafe.Slice((*byte)(k), page)
		switch err := context.HostRegister(memory); {
		case errors.Is(err, driver.HostRegisteredAlready) != pinned || err != nil && !pinned:
			t.Errorf("with pinned: %v, pinning a page of the cache gave %v", pinned, err)
		case err == nil:
			if err := context.HostUnregister(memory); err != nil {
				t.Error(err)
			}
		}
		text.Release()
	}
}
