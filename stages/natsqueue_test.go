package stages

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"headinfer/graph"
	"headinfer/stages/queue"
	"headinfer/stages/queue/queuetest"
)

// The servers of a test are this binary, started once more.
func init() { queuetest.Serve() }

// progressOf is what a test says is done.
type progressOf map[string]bool

func (p progressOf) Done(id string) bool { return p[id] }

// letters counts the dead letters of a submission.
func letters(e *Engine, depth int) (*Submission, *[]string) {
	var dead []string
	return NewSubmission(e, &queue.Run{}, SubmissionOptions{Depth: depth, Dead: func(_ string, e *graph.DocumentError) { dead = append(dead, e.ID) }}), &dead
}

// lost is the dead letter of a document as a whole.
func lost(id string, keys ...string) *parcel {
	return &parcel{sentAnswer: sentAnswer{Document: id, Key: id, Keys: keys, Reason: "it is a test"}}
}

// TestWholeDeadLetters gives a submission the dead letters of documents with several
// questions, before and after the documents themselves.
func TestWholeDeadLetters(t *testing.T) {
	asked := func(id string) *Document { return &Document{ID: id, Questions: []string{"?", "??"}} }
	admit := func(s *Submission, d *Document) *pending {
		t.Helper()
		_, p, err := s.admit(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, keys := range [][]string{nil, {"d#1", "d#2"}} {
		s, dead := letters(&Engine{}, 9)
		for range 2 { // the second is of no use
			if a, fresh := s.accept(lost("d", keys...)); a != nil || fresh {
				t.Errorf("a dead letter was taken for an answer: %v", a)
			}
		}
		if p := admit(s, asked("d")); p != nil || len(s.pending) > 0 {
			t.Errorf("a document that failed is waited for: %+v", s.pending)
		}
		if !slices.Equal(*dead, []string{"d"}) {
			t.Errorf("dead letters: %q", *dead)
		}
	}
	// Its answers are there.
	s, dead := letters(&Engine{Run: progressOf{"d#1": true, "d#2": true}}, 9)
	s.accept(lost("d", "d#1", "d#2"))
	if len(*dead) > 0 {
		t.Errorf("a document with all answers is in the dead letters")
	}
	// One of them is, and the other is not.
	s, dead = letters(&Engine{Run: progressOf{"d#2": true, "e#1": true}}, 9)
	s.accept(lost("d", "d#1", "d#2"))
	admit(s, asked("e"))
	s.accept(lost("e"))
	s.accept(lost("e"))
	if !slices.Equal(*dead, []string{"d", "e"}) || len(s.pending) > 0 {
		t.Errorf("dead letters: %q, pending %+v", *dead, s.pending)
	}
}

// TestSubmittedTwice checks that ids are looked at when they come, whatever has
// become of the documents before, and with them those of answers.
func TestSubmittedTwice(t *testing.T) {
	done := progressOf{}
	s, _ := letters(&Engine{Run: done}, 9)
	for _, c := range []struct {
		id        string
		questions []string
		refused   bool
	}{{"a", []string{"?"}, false}, {"a#1", nil, true}, {"b#2", nil, false}, {"b", []string{"?", "?"}, true}, {"c", nil, false}, {"c", nil, true}, {"a", nil, true}} {
		_, _, err := s.admit(t.Context(), &Document{ID: c.id, Questions: c.questions})
		if refused, ok := errors.AsType[*graph.DocumentError](err); ok != c.refused || err != nil && !errors.Is(refused, errSameID) {
			t.Errorf("%s: %v", c.id, err)
		}
		done[c.id], s.pending = true, map[string]*pending{} // as if it had been answered at once
	}
}

// TestAdmitEnds checks that a document which waits for room does not outlast the
// part that gave it.
func TestAdmitEnds(t *testing.T) {
	s, _ := letters(&Engine{}, 1)
	if _, _, err := s.admit(t.Context(), &Document{ID: "a"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error)
	go func() {
		_, _, err := s.admit(ctx, &Document{ID: "b"})
		ended <- err
	}()
	time.Sleep(20 * time.Millisecond)
	failed := errors.New("a stage failed")
	cancel(failed)
	select {
	case err := <-ended:
		if !errors.Is(err, failed) {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it still waits")
	}
}

// queued is a run on a server of its own, with a worker.
func queued(t *testing.T) (*queue.Queue, *queue.Run, *queue.Worker) {
	t.Helper()
	q, err := queue.Connect(t.Context(), queue.Server{URL: queuetest.Start(t, 1).URL()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	run, err := q.Create(t.Context(), queue.Record{Name: "r"}, false)
	if err != nil {
		t.Fatal(err)
	}
	w, err := run.Work(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return q, run, w
}

// TestJoinsAsItEnds: a worker that has read a run's record before it ended, and asks for
// its streams after, is told that it is complete.
func TestJoinsAsItEnds(t *testing.T) {
	q, run, w := queued(t)
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	record := run.Record
	late, err := join(t.Context(), q, record)
	if err != nil {
		t.Fatal(err)
	}
	if err := late.Close(); err != nil {
		t.Error(err)
	}
	if err := run.Complete(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := join(t.Context(), q, record); !errors.Is(err, queue.ErrComplete) {
		t.Errorf("joining after the end: %v", err)
	}
	record.Name = "another"
	if _, err := join(t.Context(), q, record); !errors.Is(err, queue.ErrNoRun) {
		t.Errorf("joining a run that never was: %v", err)
	}
	if err := q.Close(); err != nil {
		t.Error(err)
	}
}

// TestCollected answers documents by hand: without a journal each answer is given
// to the outputs once while the submission lives, and a document that the server has
// lost is missed though the source has not ended.
func TestCollected(t *testing.T) {
	if testing.Short() {
		t.Skip("a document is missed after some ten seconds")
	}
	_, run, w := queued(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	s := NewSubmission(&Engine{}, run, SubmissionOptions{Depth: 9, Dead: func(string, *graph.DocumentError) {}})
	s.ctx, s.fatal = ctx, cancel
	answers, ended := make(chan string, 9), make(chan error, 1)
	go func() {
		ended <- s.Collect(ctx, func(a *Answer) error {
			answers <- a.ID
			return nil
		})
	}()
	for i := range 2 {
		if err := s.Submit(ctx, &Document{ID: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
		ticket, err := w.Take(ctx)
		if err != nil {
			t.Fatal(err)
		}
		data, err := sentAnswer{Document: "0", Key: "0", Answer: &Answer{ID: "0"}}.encode()
		if err != nil {
			t.Fatal(err)
		}
		if err := ticket.Publish(ctx, fmt.Sprint("again ", i), data); err != nil {
			t.Fatal(err)
		}
		ticket.Done(ctx) // the second without an answer of its own
		time.Sleep(4 * settleEvery)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, errLost) {
			t.Errorf("a lost document: %v", err)
		}
	case <-time.After(40 * time.Second):
		t.Error("a lost document is waited for")
	}
	if len(answers) != 1 {
		t.Errorf("%d answers were given to the outputs, and 1 was expected", len(answers))
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

// TestDeskBreaks checks that a worker which cannot give an answer back takes no
// more documents.
func TestDeskBreaks(t *testing.T) {
	q, run, w := queued(t)
	d := newDesk(&readNATSOptions{InFlight: 4, Text: 1 << 20}, q, w)
	ended := make(chan error)
	go func() {
		_, err := d.next(t.Context())
		ended <- err
	}()
	time.Sleep(50 * time.Millisecond)
	failed := errors.New("the server said no")
	d.sent(nil, "a", failed)
	select {
	case err := <-ended:
		if !errors.Is(err, failed) {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it takes documents all the same")
	}
	d.users++ // so that the queue stays open
	if err := (&toNATS{d}).Close(); !errors.Is(err, failed) {
		t.Errorf("an answer that was not sent, at the end: %v", err)
	}
	// Two documents that would have the same answers do not end it.
	d = newDesk(d.options, q, w)
	for _, sent := range []sentDocument{{Document: &Document{ID: "a", Questions: []string{"?", "?"}}}, {Document: &Document{ID: "a#2"}}} {
		data, err := sent.encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := run.Submit(t.Context(), sent.ID, data); err != nil {
			t.Fatal(err)
		}
	}
	if doc, err := d.next(t.Context()); err != nil || doc.ID != "a" {
		t.Fatalf("%+v, %v", doc, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	if doc, err := d.next(ctx); err == nil {
		t.Errorf("%q was taken beside a document with an answer of that id", doc.ID)
	}
	c, err := run.Collect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if a, err := decodeAnswer(r.Data); err != nil || a.Key != "a#2" || a.Answer != nil || !slices.Equal(a.Keys, []string{"a#2"}) {
		t.Errorf("given back: %+v, %v", a, err)
	}
	if err := d.close(); err != nil {
		t.Error(err)
	}
}
