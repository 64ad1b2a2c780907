package stages

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"headinfer/graph"
	"headinfer/stages/queue"
)

// desk is where a worker keeps what it has taken from a queue until the answers
// are back. read-nats opens it and nats gives the answers in; documents are
// found by the ids of their answers, in whatever order these come.
type desk struct {
	options *readNATSOptions
	queue   *queue.Queue
	worker  *queue.Worker
	machine string

	mu     sync.Mutex
	change *sync.Cond
	docs   map[string]*held // by id
	open   map[string]*held // by the id of an answer that is still to come
	bytes  int              // of all texts held
	failed error
	// broken ends when an answer could not be given back, and with it what is taken;
	// parted ends some seconds after the desk is closed, and with it what is sent.
	broken, parted context.Context
	breakOff, part context.CancelCauseFunc
	users          int // of read-nats and nats, those that have not closed it

	sending chan struct{} // has a place for each answer on its way
	sends   sync.WaitGroup
}

// held is a document that a worker has taken.
type held struct {
	sentDocument
	ticket *queue.Ticket
	index  map[string]int64 // the places of the answers that are still to come
	left   int              // answers that the server has not confirmed
	size   int
}

const (
	// sendsAtOnce is how many answers may be on their way to the server.
	sendsAtOnce = 64
	// partingSends is how long answers may take when the run has been interrupted,
	// or has failed.
	partingSends = 5 * time.Second
)

func newDesk(o *readNATSOptions, q *queue.Queue, w *queue.Worker) *desk {
	d := &desk{
		options: o, queue: q, worker: w, docs: map[string]*held{}, open: map[string]*held{},
		users: 1, sending: make(chan struct{}, sendsAtOnce),
	}
	d.change = sync.NewCond(&d.mu)
	d.broken, d.breakOff = context.WithCancelCause(context.Background())
	d.parted, d.part = context.WithCancelCause(context.Background())
	if name, err := os.Hostname(); err == nil {
		d.machine = name
	}
	return d
}

// next takes a document when there is room for one. io.EOF is the end of the run.
func (d *desk) next(ctx context.Context) (*Document, error) {
	taking, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(d.broken, func() { cancel(context.Cause(d.broken)) })()
	defer context.AfterFunc(taking, func() {
		d.mu.Lock() // or it would come between a look at ctx and the wait
		defer d.mu.Unlock()
		d.change.Broadcast()
	})()
	for {
		if err := d.room(taking); err != nil {
			return nil, err
		}
		ticket, err := d.worker.Take(taking)
		if err != nil {
			return nil, err
		}
		if d.has(ctx, ticket) {
			continue
		}
		var sent sentDocument
		if ticket.Err == nil || ticket.Data != nil {
			sent, err = decodeDocument(ticket.Data)
		}
		if ticket.Err != nil {
			err = ticket.Err
		}
		if err == nil {
			err = d.hold(ticket, sent)
		}
		if err == nil {
			return sent.Document, nil
		}
		letter := sentAnswer{Document: ticket.ID, Key: ticket.ID, Stage: "queue", Reason: err.Error()}
		if sent.Document != nil {
			letter.Keys = sent.missing()
		}
		d.send(ctx, nil, ticket, letter)
	}
}

// has reports whether a document is held already: the server gives out again what
// it has not heard of for a while, also to the worker that has it.
func (d *desk) has(ctx context.Context, ticket *queue.Ticket) bool {
	d.mu.Lock()
	h, there := d.docs[ticket.ID]
	d.mu.Unlock()
	if there {
		h.ticket.Replace(ctx, ticket)
	}
	return there
}

// room waits until another document may be held.
func (d *desk) room(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.docs) >= int(d.options.InFlight) || len(d.docs) > 0 && d.bytes >= int(d.options.Text) {
		switch {
		case d.failed != nil:
			return d.failed
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		d.change.Wait()
	}
	return d.failed
}

// hold keeps a document.
func (d *desk) hold(ticket *queue.Ticket, sent sentDocument) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, key := range sent.missing() {
		if other := d.open[key]; other != nil {
			return fmt.Errorf("its answer would have the id %q, as one to the document %q has; ids must differ", key, other.ID)
		}
	}
	h := &held{sentDocument: sent, ticket: ticket, index: map[string]int64{}, size: len(ticket.Data)}
	skip := map[int]bool{}
	for _, n := range sent.Skip {
		skip[n] = true
	}
	for i, key := range keysOf(sent.Document) {
		if !skip[i+1] {
			h.index[key] = sent.Index + int64(i)
			d.open[key] = h
		}
	}
	h.left = len(h.index)
	ticket.Data = nil
	d.docs[sent.ID] = h
	d.bytes += h.size
	return nil
}

