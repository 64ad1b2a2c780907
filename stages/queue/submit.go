package queue

import (
	"context"
	"errors"
	"net/url"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// documentHeader names the document that a message stands for.
const documentHeader = "Headinfer-Document"

// Submit puts a document into the queue and returns when the server has
// confirmed it. A document that is there already, waiting or held by a worker,
// stays as it is, and there is true. Several goroutines may submit at once. The
// error is ErrTakenOver, ErrGone or ErrNoRun, wrapped, if the run is no longer there.
func (r *Run) Submit(ctx context.Context, id string, data []byte) (there bool, err error) {
	name := token(id)
	m, err := r.message(ctx, r.subject("work", name), "document-"+name, data)
	if err != nil {
		return false, err
	}
	m.Header.Set(documentHeader, url.PathEscape(id))
	err = r.q.retry(ctx, "submitting a document", func(ctx context.Context) error {
		// The session is part of the id: what an earlier one submitted may have
		// failed since, and is then to be tried again.
		ack, err := r.q.js.PublishMsg(ctx, m, jetstream.WithMsgID(r.session+":"+name), jetstream.WithExpectStream(r.workStream()))
		if perSubject(err) {
			there = true
			return nil
		}
		if noStream(err) {
			if gone := r.gone(ctx, r.workStream()); gone != nil {
				return gone
			}
		}
		if err == nil {
			there = ack.Duplicate
		}
		return err
	})
	return there, err
}

// noStream reports whether nobody took a message: the stream has no leader, or is
// no longer there.
func noStream(err error) bool {
	return errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, nats.ErrNoResponders)
}

// Forget removes a document's large text, if it has one.
func (r *Run) Forget(ctx context.Context, id string, size int) {
	if size > r.large {
		r.removeObject(ctx, "document-"+token(id))
	}
}
