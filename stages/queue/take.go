package queue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// idle is how long a request for a document or an answer waits at the server.
const idle = 2 * time.Second

// Worker takes documents of a run and gives answers back.
type Worker struct {
	run      *Run
	consumer jetstream.Consumer
	mu       sync.Mutex
	held     map[*Ticket]struct{}
	stop     context.CancelFunc
	beating  sync.WaitGroup
}

// Work begins to take part in a run.
func (r *Run) Work(ctx context.Context) (*Worker, error) {
	w := &Worker{run: r, held: map[*Ticket]struct{}{}}
	err := r.q.retry(ctx, fmt.Sprintf("taking part in the run %q", r.Name), func(ctx context.Context) (err error) {
		w.consumer, err = r.q.js.Consumer(ctx, r.workStream(), workers)
		return err
	})
	if err != nil {
		return nil, err
	}
	beat, stop := context.WithCancel(context.WithoutCancel(ctx))
	w.stop = stop
	w.beating.Go(func() { w.beat(beat) })
	return w, nil
}

// Close gives back the documents that are still held, for others to take.
func (w *Worker) Close() error {
	w.stop()
	w.beating.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	var err error
	for t := range w.held {
		err = errors.Join(err, t.msg.Nak())
	}
	clear(w.held)
	if errors.Is(err, nats.ErrConnectionClosed) {
		return nil // the server gives them to others in time
	}
	return err
}

// beat tells the server that the documents held are being worked on.
func (w *Worker) beat(ctx context.Context) {
	ticker := time.NewTicker(w.run.AckWait / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		w.mu.Lock()
		for t := range w.held {
			_ = t.msg.InProgress() // one that is lost is followed by another
		}
		w.mu.Unlock()
	}
}

// Ticket is a document that a worker holds until Done, or until the worker is closed.
type Ticket struct {
	ID   string // the document's
	Data []byte // what was submitted
	// Err is why there is no Data: the document was given to workers too often,
	// or its large text is lost. It is to be answered with a dead letter.
	Err error

	msg    jetstream.Msg
	number uint64 // of the message in its stream
	worker *Worker
}

// Take waits for a document. io.EOF says that the run is complete, or was begun
// anew; a cancelled ctx's cause is returned.
func (w *Worker) Take(ctx context.Context) (*Ticket, error) {
	for {
		msg, err := w.fetch(ctx)
		switch {
		case ctx.Err() != nil:
			if msg != nil {
				_ = msg.Nak()
			}
			return nil, context.Cause(ctx)
		case msg != nil:
			return w.hold(ctx, msg)
		}
		over, findErr := w.run.over(ctx)
		switch {
		case findErr != nil:
			return nil, findErr
		case over:
			return nil, io.EOF
		case err != nil:
			if err := pause(ctx); err != nil {
				return nil, err
			}
		}
	}
}

// over reports whether the run is complete, or was begun anew.
func (r *Run) over(ctx context.Context) (bool, error) {
	now, err := r.q.Find(ctx, r.Name)
	if errors.Is(err, ErrNoRun) {
		return true, nil
	}
	return err == nil && (now.Complete || now.ID != r.ID), err
}

// fetch asks for one document; nil without an error is none within some seconds.
func (w *Worker) fetch(ctx context.Context) (jetstream.Msg, error) {
	once, cancel := context.WithTimeout(ctx, idle)
	defer cancel()
	batch, err := w.consumer.Fetch(1, jetstream.FetchContext(once))
	if err != nil {
		return nil, err
	}
	msg := <-batch.Messages()
	if err := batch.Error(); msg == nil && err != nil && !errors.Is(err, nats.ErrTimeout) && !errors.Is(err, context.DeadlineExceeded) {
		return nil, err
	}
	return msg, nil
}

// pause waits a little before something is tried again.
func pause(ctx context.Context) error {
	select {
	case <-time.After(200 * time.Millisecond):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (w *Worker) hold(ctx context.Context, msg jetstream.Msg) (*Ticket, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return nil, err
	}
	id, err := url.PathUnescape(msg.Headers().Get(documentHeader))
	if err != nil {
		return nil, fmt.Errorf("message %d of stream %s: header %s: %w", meta.Sequence.Stream, meta.Stream, documentHeader, err)
	}
	t := &Ticket{ID: id, msg: msg, number: meta.Sequence.Stream, worker: w}
	w.mu.Lock()
	w.held[t] = struct{}{}
	w.mu.Unlock()
	t.Data, err = w.run.data(ctx, msg)
	if lost, ok := errors.AsType[*LostError](err); ok {
		t.Err = lost
	} else if err != nil {
		return nil, err
	}
	if given := int(meta.NumDelivered) - 1; t.Err == nil && given >= w.run.Deliveries {
		t.Err = fmt.Errorf("it was given to a worker %d times, and none finished it: each ended, or was not heard of for %v", given, w.run.AckWait)
	}
	return t, nil
}

// Replace makes t stand for a later delivery of the same document: the server
// gives out again what it has not heard of.
func (t *Ticket) Replace(later *Ticket) {
	later.letGo()
	t.worker.mu.Lock()
	defer t.worker.mu.Unlock()
	t.msg = later.msg
}

// Publish gives back an answer, or a dead letter, and returns when the server
// has confirmed it, or when the run is over and nobody asks for it any more. key
// tells it from the document's others.
func (t *Ticket) Publish(ctx context.Context, key string, data []byte) error {
	r := t.worker.run
	id := fmt.Sprintf("%d:%s", t.number, key)
	m, err := r.message(ctx, r.subject("answers"), "answer-"+token(id), data)
	if err != nil {
		return err
	}
	return r.q.retry(ctx, "giving back an answer", func(ctx context.Context) error {
		_, err := r.q.js.PublishMsg(ctx, m, jetstream.WithMsgID(id), jetstream.WithExpectStream(r.answerStream()))
		if errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, nats.ErrNoResponders) {
			if over, err := r.over(ctx); over && err == nil {
				return nil
			}
		}
		return err
	})
}

// Done takes the document out of the queue, after its answers were published. If
// the server does not confirm it, the document will be given out again, and its
// answers dropped where they are collected.
func (t *Ticket) Done(ctx context.Context) {
	msg := t.letGo()
	once, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	_ = msg.DoubleAck(once)
}

func (t *Ticket) letGo() jetstream.Msg {
	t.worker.mu.Lock()
	defer t.worker.mu.Unlock()
	delete(t.worker.held, t)
	return t.msg
}