// Done reports whether an answer need not be given: those of a document that are
// there already.
func (d *desk) Done(key string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, open := d.open[key]
	return !open
}

// answer sends an answer on its way.
func (d *desk) answer(ctx context.Context, a *Answer) error {
	d.mu.Lock()
	h, ok := d.open[a.ID]
	if !ok || d.failed != nil {
		defer d.mu.Unlock()
		if d.failed != nil {
			return d.failed
		}
		return fmt.Errorf("an answer to %q, which was not taken from the queue; let no stage between read-nats and nats change ids", a.ID)
	}
	delete(d.open, a.ID)
	sent := sentAnswer{Document: h.ID, Key: a.ID, Index: h.index[a.ID], Graded: h.Graded, Answer: a}
	delete(h.index, a.ID)
	d.mu.Unlock()
	d.send(ctx, h, h.ticket, sent)
	return nil
}

// fail sends the news that a document, or one of its questions, has no answer.
func (d *desk) fail(ctx context.Context, stage string, e *graph.DocumentError) {
	d.mu.Lock()
	sent := sentAnswer{Document: e.ID, Key: e.ID, Stage: stage, Reason: e.Err.Error()}
	h, whole := d.docs[e.ID]
	if !whole {
		h = d.open[e.ID]
	}
	if h == nil {
		d.mu.Unlock()
		return // another worker has answered it meanwhile
	}
	sent.Document = h.ID
	keys := []string{e.ID}
	if whole {
		keys = slices.Sorted(maps.Keys(h.index))
		h.left -= len(keys) - 1 // one message for all
		sent.Keys = keys
	}
	if len(keys) == 0 {
		d.mu.Unlock()
		return // all are answered
	}
	for _, key := range keys {
		delete(d.open, key)
		delete(h.index, key)
	}
	d.mu.Unlock()
	d.send(ctx, h, h.ticket, sent)
}

// send publishes in the background; the document is acknowledged after the last
// of its answers. h is nil for one that is not held.
func (d *desk) send(ctx context.Context, h *held, ticket *queue.Ticket, sent sentAnswer) {
	sent.Worker = d.machine
	d.sending <- struct{}{}
	d.sends.Go(func() {
		defer func() { <-d.sending }()
		ctx, cancel := d.parting(ctx)
		defer cancel()
		data, err := sent.encode()
		if err == nil {
			err = ticket.Publish(ctx, sent.Key, data)
		}
		if d.sent(h, sent.Document, err) {
			ticket.Done(ctx)
		}
	})
}

// sent counts an answer that the server has confirmed, or refused. It reports
// whether it was the last of its document.
func (d *desk) sent(h *held, id string, err error) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.change.Broadcast()
	if err != nil {
		if d.failed == nil { // what failed after it failed for the same reason
			d.failed = fmt.Errorf("document %q: %w", id, err)
			d.breakOff(d.failed)
		}
		return false
	}
	if h == nil {
		return true
	}
	if h.left--; h.left > 0 {
		return false
	}
	delete(d.docs, h.ID)
	d.bytes -= h.size
	return true
}

// parting is ctx, but ends some seconds later than it, or than the desk is closed:
// what is finished is sent.
func (d *desk) parting(ctx context.Context) (context.Context, context.CancelFunc) {
	late, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-time.After(partingSends):
		case <-late.Done():
		}
		// Not the run's own cause, which nobody is told of twice.
		cancel(fmt.Errorf("the server had not taken it %v after the run ended", partingSends))
	})
	closed := context.AfterFunc(d.parted, func() { cancel(context.Cause(d.parted)) })
	return late, func() {
		stop()
		closed()
		cancel(nil)
	}
}

// settled waits until all answers have been sent.
func (d *desk) settled() error {
	d.sends.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed
}

// close is called by read-nats and by nats; the last one gives back what is held.
func (d *desk) close() error {
	d.mu.Lock()
	d.users--
	last := d.users == 0
	d.mu.Unlock()
	if !last {
		return nil
	}
	defer time.AfterFunc(partingSends, func() { d.part(errors.New("the worker ended before the server had taken it")) }).Stop()
	d.sends.Wait()
	d.breakOff(nil)
	d.part(nil)
	return errors.Join(d.worker.Close(), d.queue.Close())
}
