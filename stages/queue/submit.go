package queue

import (
	"context"
	"net/url"

	"github.com/nats-io/nats.go/jetstream"
)

// documentHeader names the document that a message stands for.
const documentHeader = "Headinfer-Document"

// Submit puts a document into the queue and returns when the server has
// confirmed it. A document that is there already, waiting or held by a worker,
// stays as it is, and there is true. Several goroutines may submit at once.
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
		if err == nil {
			there = ack.Duplicate
		}
		return err
	})
	return there, err
}

// Forget removes a document's large text, if it has one.
func (r *Run) Forget(ctx context.Context, id string, size int) {
	if size > r.large {
		r.removeObject(ctx, "document-"+token(id))
	}
}
