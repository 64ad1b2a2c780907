package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Collector takes the answers of a run. A run has one at a time: a new one takes
// over, and the calls of the old one then fail.
type Collector struct {
	// Waiting is how many answers lay in the stream when the collector began.
	Waiting  uint64
	run      *Run
	consumer jetstream.Consumer
	batch    jetstream.MessageBatch
	last     time.Time // when the consumer was last known to be ours
}

// ErrTakenOver says that another process collects the run's answers now.
var ErrTakenOver = errors.New("another headinfer submit has taken over the run")

// sessionKey is the consumer's metadata that says whose it is.
const sessionKey = "headinfer-session"

// Collect begins to take answers, from the first that is not committed.
func (r *Run) Collect(ctx context.Context) (*Collector, error) {
	c := &Collector{run: r}
	err := r.q.retry(ctx, fmt.Sprintf("collecting the answers of run %q", r.Name), func(ctx context.Context) error {
		// An earlier collector's answers would otherwise come back only when the
		// server has waited for its acknowledgements.
		err := r.q.js.DeleteConsumer(ctx, r.answerStream(), collector)
		if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) && !errors.Is(err, jetstream.ErrConsumerDoesNotExist) {
			return err
		}
		c.consumer, err = r.q.js.CreateConsumer(ctx, r.answerStream(), jetstream.ConsumerConfig{
			Durable: collector, AckPolicy: jetstream.AckExplicitPolicy, DeliverPolicy: jetstream.DeliverAllPolicy,
			AckWait: time.Hour, MaxDeliver: -1, MaxAckPending: -1, Metadata: map[string]string{sessionKey: r.session},
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	c.Waiting, c.last = c.consumer.CachedInfo().NumPending, time.Now()
	return c, nil
}

// Result is an answer or a dead letter, in the stream until Commit.
type Result struct {
	Data   []byte
	run    *Run
	msg    jetstream.Msg
	object string
}

// Next waits for a result. A cancelled ctx's cause is returned.
func (c *Collector) Next(ctx context.Context) (*Result, error) {
	for {
		msg, err := c.fetch(ctx)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if msg != nil {
			c.last = time.Now()
			data, err := c.run.data(ctx, msg)
			if _, lost := errors.AsType[*LostError](err); lost {
				// Its document will be found to have no answer, and done again.
				if err := msg.Ack(); err != nil {
					return nil, err
				}
				continue
			}
			return &Result{data, c.run, msg, msg.Headers().Get(objectHeader)}, err
		}
		if time.Since(c.last) > idle {
			if err := c.ours(ctx); err != nil {
				return nil, err
			}
		}
		if err != nil {
			if err := pause(ctx); err != nil {
				return nil, err
			}
		}
	}
}

// fetch returns the next message, nil if there is none yet.
func (c *Collector) fetch(ctx context.Context) (jetstream.Msg, error) {
	if c.batch == nil {
		batch, err := c.consumer.Fetch(256, jetstream.FetchMaxWait(idle))
		if err != nil {
			return nil, err
		}
		c.batch = batch
	}
	select {
	case msg, ok := <-c.batch.Messages():
		if ok {
			return msg, nil
		}
	case <-ctx.Done():
		return nil, nil
	}
	err := c.batch.Error()
	c.batch = nil
	if errors.Is(err, nats.ErrTimeout) {
		err = nil
	}
	return nil, err
}

// Pending returns how many answers the server has not sent yet.
func (c *Collector) Pending(ctx context.Context) (n uint64, err error) {
	err = c.run.q.retry(ctx, "the state of stream "+c.run.answerStream(), func(ctx context.Context) error {
		info, err := c.consumer.Info(ctx)
		if err == nil {
			n = info.NumPending
		}
		return err
	})
	return n, err
}

// ours makes sure that the consumer is still this process's.
func (c *Collector) ours(ctx context.Context) error {
	err := c.run.q.retry(ctx, "the collector's place", func(ctx context.Context) error {
		now, err := c.run.q.js.Consumer(ctx, c.run.answerStream(), collector)
		if err != nil {
			return err
		}
		if now.CachedInfo().Config.Metadata[sessionKey] != c.run.session {
			return ErrTakenOver
		}
		return nil
	})
	for _, gone := range []error{jetstream.ErrConsumerNotFound, jetstream.ErrConsumerDoesNotExist, jetstream.ErrStreamNotFound} {
		if errors.Is(err, gone) {
			return fmt.Errorf("run %q: %w", c.run.Name, ErrTakenOver)
		}
	}
	if err == nil {
		c.last = time.Now()
	}
	return err
}

// Commit takes the result out of the stream, when it is safe elsewhere.
func (r *Result) Commit(ctx context.Context) error {
	if r.object != "" {
		r.run.removeObject(ctx, r.object)
	}
	return r.msg.Ack()
}
