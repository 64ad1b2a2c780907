package hub

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
)

// partial is a blob on its way: an .incomplete file and the checksum of what is
// in it. It belongs to the holder of the blob's lock.
type partial struct {
	file *os.File
	sum  hash.Hash // nil if the etag is no checksum
	want remote
	size int64 // bytes in the file
	// pieced says that not all of the bytes came in one answer.
	pieced   bool
	progress *tracker
}

// openPartial opens what there is of a blob, and takes its checksum.
func openPartial(ctx context.Context, path string, want remote, progress *tracker) (p *partial, err error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	p = &partial{file: file, want: want, sum: newSum(want), progress: progress}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close())
		}
	}()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > want.size {
		return p, p.restart()
	}
	for p.size < info.Size() {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		n, err := io.CopyN(p.sumOrNothing(), file, min(copySize*64, info.Size()-p.size))
		p.size += n
		progress.found(n)
		if err != nil {
			return nil, fmt.Errorf("%s: reading what was fetched before: %w", path, err)
		}
	}
	return p, nil
}

// newSum starts the checksum that an etag is; nil if it is none.
func newSum(f remote) hash.Hash {
	switch {
	case isHex(f.etag) && len(f.etag) == hex.EncodedLen(sha256.Size):
		return sha256.New()
	case isHex(f.etag) && len(f.etag) == hex.EncodedLen(sha1.Size):
		sum := sha1.New() // what git names files by
		fmt.Fprintf(sum, "blob %d\x00", f.size)
		return sum
	}
	return nil
}

func isHex(s string) bool {
	_, err := hex.DecodeString(s)
	return err == nil
}

func (p *partial) sumOrNothing() io.Writer {
	if p.sum == nil {
		return io.Discard
	}
	return p.sum
}

// restart forgets everything.
func (p *partial) restart() error {
	if err := p.file.Truncate(0); err != nil {
		return err
	}
	if _, err := p.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	p.progress.found(-p.size)
	p.size, p.sum, p.pieced = 0, newSum(p.want), false
	return nil
}

// Write appends. Its errors are the disk's, and so not transient.
func (p *partial) Write(b []byte) (int, error) {
	n, err := p.file.Write(b)
	if p.sum != nil {
		p.sum.Write(b[:n])
	}
	p.size += int64(n)
	p.progress.fetched(int64(n))
	if err != nil {
		return n, fmt.Errorf("%s: %w", p.want.name, noSpace(err, filepath.Dir(p.file.Name())))
	}
	return n, nil
}

// check compares a file that has all its bytes with its etag.
func (p *partial) check() error {
	if p.sum == nil {
		return nil
	}
	if got := hex.EncodeToString(p.sum.Sum(nil)); got != p.want.etag {
		return fmt.Errorf("%w: it is %s, and the hub says %s", ErrChecksum, got, p.want.etag)
	}
	return nil
}
