package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"headinfer/stages/queue/queuetest"
)

// TestTakenOver checks that a collector that is never idle learns of another one,
// and takes none of its answers.
func TestTakenOver(t *testing.T) {
	q := connect(t, queuetest.Start(t, 1).URL())
	run := begin(t, q, record("busy"))
	old, err := run.Collect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		for {
			r, err := old.Next(t.Context())
			if err == nil {
				err = r.Commit(t.Context())
			}
			if err != nil {
				ended <- err
				return
			}
		}
	}()
	second := begin(t, q, record("busy"))
	fresh, err := second.Collect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const many = 300 // more than a fetch
	w := work(t, run)
	for i := range many {
		submit(t, run, fmt.Sprint(i), nil)
		ticket := take(t, w)
		if err := ticket.Publish(t.Context(), ticket.ID, []byte(ticket.ID)); err != nil {
			t.Fatal(err)
		}
		ticket.Done(t.Context())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for i := range many {
		r, err := fresh.Next(ctx)
		if err != nil {
			t.Fatalf("after %d answers: %v", i, err)
		}
		if n, err := fresh.Pending(ctx); err != nil || n == 0 {
			t.Fatalf("an answer that is in hand does not count, %v", err)
		}
		if err := r.Commit(ctx); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case err := <-ended:
		if !errors.Is(err, ErrTakenOver) {
			t.Errorf("the old collector was told %v", err)
		}
	case <-ctx.Done():
		t.Error("the old collector was not told")
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

// TestGone removes what the server has of a run: nobody takes that for its end,
// or waits without a word.
func TestGone(t *testing.T) {
	q := connect(t, queuetest.Start(t, 1).URL())
	run := begin(t, q, record("gone"))
	w := work(t, run)
	c, err := run.Collect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := q.remove(t.Context(), run.Record); err != nil {
		t.Fatal(err)
	}
	if _, err := run.Submit(t.Context(), "a", nil); !errors.Is(err, ErrGone) {
		t.Errorf("submit: %v", err)
	}
	if _, err := c.Next(t.Context()); !errors.Is(err, ErrGone) {
		t.Errorf("collect: %v", err)
	}
	// Submitted again, the run goes on with the worker that waits.
	taken := make(chan error, 1)
	go func() {
		_, err := w.Take(t.Context())
		taken <- err
	}()
	submit(t, begin(t, q, record("gone")), "a", nil)
	if err := <-taken; err != nil {
		t.Errorf("work: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if err := q.js.DeleteKeyValue(t.Context(), bucket); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Take(t.Context()); !errors.Is(err, ErrNoRun) {
		t.Errorf("work without a record: %v", err)
	}
}

// TestEnd checks what becomes of a run whose submission was killed when it had
// written everything.
func TestEnd(t *testing.T) {
	q := connect(t, queuetest.Start(t, 1).URL())
	r := record("end")
	r.Variables = map[string]string{"A": "secret"}
	other := r
	other.Variables = nil
	run := begin(t, q, r)
	if err := q.End(t.Context(), other); err != nil {
		t.Error(err)
	}
	if now, err := q.Find(t.Context(), "end"); err != nil || now.Complete {
		t.Errorf("another run ended it: %+v, %v", now, err)
	}
	if err := q.End(t.Context(), r); err != nil {
		t.Error(err)
	}
	if now, err := q.Find(t.Context(), "end"); err != nil || !now.Complete || len(now.Variables) > 0 {
		t.Errorf("it was not ended, or keeps its variables: %+v, %v", now, err)
	}
	if err := run.make(t.Context()); err != nil { // as if it had been killed before they were removed
		t.Fatal(err)
	}
	begin(t, q, r)
	if _, err := q.js.Stream(t.Context(), run.workStream()); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("the stream of a run that is complete: %v", err)
	}
	if err := q.End(t.Context(), record("none")); err != nil {
		t.Error(err)
	}
	kv, err := q.store(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, revision := range []uint64{0, 1} {
		if err := q.put(t.Context(), kv, record("end"), revision); err == nil || !strings.Contains(err.Error(), "another headinfer submit has begun or ended") {
			t.Errorf("a record that has changed: %v", err)
		}
	}
}

// TestServerString checks that no password is shown, and that addresses are not
// taken for others.
func TestServerString(t *testing.T) {
	for _, c := range []struct {
		url, shown string
		readable   bool
	}{
		{"nats://10.0.0.5:4222", "nats://10.0.0.5:4222", true},
		{"a:4222, nats://b", "a:4222,nats://b", true},
		{"nats://u:s3cret@h:1,tls://s3cret@i", "nats://***@h:1,tls://***@i", true},
		{"u:s3cret@h:1", "***@h:1", true},
		{"nats://u:s%ss3cret@h:1", "nats://***@h:1", false},
		{"nats://u:s3/cret@h:1", "nats://***@h:1", false},
		{"nats://u:s3#cret@h:1", "nats://***@h:1", false},
		{"nats://s3cret#@h:1", "nats://***@h:1", false},
		{"nats://u:1/s3cret@h:1", "nats://***@h:1", false},
		{"nats://u:s3@cret@h:1", "nats://***@h:1", true},
	} {
		s := Server{URL: c.url}
		err := s.check()
		if s.String() != c.shown || (err == nil) != c.readable || err != nil && strings.Contains(err.Error(), "cret") {
			t.Errorf("%s is shown as %s, %v; expected %s", c.url, s, err, c.shown)
		}
	}
	if _, err := Connect(t.Context(), Server{URL: "nats://u:s%ss3cret@127.0.0.1:1"}, nil); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("an address that cannot be read: %v", err)
	}
}
