package stages

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"headinfer/kernels"
	"headinfer/kernels/cpu"
	"headinfer/kernels/cpu/simd"
)

// roundingProducts is a device that multiplies in bf16.
func roundingProducts(budget int64) (kernels.Device, error) {
	dev := cpu.Open(budget, 2)
	if err := dev.RoundProducts(); err != nil {
		return nil, errors.Join(err, dev.Close())
	}
	return dev, nil
}

// asTheyAre is a device that knows nothing of products.
type asTheyAre struct{ kernels.Device }

func (d asTheyAre) Info() kernels.Info {
	info := d.Device.Info()
	info.Products = 0
	return info
}

// TestProductsAsTheyAre has a device that says nothing of its products make an exact engine.
func TestProductsAsTheyAre(t *testing.T) {
	open := func(budget int64) (kernels.Device, error) { return asTheyAre{cpu.Open(budget, 2)}, nil }
	if lossy := openMethodOn(t, open, "chunked-prefill", tinyLlama).Report().Lossy; len(lossy) > 0 {
		t.Errorf("lossy: %q", lossy)
	}
}

// TestRoundedProducts compares a model in bf16 on a device that rounds with one that
// does not: a short pass is the same to the bit, a long one near, and the report says
// that it is not exact.
func TestRoundedProducts(t *testing.T) {
	if err := simd.CanPairs(); err != nil {
		t.Skip(err)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	const path = "random:tiny?dtype=bf16"
	logits := func(open opener, ids []int32, lossy bool) [][]float32 {
		e := openMethodOn(t, open, "chunked-prefill", path)
		if said := strings.Join(e.Report().Lossy, "; "); strings.Contains(said, "device.products=bf16") != lossy {
			t.Errorf("the report says that it loses %q", said)
		}
		text := admit(t, e)
		defer text.Release()
		got, err := text.Prefill(t.Context(), ids, 256, 0)
		if err != nil {
			t.Fatal(err)
		}
		return [][]float32{slices.Clone(got)}
	}
	for _, n := range []int{kernels.ExactRows, 200} {
		ids := make([]int32, n)
		for i := range ids {
			ids[i] = int32(r.IntN(250))
		}
		exact, rounded := logits(twoThreads, ids, false), logits(roundingProducts, ids, true)
		off := deviations(exact, rounded)
		t.Logf("%d tokens: %.4f standard deviations", n, off)
		if n <= kernels.ExactRows && off != 0 || n > kernels.ExactRows && !(off > 0 && off < 0.2) {
			t.Errorf("logits after %d tokens are %g standard deviations off", n, off)
		}
	}
}

// TestRoundedProductsAreAFact has a run that rounds told from one that does not.
func TestRoundedProductsAreAFact(t *testing.T) {
	facts := func(sets ...string) []string {
		all, err := Facts(load(t, "chunked-prefill", append(sets, "documents.files.paths=products_test.go")...))
		if err != nil {
			t.Fatal(err)
		}
		names := make([]string, len(all))
		for i, f := range all {
			names[i] = f.Name
		}
		return names
	}
	for _, fact := range []string{"device.products", "documents.chunked-prefill.chunk", "documents.chunked-prefill.batch"} {
		if slices.Contains(facts(), fact) || !slices.Contains(facts("device.products=bf16"), fact) {
			t.Errorf("%s: facts are %v, and %v where products are rounded", fact, facts(), facts("device.products=bf16"))
		}
	}
}
