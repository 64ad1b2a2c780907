package queue

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"headinfer/stages/queue/queuetest"
)

// TestHeld checks that a document stays with a worker that lives, goes on to
// another when it does not, and is given up when too many died with it: those that
// gave it back do not count.
func TestHeld(t *testing.T) {
	q := connect(t, queuetest.Start(t, 1).URL())
	run := begin(t, q, record("held"))
	submit(t, run, "a", []byte("x"))
	dead, live := work(t, run), work(t, run)
	take(t, dead)
	dead.stop() // as if it were killed: nothing is heard of it any more
	dead.beating.Wait()
	start := time.Now()
	if ticket := take(t, live); ticket.ID != "a" || ticket.Err != nil {
		t.Fatalf("taken: %+v", ticket)
	}
	if took := time.Since(start); took > 8*time.Second {
		t.Errorf("a dead worker's document came after %v", took)
	}
	// Three times as long as the server waits.
	ctx, cancel := context.WithTimeout(t.Context(), 3*run.AckWait)
	defer cancel()
	third := work(t, run)
	if ticket, err := third.Take(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a document that is held was given to another: %+v, %v", ticket, err)
	}
	if err := live.Close(); err != nil { // gives it back
		t.Error(err)
	}
	for range 3 {
		if ticket := take(t, third); ticket.Err != nil {
			t.Fatalf("after one death: %v", ticket.Err)
		}
		if err := third.Close(); err != nil {
			t.Error(err)
		}
		third = work(t, run)
	}
	take(t, third)
	third.stop()
	third.beating.Wait()
	last := work(t, run)
	if ticket := take(t, last); ticket.Err == nil || !strings.Contains(ticket.Err.Error(), "given to a worker 2 times") {
		t.Fatalf("after two deaths: %+v", ticket)
	}
	if err := last.Close(); err != nil {
		t.Error(err)
	}
}

// TestReplace checks that a worker that is given again what it has, as one that
// was cut off for a while is, does not bring the document nearer to its end.
func TestReplace(t *testing.T) {
	q := connect(t, queuetest.Start(t, 1).URL())
	run := begin(t, q, record("replace"))
	submit(t, run, "a", []byte("x"))
	w := work(t, run)
	w.stop() // nothing is heard of it
	w.beating.Wait()
	first := take(t, w)
	for range 3 {
		again := take(t, w)
		if again.Err != nil {
			t.Fatal(again.Err)
		}
		first.Replace(t.Context(), again)
		if len(w.held) != 1 {
			t.Fatalf("%d documents are held, and one was given", len(w.held))
		}
	}
	if err := first.Publish(t.Context(), "a", nil); err != nil {
		t.Fatal(err)
	}
	first.Done(t.Context())
	if n, err := run.Documents(t.Context()); err != nil || n != 0 {
		t.Errorf("%d documents are left, %v", n, err)
	}
}

// TestAckWaitChanged checks that a run that goes on keeps what it was not asked to
// change, and that workers see what it was.
func TestAckWaitChanged(t *testing.T) {
	q := connect(t, queuetest.Start(t, 1).URL())
	r := record("changed")
	r.AckWait = 6 * time.Second
	run := begin(t, q, r)
	submit(t, run, "a", []byte("x"))
	w, other := work(t, run), work(t, run)
	take(t, w)
	r.AckWait, r.Deliveries, r.Replicas = 0, 0, 0
	if same := begin(t, q, r); same.AckWait != 6*time.Second || same.Deliveries != 2 || same.Replicas != 1 || same.Created.IsZero() || same.Created != run.Created {
		t.Errorf("kept: %+v", same.Record)
	}
	r.AckWait = time.Second
	begin(t, q, r)
	// The old worker beats every two seconds until it knows; another may get the
	// document once before, and then it stays where it is.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	given := 0
	for {
		ticket, err := other.Take(ctx)
		if err != nil {
			break
		}
		if given++; ticket.Err != nil {
			t.Fatal(ticket.Err)
		}
	}
	if given > 1 {
		t.Errorf("a document that is held was given out %d times more", given)
	}
	if now := w.record.Load().AckWait; now != time.Second {
		t.Errorf("the worker says that it lives as if it were for %v", now)
	}
	for _, w := range []*Worker{w, other} {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestAnswerLostOnTheWay takes an answer from the server that the collector never
// sees, as a server can that dies while it sends: the answer comes again, counts
// until then, and one that is held comes once.
func TestAnswerLostOnTheWay(t *testing.T) {
	q := connect(t, queuetest.Start(t, 1).URL())
	run := begin(t, q, record("way"))
	w := work(t, run)
	for _, id := range []string{"lost", "held"} {
		submit(t, run, id, nil)
		ticket := take(t, w)
		if err := ticket.Publish(t.Context(), id, []byte(id)); err != nil {
			t.Fatal(err)
		}
		ticket.Done(t.Context())
	}
	c, err := run.Collect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	batch, err := c.consumer.Fetch(1)
	if err != nil {
		t.Fatal(err)
	}
	if msg := <-batch.Messages(); msg == nil || string(msg.Data()) != "lost" {
		t.Fatalf("the first answer is %v, %v", msg, batch.Error())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var results []*Result
	for _, expected := range []string{"held", "lost"} {
		if n, err := c.Pending(ctx); err != nil || n != 2 {
			t.Errorf("%d answers are pending, and 2 were expected, %v", n, err)
		}
		r, err := c.Next(ctx)
		if err != nil || string(r.Data) != expected {
			t.Fatalf("collected %+v and not %q, %v", r, expected, err)
		}
		results = append(results, r)
	}
	quiet, cancel := context.WithTimeout(ctx, 4*run.AckWait)
	defer cancel()
	if r, err := c.Next(quiet); err == nil {
		t.Errorf("%q, which is held, came again", r.Data)
	}
	for _, r := range results {
		if err := r.Commit(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for { // acknowledgements are on their way
		n, err := c.Pending(ctx)
		if err != nil {
			t.Fatalf("after they were committed %d are pending: %v", n, err)
		}
		if n == 0 {
			break
		}
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}
