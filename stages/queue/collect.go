package queue

import (
	"context"
	"errors"
	"fmt"
	"sync"
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
	last     time.Time // when the consumer was last known to be there
	mu       sync.Mutex
	held     map[uint64]*Result // not committed, by the number of their message
}

// ErrTakenOver says that another process collects the run's answers now.
var ErrTakenOver = errors.New("another headinfer submit has taken over the run")

// Collect begins to take answers, from the first that is not committed. Until ctx
// ends the collector holds those it has given.
func (r *Run) Collect(ctx context.Context) (*Collector, error) {
	c := &Collector{run: r, held: map[uint64]*Result{}}
	err := r.q.retry(ctx, fmt.Sprintf("collecting the answers of run %q", r.Name), func(ctx context.Context) error {
		// What an earlier collector has not committed would otherwise come back only
		// when the server has waited for its acknowledgements.
		if err := r.removeCollectors(ctx); err != nil {
			return err
		}
		var err error
		// A name of its own: what the earlier one asks and acknowledges is for nobody.
		c.consumer, err = r.q.js.CreateConsumer(ctx, r.answerStream(), jetstream.ConsumerConfig{
			Durable: collector + "-" + newID(), AckPolicy: jetstream.AckExplicitPolicy, DeliverPolicy: jetstream.DeliverAllPolicy,
			// A server that dies may take an answer along that it had begun to send.
			AckWait: r.AckWait, MaxDeliver: -1, MaxAckPending: -1,
		})
		if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.ErrorCode == secondReader {
			return errors.New("another collector came between") // to be removed in its turn
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	c.Waiting, c.last = c.consumer.CachedInfo().NumPending, time.Now()
	go c.beat(ctx)
	return c, nil
}

// beat tells the server that the results held are on their way to be safe, so that
// it does not send them again.
func (c *Collector) beat(ctx context.Context) {
	for {
		select {
		case <-time.After(c.run.AckWait / 3):
		case <-ctx.Done():
			return
		}
		c.mu.Lock()
		for _, r := range c.held {
			_ = r.msg.InProgress() // one that is lost is followed by another
		}
		c.mu.Unlock()
	}
}

// removeCollectors ends the collectors that there are.
func (r *Run) removeCollectors(ctx context.Context) error {
	s, err := r.q.js.Stream(ctx, r.answerStream())
	if err != nil {
		return err
	}
	var names []string
	all := s.ConsumerNames(ctx)
	for name := range all.Name() {
		names = append(names, name)
	}
	if err := all.Err(); err != nil {
		return err
	}
	for _, name := range names {
		err := s.DeleteConsumer(ctx, name)
		if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) && !errors.Is(err, jetstream.ErrConsumerDoesNotExist) {
			return err
		}
	}
	return nil
}

// Result is an answer or a dead letter, in the stream until Commit.
type Result struct {
	Data   []byte
	from   *Collector
	msg    jetstream.Msg
	number uint64 // of the message in its stream
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
			r, err := c.hold(ctx, msg)
			if r == nil && err == nil {
				continue
			}
			return r, err
		}
		if err != nil || time.Since(c.last) > idle {
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

// hold makes a result of a message; nil for one that is held already, or whose
// text is lost.
func (c *Collector) hold(ctx context.Context, msg jetstream.Msg) (*Result, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return nil, err
	}
	r := &Result{from: c, msg: msg, number: meta.Sequence.Stream, object: msg.Headers().Get(objectHeader)}
	c.mu.Lock()
	before := c.held[r.number]
	if before != nil {
		before.msg = msg // it waited too long to be taken, and came again
	} else {
		c.held[r.number] = r
	}
	c.mu.Unlock()
	if before != nil {
		return nil, nil
	}
	r.Data, err = c.run.data(ctx, msg)
	if _, lost := errors.AsType[*LostError](err); lost {
		// Its document will be found to have no answer, and done again.
		return nil, r.letGo().Ack()
	}
	return r, err
}

func (r *Result) letGo() jetstream.Msg {
	r.from.mu.Lock()
	defer r.from.mu.Unlock()
	delete(r.from.held, r.number)
	return r.msg
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

// Pending returns how many answers the server has not sent yet, with those that
// it has sent and that are not committed.
func (c *Collector) Pending(ctx context.Context) (n uint64, err error) {
	err = c.run.q.retry(ctx, "the state of stream "+c.run.answerStream(), func(ctx context.Context) error {
		info, err := c.consumer.Info(ctx)
		if err == nil {
			n = info.NumPending + uint64(info.NumAckPending)
		}
		return err
	})
	return n, err
}

// ours makes sure that the consumer, which a new collector removes, is still there.
func (c *Collector) ours(ctx context.Context) error {
	err := c.run.q.retry(ctx, "the collector's place", func(ctx context.Context) error {
		_, err := c.consumer.Info(ctx)
		return err
	})
	switch {
	case err == nil:
		c.last = time.Now()
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return c.run.gone(ctx, c.run.answerStream())
	case errors.Is(err, jetstream.ErrConsumerNotFound), errors.Is(err, jetstream.ErrConsumerDoesNotExist):
		return fmt.Errorf("run %q: %w", c.run.Name, ErrTakenOver)
	}
	return err
}

// Commit takes the result out of the stream, when it is safe elsewhere.
func (r *Result) Commit(ctx context.Context) error {
	msg := r.letGo()
	if r.object == "" {
		return msg.Ack()
	}
	// The object after its message: a collector that has taken over may want it. A
	// message whose removal is not confirmed comes again, and its key is refused.
	once, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	if err := msg.DoubleAck(once); err == nil {
		r.from.run.removeObject(ctx, r.object)
	}
	return nil
}
