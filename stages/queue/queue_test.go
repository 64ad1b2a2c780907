package queue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"headinfer/stages/queue/queuetest"
)

func TestMain(m *testing.M) {
	queuetest.Serve()
	os.Exit(m.Run())
}

func connect(t *testing.T, url string) *Queue {
	t.Helper()
	q, err := Connect(t.Context(), Server{URL: url}, func(what string, err error) { t.Logf("still trying: %s: %v", what, err) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	})
	return q
}

func record(name string) Record {
	return Record{Name: name, Pipeline: "p", Model: "m", Replicas: 1, AckWait: time.Second, Deliveries: 2}
}

func begin(t *testing.T, q *Queue, r Record) *Run {
	t.Helper()
	run, err := q.Create(t.Context(), r, false)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

func submit(t *testing.T, r *Run, id string, data []byte) bool {
	t.Helper()
	there, err := r.Submit(t.Context(), id, data)
	if err != nil {
		t.Fatal(err)
	}
	return there
}

func work(t *testing.T, r *Run) *Worker {
	t.Helper()
	w, err := r.Work(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func take(t *testing.T, w *Worker) *Ticket {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ticket, err := w.Take(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return ticket
}

// TestOnce checks that a document is in the queue once, whoever submits it, and
// that it can be submitted anew when it is done.
func TestOnce(t *testing.T) {
	q := connect(t, queuetest.Start(t, 1).URL())
	run := begin(t, q, record("once"))
	id := "d/ü ä\n#1" // no subject's word
	if submit(t, run, id, []byte("text")) {
		t.Error("a new document was there")
	}
	if !submit(t, run, id, []byte("text")) {
		t.Error("the same document was put in twice")
	}
	second := begin(t, q, record("once"))
	if second.ID != run.ID {
		t.Fatalf("a run that goes on has the id %s, and %s before", second.ID, run.ID)
	}
	if !submit(t, second, id, []byte("text")) {
		t.Error("another submission put it in twice")
	}
	w := work(t, run)
	ticket := take(t, w)
	if ticket.ID != id || string(ticket.Data) != "text" || ticket.Err != nil {
		t.Fatalf("taken: %+v", ticket)
	}
	if !submit(t, second, id, []byte("text")) {
		t.Error("a document that is held was put in twice")
	}
	for range 2 { // the second is a duplicate
		if err := ticket.Publish(t.Context(), id, []byte("answer")); err != nil {
			t.Fatal(err)
		}
	}
	ticket.Done(t.Context())
	if submit(t, second, id, []byte("text")) {
		t.Error("a document that is done cannot be submitted again")
	}
	c, err := second.Collect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if c.Waiting != 1 {
		t.Errorf("%d answers wait, and 1 was expected", c.Waiting)
	}
	if r, err := c.Next(t.Context()); err != nil || string(r.Data) != "answer" {
		t.Fatalf("collected %v, %v", r, err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

// TestCollectAgain checks that a new collector gets what the old one did not
// commit, at once, and that the old one is told.
func TestCollectAgain(t *testing.T) {
	q := connect(t, queuetest.Start(t, 1).URL())
	run := begin(t, q, record("collect"))
	for i := range 3 {
		submit(t, run, fmt.Sprint(i), nil)
	}
	w := work(t, run)
	for range 3 {
		ticket := take(t, w)
		if err := ticket.Publish(t.Context(), ticket.ID, []byte(ticket.ID)); err != nil {
			t.Fatal(err)
		}
		ticket.Done(t.Context())
	}
	old, err := run.Collect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first, err := old.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := old.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := begin(t, q, record("collect"))
	start := time.Now()
	now, err := second.Collect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for range 2 {
		r, err := now.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got += string(r.Data)
	}
	if got != "12" {
		t.Errorf("the new collector got %q, and 1 and 2 were expected", got)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("it got them after %v", took)
	}
	for {
		if _, err = old.Next(t.Context()); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrTakenOver) {
		t.Errorf("the old collector was told %v", err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

// TestLarge checks texts that do not fit into a message.
func TestLarge(t *testing.T) {
	q := connect(t, queuetest.Start(t, 1).URL())
	run := begin(t, q, record("large"))
	big := make([]byte, 3<<20+1)
	for i := range big {
		big[i] = byte(rand.Uint32())
	}
	submit(t, run, "big", big)
	submit(t, run, "big", big)
	w := work(t, run)
	ticket := take(t, w)
	if string(ticket.Data) != string(big) {
		t.Fatalf("%d bytes of %d came, or others", len(ticket.Data), len(big))
	}
	if err := ticket.Publish(t.Context(), "big", big); err != nil {
		t.Fatal(err)
	}
	ticket.Done(t.Context())
	run.Forget(t.Context(), "big", len(big))
	c, err := run.Collect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Next(t.Context())
	if err != nil || string(r.Data) != string(big) {
		t.Fatalf("%v: another answer came", err)
	}
	if err := r.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left, err := run.objects.List(t.Context()); len(left) != 0 {
		t.Errorf("%d objects are left, %v", len(left), err)
	}
	// One whose object is gone is a dead letter, not the end of the worker.
	submit(t, run, "lost", big)
	run.Forget(t.Context(), "lost", len(big))
	if ticket := take(t, w); ticket.ID != "lost" || ticket.Err == nil {
		t.Errorf("taken: %+v", ticket)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

// TestRecord checks what a run may go on with, and how it ends.
func TestRecord(t *testing.T) {
	q := connect(t, queuetest.Start(t, 1).URL())
	if all, err := q.Runs(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("at first there are %v, %v", all, err)
	}
	if _, err := q.Find(t.Context(), "r"); !errors.Is(err, ErrNoRun) {
		t.Errorf("no run: %v", err)
	}
	run := begin(t, q, record("r"))
	other := record("r")
	other.Model, other.Sets = "n", []string{"a=b"}
	_, err := q.Create(t.Context(), other, false)
	if changed, ok := errors.AsType[*ChangedError](err); !ok || fmt.Sprint(changed.What) != "[--set the model]" {
		t.Errorf("another model: %v", err)
	}
	submit(t, run, "a", nil)
	anew, err := q.Create(t.Context(), other, true)
	if err != nil || anew.ID == run.ID {
		t.Fatalf("anew: %v, id %s", err, anew.ID)
	}
	if n, err := anew.Documents(t.Context()); err != nil || n != 0 {
		t.Errorf("a run begun anew has %d documents, %v", n, err)
	}
	w := work(t, anew)
	submit(t, anew, "late", nil)
	late := take(t, w)
	if err := run.Complete(t.Context()); err != nil {
		t.Error(err)
	}
	if now, err := q.Find(t.Context(), "r"); err != nil || now.Complete {
		t.Errorf("the old run ended the new one: %+v, %v", now, err)
	}
	if err := anew.Complete(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := late.Publish(t.Context(), "late", nil); err != nil {
		t.Errorf("an answer that came after the end: %v", err)
	}
	if _, err := w.Take(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("a worker of a complete run: %v", err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if all, err := q.Runs(t.Context()); err != nil || len(all) != 1 || !all[0].Complete {
		t.Errorf("at last there are %+v, %v", all, err)
	}
	bad := record("r")
	bad.Name = "a b"
	if _, err := q.Create(t.Context(), bad, false); err == nil {
		t.Error("a name with a space was taken")
	}
	if three := record("three"); true {
		three.Replicas = 3
		if _, err := q.Create(t.Context(), three, false); err == nil || !strings.Contains(err.Error(), "1 replica") {
			t.Errorf("three replicas on one server: %v", err)
		}
	}
}
