package queue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"sync"
	"sync/atomic"
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
	record   atomic.Pointer[Record] // as last read: AckWait and Deliveries may change while the run goes on
	sooner   chan struct{}          // wakes beat when they have
	stop     context.CancelFunc
	beating  sync.WaitGroup
}

// Work begins to take part in a run.
func (r *Run) Work(ctx context.Context) (*Worker, error) {
	w := &Worker{run: r, held: map[*Ticket]struct{}{}, sooner: make(chan struct{}, 1)}
	w.record.Store(&r.Record)
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
	once, cancel := context.WithTimeout(context.Background(), attempt)
	defer cancel()
	var err error
	for t := range w.held {
		w.run.survive(once, t.msg)
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
	for {
		select {
		case <-time.After(w.record.Load().AckWait / 3):
		case <-w.sooner:
		case <-ctx.Done():
			return
		}
		w.mu.Lock()
		for t := range w.held {
			_ = t.msg.InProgress() // one that is lost is followed by another
		}
		w.mu.Unlock()
		once, cancel := context.WithTimeout(ctx, w.record.Load().AckWait/6)
		_, _ = w.over(once) // for what has changed; Take says what is wrong
		cancel()
	}
}

// over reads the run's record, and reports whether the run is complete, or was
// begun anew.
func (w *Worker) over(ctx context.Context) (bool, error) {
	now, over, err := w.run.over(ctx)
	if err != nil || over {
		return over, err
	}
	if before := w.record.Swap(&now); before.AckWait != now.AckWait {
		select {
		case w.sooner <- struct{}{}:
		default:
		}
	}
	return false, nil
}

// Ticket is a document that a worker holds until Done, or until the worker is closed.
type Ticket struct {
	ID   string // the document's
	Data []byte // what was submitted
	// Err is why the document is to be answered with a dead letter: it was given to
	// workers too often, or its large text, and so Data, is lost.
	Err error

	msg    jetstream.Msg
	number uint64 // of the message in its stream
	worker *Worker
}

// Take waits for a document. io.EOF says that the run is complete, or was begun
// anew; a cancelled ctx's cause is returned. A run whose streams are gone is
// waited for, since submitting it again makes them; the error is ErrNoRun, wrapped,
// if its record is gone as well.
func (w *Worker) Take(ctx context.Context) (*Ticket, error) {
	var since, warned time.Time // when asking began to fail, and was last spoken of
	for {
		msg, err := w.fetch(ctx)
		switch {
		case ctx.Err() != nil:
			if msg != nil {
				w.run.survive(context.WithoutCancel(ctx), msg)
				_ = msg.Nak()
			}
			return nil, context.Cause(ctx)
		case msg != nil:
			return w.hold(ctx, msg)
		}
		over, findErr := w.over(ctx)
		switch {
		case findErr != nil:
			return nil, findErr
		case over:
			return nil, io.EOF
		case err == nil:
			since = time.Time{}
			continue
		case since.IsZero():
			since = time.Now()
		case time.Since(since) > quiet && time.Since(warned) > repeatWarn:
			warned = time.Now()
			if gone := w.run.gone(ctx, w.run.workStream()); gone != nil {
				err = gone
			}
			w.run.q.warn("taking a document", err)
		}
		if err := pause(ctx); err != nil {
			return nil, err
		}
	}
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
	if t.Err != nil || meta.NumDelivered == 1 {
		return t, nil
	}
	// Perhaps it comes again because AckWait is shorter than it was.
	if _, err := w.over(ctx); err != nil {
		return nil, err
	}
	now := w.record.Load()
	deaths, err := w.run.deaths(ctx, meta, now.Deliveries)
	if err != nil {
		return nil, err
	}
	if deaths >= now.Deliveries {
		t.Err = fmt.Errorf("it was given to a worker %d times, and none finished it: each ended, or was not heard of for %v", deaths, now.AckWait)
	}
	return t, nil
}

// Replace makes t stand for a later delivery of the same document: the server
// gives out again what it has not heard of.
func (t *Ticket) Replace(ctx context.Context, later *Ticket) {
	t.worker.run.survive(ctx, t.letGo())
	t.worker.mu.Lock()
	defer t.worker.mu.Unlock()
	delete(t.worker.held, later)
	t.worker.held[t] = struct{}{}
	t.msg = later.msg
}

// survived names the object that says that a worker has outlived a delivery of a
// document: gave it back, or got it again.
func survived(meta *jetstream.MsgMetadata, delivery uint64) string {
	return fmt.Sprintf("survived-%d-%d", meta.Sequence.Stream, delivery)
}

// survive takes note of that, so that the delivery does not count. It is not tried
// again: what is not noted brings the document nearer to being given up.
func (r *Run) survive(ctx context.Context, msg jetstream.Msg) {
	meta, err := msg.Metadata()
	if err != nil {
		return
	}
	once, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	_, _ = r.objects.PutBytes(once, survived(meta, meta.NumDelivered), nil)
}

// deaths returns how many workers have had the document before, and did not
// survive; enough is as far as it counts.
func (r *Run) deaths(ctx context.Context, meta *jetstream.MsgMetadata, enough int) (n int, err error) {
	if meta.NumDelivered <= uint64(enough) {
		return int(meta.NumDelivered) - 1, nil
	}
	for delivery := uint64(1); delivery < meta.NumDelivered && n < enough; delivery++ {
		err := r.q.retry(ctx, "the deliveries of a document", func(ctx context.Context) error {
			_, err := r.objects.GetInfo(ctx, survived(meta, delivery))
			return err
		})
		switch {
		case errors.Is(err, jetstream.ErrObjectNotFound):
			n++
		case err != nil:
			return 0, err
		}
	}
	return n, nil
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
		if noStream(err) {
			switch _, over, overErr := r.over(ctx); {
			case over:
				return nil
			case errors.Is(overErr, ErrNoRun):
				return overErr
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
