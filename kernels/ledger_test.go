package kernels_test

import (
	"errors"
	"testing"

	"headinfer/kernels"
)

// TestLedgerPeak follows a peak over its reset: what is held counts on, what
// was given back does not.
func TestLedgerPeak(t *testing.T) {
	l := kernels.NewLedger(100)
	take := func(bytes int64, p kernels.Purpose) {
		t.Helper()
		if err := l.Take(bytes, p, "test"); err != nil {
			t.Fatal(err)
		}
	}
	want := func(peak, weights, kv, activations int64) {
		t.Helper()
		u := l.Usage()
		if u.Peak != peak || u.AtPeak[kernels.Weights] != weights || u.AtPeak[kernels.KVCache] != kv || u.AtPeak[kernels.Activations] != activations {
			t.Errorf("peak %d, %v; want %d of weights %d, kv %d, activations %d", u.Peak, u.AtPeak, peak, weights, kv, activations)
		}
	}
	take(30, kernels.Weights)
	take(50, kernels.KVCache)
	l.Give(50, kernels.KVCache)
	want(80, 30, 50, 0)
	l.ResetPeak()
	want(30, 30, 0, 0)
	take(20, kernels.Activations)
	want(50, 30, 0, 20)
	l.Give(20, kernels.Activations)
	take(10, kernels.KVCache)
	want(50, 30, 0, 20)

	var short *kernels.BudgetError
	if err := l.Take(61, kernels.Workspace, "too much"); !errors.As(err, &short) || short.Left != 60 {
		t.Errorf("61 of 60 that are left: %v", err)
	}
	want(50, 30, 0, 20)
	if err := l.Take(-1, kernels.Workspace, "less than nothing"); err == nil || errors.Is(err, kernels.ErrBudget) {
		t.Errorf("-1 bytes: %v", err)
	}
}
