package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"time"

	"github.com/minio/minio-go/v7"
)

// cuts is how often in a row a read of an object may be cut without a byte
// having come.
const cuts = 8

// object reads an object from its beginning to its end, and at any place.
type object struct {
	ctx    context.Context
	store  minio.Core
	name   string // s3://BUCKET/KEY
	bucket string
	key    string
	tag    string // of the version that is read
	size   int64  // bytes
	at     int64  // of the next byte that Read gives
	body   io.ReadCloser
	failed int // cuts in a row
}

func openObject(ctx context.Context, name string) (*object, error) {
	if err := CheckObject(name, false); err != nil {
		return nil, err
	}
	client, err := newClient()
	if err != nil {
		return nil, err
	}
	o := &object{ctx: ctx, store: minio.Core{Client: client}, name: name}
	o.bucket, o.key = splitObject(name)
	info, err := client.StatObject(ctx, o.bucket, o.key, minio.StatObjectOptions{})
	if minio.ToErrorResponse(err).StatusCode == http.StatusNotFound {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	o.tag, o.size = info.ETag, info.Size
	return o, nil
}

// Size is the object's length in bytes.
func (o *object) Size() int64 { return o.size }

// open asks for the bytes [from, to) of the version that is read.
func (o *object) open(from, to int64) (io.ReadCloser, error) {
	var opt minio.GetObjectOptions
	if err := errors.Join(opt.SetRange(from, to-1), opt.SetMatchETag(o.tag)); err != nil {
		return nil, err
	}
	body, _, _, err := o.store.GetObject(o.ctx, o.bucket, o.key, opt)
	if minio.ToErrorResponse(err).StatusCode == http.StatusPreconditionFailed {
		err = fmt.Errorf("it was replaced meanwhile: %w", err)
	}
	return body, err
}

// Read gives the next bytes. A connection that is cut is made again from there.
func (o *object) Read(p []byte) (int, error) {
	for {
		if o.at == o.size {
			return 0, io.EOF
		}
		if len(p) == 0 {
			return 0, nil
		}
		var n int
		var err error
		if o.body == nil {
			o.body, err = o.open(o.at, o.size)
		}
		if err == nil {
			n, err = o.body.Read(p[:min(int64(len(p)), o.size-o.at)])
		}
		o.at += int64(n)
		if err != nil {
			_ = o.drop() // it has failed
		}
		if n > 0 {
			o.failed = 0
			return n, nil
		}
		if err := o.again(err); err != nil {
			return 0, err
		}
	}
}

// again waits before the next attempt, or says why there is none: err is what
// the last one met with.
func (o *object) again(err error) error {
	if err == nil {
		return nil
	}
	var refusal minio.ErrorResponse
	if o.failed++; errors.As(err, &refusal) || o.failed > cuts || o.ctx.Err() != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("read %s at byte %d: %w", o.name, o.at, err)
	}
	select {
	case <-time.After(10 * time.Millisecond << o.failed):
		return nil
	case <-o.ctx.Done():
		return context.Cause(o.ctx)
	}
}

// ReadAt gives bytes of any place, by a request of its own.
func (o *object) ReadAt(p []byte, at int64) (int, error) {
	if at < 0 || at >= o.size {
		return 0, io.EOF
	}
	part := *o
	part.body, part.at, part.failed = nil, at, 0
	part.size = min(at+int64(len(p)), o.size)
	n, err := io.ReadFull(&part, p[:part.size-at])
	if err = errors.Join(err, part.drop()); err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

func (o *object) drop() error {
	if o.body == nil {
		return nil
	}
	err := o.body.Close()
	o.body = nil
	return err
}

// Close ends what is being read.
func (o *object) Close() error {
	_ = o.drop() // what was not read does not matter
	return nil
}

// Reach fails if the store of an s3:// path cannot be reached, its bucket is not
// there, or the object may not be written, so that this is found before the work and
// not after it. An upload is begun, and given up again.
func Reach(ctx context.Context, name string) error {
	if err := CheckObject(name, false); err != nil {
		return err
	}
	client, err := newClient()
	if err != nil {
		return err
	}
	bucket, key := splitObject(name)
	store := minio.Core{Client: client}
	upload, err := store.NewMultipartUpload(ctx, bucket, key, minio.PutObjectOptions{})
	switch refusal := minio.ToErrorResponse(err); {
	case refusal.StatusCode == http.StatusNotFound:
		return fmt.Errorf("%s: there is no bucket %q", name, bucket)
	case refusal.StatusCode == http.StatusForbidden:
		return fmt.Errorf("%s may not be written with the key that the environment names: %w", name, err)
	case err != nil:
		return fmt.Errorf("%s: %w", name, err)
	}
	// Who may write need not be allowed to: it is empty, and the store drops it one day.
	_ = store.AbortMultipartUpload(ctx, bucket, key, upload)
	return nil
}

// Upload makes a file an object: in parts if it is large, each with its MD5,
// which the store compares. The object is there whole or not at all.
func Upload(ctx context.Context, file *os.File, name string) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	return put(ctx, io.NewSectionReader(file, 0, info.Size()), info.Size(), name)
}

// Put makes an object of some bytes, as Upload does.
func Put(ctx context.Context, data []byte, name string) error {
	return put(ctx, bytes.NewReader(data), int64(len(data)), name)
}

func put(ctx context.Context, from io.Reader, size int64, name string) error {
	if err := CheckObject(name, false); err != nil {
		return err
	}
	client, err := newClient()
	if err != nil {
		return err
	}
	bucket, key := splitObject(name)
	if _, err := client.PutObject(ctx, bucket, key, from, size, minio.PutObjectOptions{SendContentMd5: true}); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	made, err := client.StatObject(ctx, bucket, key, minio.StatObjectOptions{})
	if minio.ToErrorResponse(err).StatusCode == http.StatusForbidden {
		return nil // who may write need not be allowed to ask
	}
	if err != nil {
		return fmt.Errorf("check %s: %w", name, err)
	}
	if made.Size != size {
		return fmt.Errorf("%s has %d bytes in the store, and %d were written", name, made.Size, size)
	}
	return nil
}
