// Package storage opens and makes files, of the local file system and of
// object stores that speak S3.
//
// A path is one of three: a file's path, s3://BUCKET/KEY, or "-" for standard
// input. What is read through [Open] is decompressed, and what is written
// through [Compress] compressed, by the path's extension: .gz or .zst.
//
// Where the store is and who asks is said as other programs have it said: by
// AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID,
// AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and AWS_PROFILE, or by ~/.aws/config
// and ~/.aws/credentials. Without any of them requests are anonymous.
//
// Nothing here holds a whole file: readers are streams, and a read of an object
// that is cut goes on where it was, as long as the object is the same.
package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Standard is the path of standard input.
const Standard = "-"

const scheme = "s3://"

// maxWindow is the most memory, in bytes, that a zstd stream may ask for:
// what the zstd program takes without being told to take more.
const maxWindow = 128 << 20

// File is a file or object that a pattern gave.
type File struct {
	Path     string
	Size     int64     // bytes; 0 where that is not known
	Modified time.Time // zero where that is not known
}

// IsObject reports whether a path is that of an object in a store.
func IsObject(name string) bool { return strings.HasPrefix(name, scheme) }

// CheckObject refuses s3:// paths that name no object; others it takes. With
// prefix, the key may be empty.
func CheckObject(name string, prefix bool) error {
	if !IsObject(name) {
		return nil
	}
	if bucket, key := splitObject(name); bucket == "" || key == "" && !prefix {
		return fmt.Errorf("%q lacks a bucket or a key; write s3://BUCKET/KEY", name)
	}
	return nil
}

// splitObject takes an object's path apart.
func splitObject(name string) (bucket, key string) {
	bucket, key, _ = strings.Cut(strings.TrimPrefix(name, scheme), "/")
	return bucket, key
}

// Compression returns the extension by which a path is compressed, ".gz" or
// ".zst", or "".
func Compression(name string) string {
	switch e := strings.ToLower(path.Ext(name)); e {
	case ".gz", ".zst":
		return e
	}
	return ""
}

// Extension returns a path's extension in small letters, with that of its
// compression left out: ".txt" for notes.TXT.gz.
func Extension(name string) string {
	name = name[:len(name)-len(Compression(name))]
	return strings.ToLower(path.Ext(strings.ReplaceAll(name, `\`, "/")))
}

// Open opens a file, an object or standard input for reading, decompressed.
// When ctx ends, reads that wait for a pipe or a network return an error.
func Open(ctx context.Context, name string) (io.ReadCloser, error) {
	raw, err := openRaw(ctx, name)
	if err != nil {
		return nil, err
	}
	r := &stream{Reader: raw, raw: raw}
	switch Compression(name) {
	case ".gz":
		unzip, err := gzip.NewReader(raw)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s is not what .gz says: %w", name, err), raw.Close())
		}
		r.Reader = unzip
	case ".zst":
		unzip, err := zstd.NewReader(raw, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s is not what .zst says: %w", name, err), raw.Close())
		}
		r.Reader, r.end = unzip, unzip.Close
	}
	return r, nil
}

// stream is what comes out of a decompressor.
type stream struct {
	io.Reader
	end func() // nil, or what frees the decompressor
	raw io.Closer
}

func (s *stream) Close() error {
	if s.end != nil {
		s.end()
		s.end = nil
	}
	return s.raw.Close()
}

func openRaw(ctx context.Context, name string) (io.ReadCloser, error) {
	switch {
	case name == Standard:
		return newWatched(ctx, os.Stdin), nil
	case IsObject(name):
		return openObject(ctx, name)
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && info.IsDir() {
		err = fmt.Errorf("%s is a directory; name one file of it", name)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	// A pipe whose writer says no more would hold up the end of the run.
	return &localFile{file, context.AfterFunc(ctx, func() { _ = file.SetReadDeadline(time.Now()) })}, nil
}

type localFile struct {
	*os.File
	forget func() bool
}

func (f *localFile) Close() error {
	f.forget()
	return f.File.Close()
}

// ReaderAt reads a file or object at any place. Size is its length in bytes.
type ReaderAt interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// OpenAt opens an uncompressed file or object for reading at any place.
func OpenAt(ctx context.Context, name string) (ReaderAt, error) {
	if IsObject(name) {
		return openObject(ctx, name)
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file, and this format is read from several places", name)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &sizedFile{file, info.Size()}, nil
}

type sizedFile struct {
	*os.File
	size int64
}

func (f *sizedFile) Size() int64 { return f.size }

// Compress returns a writer that compresses to w by a path's extension; Close
// ends the compressed stream, and does not close w.
func Compress(w io.Writer, name string) (io.WriteCloser, error) {
	switch Compression(name) {
	case ".gz":
		return gzip.NewWriter(w), nil
	case ".zst":
		return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	}
	return plain{w}, nil
}

type plain struct{ io.Writer }

func (plain) Close() error { return nil }
