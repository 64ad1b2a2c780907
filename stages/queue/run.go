package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// duplicates is how long the server remembers the ids of messages.
const duplicates = 10 * time.Minute

// starting is how long the making of a run's streams may take.
const starting = 30 * time.Second

// The durable consumers of the two streams.
const (
	workers   = "workers"
	collector = "collector"
)

// Run is a run whose streams are there.
type Run struct {
	Record
	q       *Queue
	session string // of this process: its submissions' message ids begin with it
	objects jetstream.ObjectStore
	// large is how many bytes a message may hold; what is larger goes to the
	// object store.
	large int
}

// Create begins a run, or goes on with the one of that name: r.ID is ignored,
// and anew says that what an earlier run left is removed first. The error is a
// *ChangedError if a run of that name is under way with something else.
func (q *Queue) Create(ctx context.Context, r Record, anew bool) (*Run, error) {
	if err := CheckName(r.Name); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, starting)
	defer cancel()
	old, revision, err := q.find(ctx, r.Name)
	switch {
	case errors.Is(err, ErrNoRun):
		old, revision = Record{}, 0
	case err != nil:
		return nil, err
	case !old.Complete && !anew:
		if what := old.changes(r); len(what) > 0 {
			return nil, &ChangedError{r.Name, what}
		}
	default:
		// Also of a run that is complete: its end may have been cut short.
		if err := q.remove(ctx, old); err != nil {
			return nil, err
		}
		old = Record{}
	}
	// A server that is down for now takes no replica from a run that goes on.
	r.settle(old, q.replicas())
	r.ID, r.Created, r.Complete = old.ID, old.Created, false
	if r.ID == "" {
		r.ID, r.Created = newID(), time.Now().UTC()
	}
	kv, err := q.makeStore(ctx, r.Replicas)
	if err != nil {
		return nil, err
	}
	// The record first: whatever ends this process, its streams can be found.
	if err := q.put(ctx, kv, r, revision); err != nil {
		return nil, err
	}
	run := &Run{Record: r, q: q, session: newID()}
	return run, run.make(ctx)
}

// put writes a record over the one of a revision, 0 for none.
func (q *Queue) put(ctx context.Context, kv jetstream.KeyValue, r Record, revision uint64) error {
	value, err := json.Marshal(r)
	if err != nil {
		return err
	}
	err = q.retry(ctx, fmt.Sprintf("the record of run %q", r.Name), func(ctx context.Context) error {
		var err error
		if revision == 0 {
			_, err = kv.Create(ctx, r.Name, value)
		} else {
			_, err = kv.Update(ctx, r.Name, value, revision)
		}
		if err == nil {
			return nil
		}
		// A try whose confirmation was lost has changed the revision.
		if entry, getErr := kv.Get(ctx, r.Name); getErr == nil && string(entry.Value()) == string(value) {
			return nil
		}
		return err
	})
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.ErrorCode == wrongLast || errors.Is(err, jetstream.ErrKeyExists) {
		return fmt.Errorf("another headinfer submit has begun or ended the run %q at the same time; submit again", r.Name)
	}
	return err
}

// make makes the streams, their consumers and the object store, or leaves them
// as they are.
func (r *Run) make(ctx context.Context) error {
	work := jetstream.StreamConfig{
		Name: r.workStream(), Description: "headinfer: documents of the run " + r.Name,
		Subjects: []string{r.subject("work", "*")}, Retention: jetstream.WorkQueuePolicy,
		Storage: jetstream.FileStorage, Replicas: r.Replicas, Duplicates: duplicates,
		Discard: jetstream.DiscardNew, DiscardNewPerSubject: true, MaxMsgsPerSubject: 1,
	}
	answers := jetstream.StreamConfig{
		Name: r.answerStream(), Description: "headinfer: answers of the run " + r.Name,
		Subjects: []string{r.subject("answers")}, Retention: jetstream.WorkQueuePolicy,
		Storage: jetstream.FileStorage, Replicas: r.Replicas, Duplicates: duplicates,
	}
	consumer := jetstream.ConsumerConfig{
		Durable: workers, AckPolicy: jetstream.AckExplicitPolicy, AckWait: r.AckWait,
		// Documents are given up by the workers, who can say so: the server
		// would leave them in the stream and say nothing.
		MaxDeliver: -1, MaxAckPending: 1 << 20,
	}
	err := r.q.retry(ctx, fmt.Sprintf("making the streams of run %q", r.Name), func(ctx context.Context) error {
		for _, c := range []jetstream.StreamConfig{work, answers} {
			if _, err := r.q.js.CreateOrUpdateStream(ctx, c); err != nil {
				return fmt.Errorf("stream %s: %w", c.Name, err)
			}
		}
		if _, err := r.q.js.CreateOrUpdateConsumer(ctx, work.Name, consumer); err != nil {
			return fmt.Errorf("consumer %s of %s: %w", workers, work.Name, err)
		}
		var err error
		r.objects, err = r.q.js.CreateOrUpdateObjectStore(ctx, jetstream.ObjectStoreConfig{
			Bucket: r.prefix(), Description: "headinfer: large documents of the run " + r.Name,
			Storage: jetstream.FileStorage, Replicas: r.Replicas,
		})
		return err
	})
	r.large = r.q.limit()
	return needsServers(err)
}

