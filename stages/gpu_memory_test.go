//go:build cuda

package stages

import (
	"testing"
)

// TestGPUMeasuredEqualsPlan compares plan's formulas with what the device's
// ledger counted for every method, to the byte.
func TestGPUMeasuredEqualsPlan(t *testing.T) {
	planPredictsTheLedger(t, onGPU(t), randomTiny)
}

// TestGPUMemoryComesBack opens and closes an engine again and again beside a
// device that stays open: by the driver's own count, what an engine takes is
// what its ledger says, and after the first time nothing more is kept.
func TestGPUMemoryComesBack(t *testing.T) {
	open := onGPU(t)
	// What the driver keeps to serve small pieces from, and its granularity.
	const leeway = 8 << 20
	watch, err := open(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := watch.Close(); err != nil {
			t.Error(err)
		}
	}()
	before := watch.InUse()
	var after int64
	for round := range 4 {
		held, counted := int64(0), int64(0)
		t.Run("", func(t *testing.T) {
			e := openMethodOn(t, open, "headinfer-2", randomTiny)
			text := admit(t, e)
			defer text.Release()
			if _, err := text.Prefill(t.Context(), make([]int32, 5000), 1000, 0); err != nil {
				t.Fatal(err)
			}
			held, counted = watch.InUse(), e.Device.Ledger().Usage().Used
		})
		now := watch.InUse()
		if round == 0 {
			after = now
			t.Logf("in use: %d bytes before, %d with an engine, %d after it (its libraries are the difference)", before, held, now)
			continue
		}
		t.Logf("round %d: the driver counts %d bytes more with an engine than without, its ledger %d; %d are left of the first round's", round, held-now, counted, now-after)
		if now > after+leeway {
			t.Errorf("round %d: %d bytes are in use after closing, %d after the first round", round, now, after)
		}
		if now > 0 && held-now < counted-leeway {
			t.Errorf("round %d: the ledger counts %d bytes, and the driver only %d", round, counted, held-now)
		}
	}
}
