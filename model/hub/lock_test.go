package hub

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// TestAcquire checks that one holder at a time passes, and that a wait can be
// ended.
func TestAcquire(t *testing.T) {
	path := filepath.Join(t.TempDir(), "locks", "a.lock")
	waited := 0
	release, err := acquire(t.Context(), path, func() { waited++ })
	if err != nil || waited != 0 {
		t.Fatal(err, waited)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*lockPause)
	defer cancel()
	if _, err := acquire(ctx, path, func() { waited++ }); !errors.Is(err, context.DeadlineExceeded) || waited != 1 {
		t.Fatalf("the second got %v, and was told %d times that it waits", err, waited)
	}
	if err := release(); err != nil {
		t.Fatal(err)
	}

	var all sync.WaitGroup
	var mu sync.Mutex
	inside, most := 0, 0
	count := func(d int) {
		mu.Lock()
		defer mu.Unlock()
		inside += d
		most = max(most, inside)
	}
	for range 4 {
		all.Go(func() {
			release, err := acquire(t.Context(), path, func() {})
			if err != nil {
				t.Error(err)
				return
			}
			count(1)
			time.Sleep(10 * time.Millisecond)
			count(-1)
			if err := release(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if most != 1 {
		t.Errorf("%d held the lock at a time", most)
	}
}

// TestAcquireRemoved has another program remove the file while it is held: who
// waits for it then does not lock what nobody else can see.
func TestAcquireRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.lock")
	release, err := acquire(t.Context(), path, func() {})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Skipf("a file that is open cannot be removed here: %v", err)
	}
	second, err := acquire(t.Context(), path, func() {})
	if err != nil {
		t.Fatal(err)
	}
	if err := release(); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*lockPause)
	defer cancel()
	if _, err := acquire(ctx, path, func() {}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a third got %v", err)
	}
	if err := second(); err != nil {
		t.Error(err)
	}
}