// needsServers adds to the server's refusal of replicas what to do.
func needsServers(err error) error {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.ErrorCode == needsCluster {
		return fmt.Errorf("%w; ask for 1 replica, or connect to a cluster", err)
	}
	return err
}

// Open goes to a run that was begun. The error is ErrNoRun, wrapped, for a run
// whose streams are gone.
func (q *Queue) Open(ctx context.Context, record Record) (*Run, error) {
	r := &Run{Record: record, q: q, session: newID(), large: q.limit()}
	err := q.retry(ctx, fmt.Sprintf("opening the run %q", r.Name), func(ctx context.Context) (err error) {
		r.objects, err = q.js.ObjectStore(ctx, r.prefix())
		return err
	})
	if errors.Is(err, jetstream.ErrBucketNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
		err = fmt.Errorf("run %q: %w", r.Name, ErrNoRun)
	}
	return r, err
}

// Complete removes what the run has on the server and marks its record.
func (r *Run) Complete(ctx context.Context) error {
	now, revision, err := r.q.find(ctx, r.Name)
	if err != nil || now.ID != r.ID {
		return err // begun anew by another: theirs is not ours to end
	}
	kv, err := r.q.store(ctx)
	if err != nil {
		return err
	}
	now.Complete, now.Variables = true, nil // these may hold what is nobody's business
	// The record first: a worker that finds no stream looks there.
	if err := r.q.put(ctx, kv, now, revision); err != nil {
		return err
	}
	return r.q.remove(ctx, r.Record)
}

// End completes the run of a record's name, if there is one, as one whose outputs
// are complete: the process that completed them may not have come to that. A run
// of something else stays.
func (q *Queue) End(ctx context.Context, r Record) error {
	now, err := q.Find(ctx, r.Name)
	switch {
	case errors.Is(err, ErrNoRun):
		return nil
	case err != nil:
		return err
	case now.Complete:
		return q.remove(ctx, now)
	case len(now.changes(r)) > 0:
		return nil
	}
	return (&Run{Record: now, q: q}).Complete(ctx)
}

// over reports whether the run is complete, or was begun anew, and what its
// record says now.
func (r *Run) over(ctx context.Context) (Record, bool, error) {
	now, err := r.q.Find(ctx, r.Name)
	if errors.Is(err, ErrNoRun) {
		return now, false, fmt.Errorf("%w: its record is gone, as if the server had lost its disk; submit it again", err)
	}
	return now, err == nil && (now.Complete || now.ID != r.ID), err
}

// ErrGone says that the server has lost what belongs to a run that is under way.
var ErrGone = errors.New("the server no longer has the run's streams, as if it had lost its disk; what is written is safe, and submitting again goes on")

// gone says why a stream of the run does not answer: nil if it may yet.
func (r *Run) gone(ctx context.Context, stream string) error {
	_, over, err := r.over(ctx)
	switch {
	case err != nil:
		return err
	case over:
		return fmt.Errorf("run %q: %w", r.Name, ErrTakenOver)
	}
	if _, err := r.q.js.Stream(ctx, stream); errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("run %q: %w", r.Name, ErrGone)
	}
	return nil
}

// remove deletes a run's streams and objects.
func (q *Queue) remove(ctx context.Context, record Record) error {
	r := Run{Record: record}
	return q.retry(ctx, fmt.Sprintf("removing what the run %q left", r.Name), func(ctx context.Context) error {
		for _, name := range []string{r.workStream(), r.answerStream()} {
			if err := q.js.DeleteStream(ctx, name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
				return err
			}
		}
		err := q.js.DeleteObjectStore(ctx, r.prefix())
		if errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrBucketNotFound) {
			return nil
		}
		return err
	})
}

// Documents returns how many documents are in the queue, waiting or held.
func (r *Run) Documents(ctx context.Context) (n uint64, err error) {
	err = r.q.retry(ctx, "the state of stream "+r.workStream(), func(ctx context.Context) error {
		s, err := r.q.js.Stream(ctx, r.workStream())
		if err == nil {
			n = s.CachedInfo().State.Msgs
		}
		return err
	})
	return n, err
}

func (r *Run) prefix() string       { return "headinfer-" + r.Name + "-" + r.ID }
func (r *Run) workStream() string   { return r.prefix() + "-work" }
func (r *Run) answerStream() string { return r.prefix() + "-answers" }

// subject returns "headinfer.ID.word.word…".
func (r *Run) subject(words ...string) string {
	s := "headinfer." + r.ID
	for _, w := range words {
		s += "." + w
	}
	return s
}

// limit is how many bytes of a text go into a message: half a MiB, or less on a
// server that takes less.
func (q *Queue) limit() int {
	const most, headers = 512 << 10, 4 << 10
	return int(min(most, max(q.conn.MaxPayload()-headers, 1)))
}

// message makes a message of data, or of a reference to an object that holds it.
func (r *Run) message(ctx context.Context, subject, object string, data []byte) (*nats.Msg, error) {
	m := nats.NewMsg(subject)
	if len(data) <= r.large {
		m.Data = data
		return m, nil
	}
	m.Header.Set(objectHeader, object)
	return m, r.putObject(ctx, object, data)
}
