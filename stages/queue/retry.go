package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	attempt    = 5 * time.Second  // how long one try of a call may take
	quiet      = 5 * time.Second  // how long a call is tried before anyone is told
	repeatWarn = 30 * time.Second // how often they are told again
)

// retry calls f until it succeeds, the server refuses, or ctx ends. While a
// cluster chooses a new leader, calls time out or are answered with "try later".
func (q *Queue) retry(ctx context.Context, what string, f func(ctx context.Context) error) error {
	start := time.Now()
	warned := start.Add(quiet - repeatWarn)
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		once, cancel := context.WithTimeout(ctx, attempt)
		err := f(once)
		cancel()
		if err == nil {
			return nil
		}
		if refused(err) {
			return fmt.Errorf("%s: %w", what, err)
		}
		if time.Since(warned) > repeatWarn {
			warned = time.Now()
			q.warn(what, err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			if cause := context.Cause(ctx); !errors.Is(cause, context.DeadlineExceeded) {
				return cause
			}
			return fmt.Errorf("%s: %w", what, err)
		}
	}
}

// The server's codes of some refusals.
const (
	needsCluster = 10074 // replicas without a cluster
	wrongLast    = 10071 // a record has changed meanwhile
	secondReader = 10099 // a work queue's stream has a consumer already
	storeFailed  = 10077 // a stream does not take a message
)

// refused reports whether trying again is of no use.
func refused(err error) bool {
	for _, final := range []error{
		nats.ErrConnectionClosed, nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrPermissionViolation,
		nats.ErrMaxPayload, nats.ErrInvalidArg, nats.ErrBadSubject,
		jetstream.ErrJetStreamNotEnabled, jetstream.ErrJetStreamNotEnabledForAccount, jetstream.ErrInvalidStreamName,
		jetstream.ErrInvalidKey, jetstream.ErrKeyNotFound, jetstream.ErrKeyExists, jetstream.ErrBucketNotFound,
		jetstream.ErrObjectNotFound, ErrTakenOver, ErrGone, ErrNoRun,
	} {
		if errors.Is(err, final) {
			return true
		}
	}
	api, ok := errors.AsType[*jetstream.APIError](err)
	if !ok {
		return false
	}
	// 409 is a message whose first try is still being stored.
	return api.Code >= 400 && api.Code < 408 || api.ErrorCode == needsCluster
}

// perSubject reports whether the server refused a second message on a subject.
func perSubject(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && api.ErrorCode == storeFailed && api.Description == "maximum messages per subject exceeded"
}
