package queue

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// bucket holds the records of all runs.
const bucket = "headinfer_runs"

// Record is what a worker needs to know of a run.
type Record struct {
	Name      string            `json:"name"`
	ID        string            `json:"id"`       // new whenever the run begins anew
	Complete  bool              `json:"complete"` // nothing is left to do
	File      string            `json:"file"`     // the pipeline file's name, for messages
	Pipeline  string            `json:"pipeline"` // its text
	Sets      []string          `json:"sets,omitempty"`
	Variables map[string]string `json:"variables,omitempty"` // that the text names; none when it is complete
	Model     string            `json:"model"`               // the model's fingerprint
	Program   string            `json:"program"`             // its version
	Created   time.Time         `json:"created"`             // when the run began
	// Of these, 0 asks for what the run has, or where it begins for what suits the
	// servers, DefaultAckWait and DefaultDeliveries.
	Replicas int `json:"replicas"`
	// AckWait is how long a document may go without a sign of life from the
	// worker that holds it. Deliveries is how many workers may die with it before
	// it is given up.
	AckWait    time.Duration `json:"ack_wait_ns"`
	Deliveries int           `json:"deliveries"`
}

// What a run has where nothing else is asked for.
const (
	DefaultAckWait    = 30 * time.Second
	DefaultDeliveries = 5
)

// settle gives r what it asks for with 0: what an earlier record has, or the
// servers suggest.
func (r *Record) settle(old Record, replicas int) {
	r.Replicas = cmp.Or(r.Replicas, old.Replicas, replicas)
	r.AckWait = cmp.Or(r.AckWait, old.AckWait, DefaultAckWait)
	r.Deliveries = cmp.Or(r.Deliveries, old.Deliveries, DefaultDeliveries)
}

var runName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)

// CheckName refuses names that the server could not keep.
func CheckName(name string) error {
	if !runName.MatchString(name) {
		return fmt.Errorf("the run's name is %q; expected up to 64 letters, digits, - and _", name)
	}
	return nil
}

// NameOf makes a run's name of any text, such as a file's.
func NameOf(text string) string {
	name := strings.Trim(unfit.ReplaceAllString(text, "-"), "-_")
	if name == "" {
		return "run"
	}
	return name[:min(len(name), 64)]
}

var unfit = regexp.MustCompile(`[^A-Za-z0-9_-]+`)

// ChangedError says that a run of that name is under way with something else.
type ChangedError struct {
	Name string
	What []string // what differs: "the pipeline", "the model", …
}

// Error names the run and what differs.
func (e *ChangedError) Error() string {
	return fmt.Sprintf("the run %q is under way with other values of %s", e.Name, strings.Join(e.What, ", "))
}

// ErrComplete says that a run has no more to be done.
var ErrComplete = errors.New("the run is complete")

// ErrNoRun says that there is no run of that name.
var ErrNoRun = errors.New("no such run")

// changes lists what must be the same for a run to go on.
func (r Record) changes(now Record) []string {
	var what []string
	for _, part := range []struct {
		name string
		same bool
	}{
		{"the pipeline", r.Pipeline == now.Pipeline}, {"--set", slices.Equal(r.Sets, now.Sets)},
		{"environment variables", maps.Equal(r.Variables, now.Variables)}, {"the model", r.Model == now.Model},
	} {
		if !part.same {
			what = append(what, part.name)
		}
	}
	return what
}

// store returns the bucket of records.
func (q *Queue) store(ctx context.Context) (kv jetstream.KeyValue, err error) {
	err = q.retry(ctx, "the list of runs", func(ctx context.Context) (err error) {
		kv, err = q.js.KeyValue(ctx, bucket)
		return err
	})
	return kv, err
}

// makeStore makes the bucket of records, or gives it as many replicas as the run
// has that has most.
func (q *Queue) makeStore(ctx context.Context, replicas int) (kv jetstream.KeyValue, err error) {
	err = q.retry(ctx, "the list of runs", func(ctx context.Context) (err error) {
		kv, err = q.js.KeyValue(ctx, bucket)
		if errors.Is(err, jetstream.ErrBucketNotFound) {
			kv, err = q.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
				Bucket: bucket, Description: "headinfer's runs", Storage: jetstream.FileStorage, Replicas: replicas,
			})
			return err
		}
		if err != nil {
			return err
		}
		s, err := q.js.Stream(ctx, "KV_"+bucket)
		if err != nil {
			return err
		}
		if c := s.CachedInfo().Config; c.Replicas < replicas {
			c.Replicas = replicas
			_, err = q.js.UpdateStream(ctx, c)
		}
		return err
	})
	return kv, needsServers(err)
}

// Runs returns all records, by name.
func (q *Queue) Runs(ctx context.Context) ([]Record, error) {
	kv, err := q.store(ctx)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	err = q.retry(ctx, "the list of runs", func(ctx context.Context) error {
		keys, err := kv.ListKeys(ctx)
		if err != nil {
			return err
		}
		names = names[:0]
		for name := range keys.Keys() {
			names = append(names, name)
		}
		return ctx.Err()
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var all []Record
	for _, name := range names {
		r, err := q.Find(ctx, name)
		if errors.Is(err, ErrNoRun) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// Find returns the record of a run. The error is ErrNoRun, wrapped, if there
// is none.
func (q *Queue) Find(ctx context.Context, name string) (Record, error) {
	r, _, err := q.find(ctx, name)
	return r, err
}

func (q *Queue) find(ctx context.Context, name string) (r Record, revision uint64, err error) {
	kv, err := q.store(ctx)
	if err == nil {
		err = q.retry(ctx, fmt.Sprintf("the record of run %q", name), func(ctx context.Context) error {
			entry, err := kv.Get(ctx, name)
			if err != nil {
				return err
			}
			r, revision = Record{}, entry.Revision()
			return json.Unmarshal(entry.Value(), &r)
		})
	}
	if errors.Is(err, jetstream.ErrKeyNotFound) || errors.Is(err, jetstream.ErrBucketNotFound) {
		err = fmt.Errorf("run %q: %w", name, ErrNoRun)
	}
	return r, revision, err
}

// newID returns an id that no other run has.
func newID() string {
	b := make([]byte, 4)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
