package stages

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"headinfer/kernels"
	"headinfer/model"
)

// TestAFailedPassEndsTheEngine cancels a prefill and checks that the engine
// says so afterwards, and closes.
func TestAFailedPassEndsTheEngine(t *testing.T) {
	e := openMethod(t, "headinfer-1", tinyLlama)
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	e.Observer = observer(func(done int) {
		if done >= 100 {
			cancel(stop)
		}
	})
	text := admit(t, e)
	if _, err := text.Prefill(ctx, make([]int32, 1000), 50, 0); !errors.Is(err, stop) {
		t.Fatalf("a cancelled prefill gave %v", err)
	}
	text.Release()
	next := admit(t, e)
	defer next.Release()
	if _, err := next.Prefill(t.Context(), make([]int32, 10), 5, 0); !errors.Is(err, errAborted) {
		t.Fatalf("after it, a healthy prefill gave %v", err)
	}
}

type observer func(done int)

func (f observer) Prefill(_ string, done, _ int) { f(done) }
func (observer) Text(string, string)             {}

// TestARefusedPassDoesNotEndTheEngine has the ring refused before anything was
// enqueued: a shorter text goes on.
func TestARefusedPassDoesNotEndTheEngine(t *testing.T) {
	probe := openMethod(t, "headinfer-1", tinyLlama)
	greedy(t, probe, make([]int32, 64), 1, 64)
	e := openMethod(t, "layer-wise", tinyLlama, "device.memory="+roomFor(probe, 200))
	long := admit(t, e)
	if _, err := long.Prefill(t.Context(), make([]int32, 1500), 64, 0); !errors.Is(err, kernels.ErrBudget) {
		t.Fatalf("a text whose ring does not fit gave %v", err)
	}
	long.Release()
	greedy(t, e, make([]int32, 100), 5, 64)
}

// roomFor is a budget with place for a ring over some tokens, all heads, beside
// what an engine holds now.
func roomFor(e *Engine, tokens int) string {
	u, m := e.Device.Ledger().Usage(), PlanModel(e)
	fixed := u.Now[kernels.Weights] + u.Now[kernels.Activations] + u.Now[kernels.Workspace]
	return fmt.Sprint(fixed + 2*int64(m.KVHeads)*int64(tokens)*m.TokenKV())
}

// TestAPanicInAPassIsAnErrorOfTheRun lets the device panic on the host's side
// of a pass, as a binding to a driver may: nothing hangs, and closing works.
func TestAPanicInAPassIsAnErrorOfTheRun(t *testing.T) {
	e := openMethod(t, "headinfer-1", tinyLlama)
	text := admit(t, e)
	if _, err := text.Prefill(t.Context(), make([]int32, 50), 10, 50); err != nil {
		t.Fatal(err)
	}
	real := e.decoder
	broken, err := model.NewDecoder(e.Checkpoint, panicking{e.Device}, e.loop, e.timeline)
	if err != nil {
		t.Fatal(err)
	}
	e.decoder = broken
	func() {
		defer func() {
			if recover() == nil {
				t.Error("nothing panicked")
			}
		}()
		_, err := text.Step(t.Context(), 1)
		t.Errorf("a step on a broken device gave %v", err)
	}()
	text.Release()
	broken.Close()
	e.decoder = real
}

// panicking is a device whose feed-forward panics while it is enqueued.
type panicking struct{ kernels.Device }

func (panicking) GLU(kernels.Stream, kernels.Tensor, kernels.Tensor, kernels.Activation) {
	panic("the binding is broken")
}

// TestTwoSegmentsOfOneSequenceAreRefused guards the cache against two writers.
func TestTwoSegmentsOfOneSequenceAreRefused(t *testing.T) {
	e := openMethod(t, "standard", tinyLlama)
	text := admit(t, e)
	defer text.Release()
	if err := e.reserve(text, 10, 10); err != nil {
		t.Fatal(err)
	}
	if err := e.decoder.Grow(10, 2); err != nil {
		t.Fatal(err)
	}
	segment := model.Segment{Sequence: text.Sequence, Tokens: []int32{1, 2}}
	if _, err := e.decoder.Forward(t.Context(), []model.Segment{segment, segment}, true); err == nil {
		t.Fatal("two writers of one sequence went through")
	}
	if n := text.Sequence.Tokens(); n != 0 {
		t.Fatalf("the sequence holds %d tokens", n)
	}
}
