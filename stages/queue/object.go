package queue

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// objectHeader names the object that holds what a message stands for.
const objectHeader = "Headinfer-Object"

// copying is how long the first try to bring an object to or from the server may
// take. Each further one may take twice as long, so that one of them is enough
// however slow the way is.
const copying = 5 * time.Minute

// token makes a subject's word, or an object's name, of any text.
func token(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:16])
}

// putObject stores data under a name, unless it is there already: writing over
// an object would take it from a worker that reads it.
func (r *Run) putObject(ctx context.Context, name string, data []byte) error {
	sum, patience := sha256.Sum256(data), copying
	return r.q.retry(ctx, "storing a large text", func(once context.Context) error {
		info, err := r.objects.GetInfo(once, name)
		if err == nil && info.Size == uint64(len(data)) {
			digest, ok := strings.CutPrefix(info.Digest, "SHA-256=")
			if have, err := base64.URLEncoding.DecodeString(digest); ok && err == nil && bytes.Equal(have, sum[:]) {
				return nil
			}
		}
		if err != nil && !errors.Is(err, jetstream.ErrObjectNotFound) {
			return err
		}
		long, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		patience = longer(patience)
		_, err = r.objects.PutBytes(long, name, data)
		return err
	})
}

// data returns what a message stands for.
func (r *Run) data(ctx context.Context, m jetstream.Msg) ([]byte, error) {
	name := m.Headers().Get(objectHeader)
	if name == "" {
		return m.Data(), nil
	}
	var data []byte
	patience := copying
	err := r.q.retry(ctx, "fetching a large text", func(context.Context) (err error) {
		long, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		patience = longer(patience)
		data, err = r.objects.GetBytes(long, name)
		return err
	})
	if errors.Is(err, jetstream.ErrObjectNotFound) {
		err = &LostError{Object: name}
	}
	return data, err
}

// longer is twice as long, up to a day.
func longer(patience time.Duration) time.Duration { return min(2*patience, 24*time.Hour) }

// LostError says that a message's text is not in the object store.
type LostError struct{ Object string }

// Error names the object.
func (e *LostError) Error() string {
	return fmt.Sprintf("its text, the object %s, is not in the object store; submit the run again", e.Object)
}

// removeObject deletes an object. It is not tried again: what stays is removed
// with the run.
func (r *Run) removeObject(ctx context.Context, name string) {
	once, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	_ = r.objects.Delete(once, name)
}
