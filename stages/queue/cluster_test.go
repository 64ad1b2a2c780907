package queue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"headinfer/stages/queue/queuetest"
)

// TestServerLost kills a server of three while documents go through.
func TestServerLost(t *testing.T) {
	if testing.Short() {
		t.Skip("a cluster takes some seconds to choose its leaders")
	}
	cluster := queuetest.Start(t, 3)
	q := connect(t, cluster.URL())
	begin(t, q, record("small")) // on one server, as is the list of runs then
	r := record("lost")
	r.Replicas, r.Deliveries = 3, 10
	run := begin(t, q, r)
	if s, err := q.js.Stream(t.Context(), "KV_"+bucket); err != nil || s.CachedInfo().Config.Replicas != 3 {
		t.Errorf("the list of runs has not as many copies as the run, %v", err)
	}
	const many = 200
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
	defer cancel()
	w, err := run.Work(ctx)
	if err != nil {
		t.Fatal(err)
	}
	working := make(chan error, 1)
	go func() {
		for {
			ticket, err := w.Take(ctx)
			if errors.Is(err, io.EOF) {
				working <- w.Close()
				return
			}
			if err == nil {
				err = ticket.Publish(ctx, ticket.ID, []byte(ticket.ID))
			}
			if err != nil {
				working <- err
				return
			}
			ticket.Done(ctx)
		}
	}()
	go func() {
		for i := range many {
			if i == many/3 {
				cluster.Kill(rand.IntN(3))
			}
			if _, err := run.Submit(ctx, fmt.Sprint(i), []byte("x")); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	c, err := run.Collect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for len(seen) < many {
		r, err := c.Next(ctx)
		if err != nil {
			t.Fatalf("after %d answers: %v", len(seen), err)
		}
		seen[string(r.Data)]++
		if err := r.Commit(ctx); err != nil {
			t.Fatal(err)
		}
	}
	// A server that is down takes no copy away.
	r.Replicas = 0
	if again, err := q.Create(ctx, r, false); err != nil || again.Replicas != 3 {
		t.Errorf("gone on with, the run has %d copies, %v", again.Replicas, err)
	}
	if err := run.Complete(ctx); err != nil {
		t.Error(err)
	}
	if err := <-working; err != nil {
		t.Error(err)
	}
	for id, n := range seen {
		if n > 1 {
			t.Logf("%s came %d times", id, n) // within what is promised: the collector's outputs refuse it
		}
	}
}

// BenchmarkDocument takes short documents through the queue: submitted, taken,
// answered and collected, with everything on this machine.
func BenchmarkDocument(b *testing.B) {
	for _, servers := range []int{1, 3} {
		b.Run(fmt.Sprintf("servers=%d", servers), func(b *testing.B) {
			q, err := Connect(b.Context(), Server{URL: queuetest.Start(b, servers).URL()}, nil)
			if err != nil {
				b.Fatal(err)
			}
			r := record("bench")
			r.Replicas, r.AckWait = servers, time.Minute
			run, err := q.Create(b.Context(), r, false)
			if err != nil {
				b.Fatal(err)
			}
			w, err := run.Work(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			c, err := run.Collect(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			text := make([]byte, 2000)
			b.ResetTimer()
			go func() {
				atOnce(64, b.N, func(i int) {
					if _, err := run.Submit(b.Context(), fmt.Sprint(i), text); err != nil {
						b.Error(err)
					}
				})
			}()
			go func() {
				var lock sync.Mutex
				atOnce(64, b.N, func(int) {
					lock.Lock() // a worker takes one after another
					ticket, err := w.Take(b.Context())
					lock.Unlock()
					if err == nil {
						err = ticket.Publish(b.Context(), ticket.ID, text[:200])
					}
					if err != nil {
						b.Error(err)
						return
					}
					ticket.Done(b.Context())
				})
			}()
			for range b.N {
				result, err := c.Next(b.Context())
				if err == nil {
					err = result.Commit(b.Context())
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "documents/s")
			if err := errors.Join(w.Close(), run.Complete(b.Context()), q.Close()); err != nil {
				b.Error(err)
			}
		})
	}
}

// atOnce calls f for each of n numbers, some at a time.
func atOnce(some, n int, f func(i int)) {
	var all sync.WaitGroup
	places := make(chan struct{}, some)
	for i := range n {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			f(i)
		})
	}
	all.Wait()
}
