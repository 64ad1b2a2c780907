package cpu

import (
	"sync/atomic"
	"testing"
	"time"
)

// TestPoolRunsEachOnce: whatever the loop is cut into, every index comes once, and no
// two at a time in the name of one worker.
func TestPoolRunsEachOnce(t *testing.T) {
	const workers = 3
	p := newPool(workers)
	defer p.close()
	for name, divide := range map[string]func(int, func(worker, i int)){"run": p.run, "spread": p.spread} {
		for _, n := range []int{0, 1, 2, 3, 4, 7, 64, 1000} {
			seen := make([]atomic.Int32, n)
			var busy [workers]atomic.Bool
			divide(n, func(worker, i int) {
				if busy[worker].Swap(true) {
					t.Errorf("%s of %d: worker %d was at work when it got %d", name, n, worker, i)
				}
				seen[i].Add(1)
				if i == 0 {
					time.Sleep(time.Millisecond) // the others help with what is left of a span
				}
				busy[worker].Store(false)
			})
			for i := range seen {
				if c := seen[i].Load(); c != 1 {
					t.Errorf("%s of %d: %d came %d times", name, n, i, c)
				}
			}
		}
		func() {
			defer func() {
				if got := recover(); got != "trap" {
					t.Errorf("%s: a panic in it gave %v", name, got)
				}
			}()
			divide(10, func(_, i int) {
				if i == 5 {
					panic("trap")
				}
			})
		}()
	}
	time.Sleep(4 * awake) // until workers sleep
	woken := make(chan struct{}, 8)
	p.spread(8, func(int, int) { woken <- struct{}{} })
	if len(woken) != 8 {
		t.Errorf("%d of 8 after a rest", len(woken))
	}
}
