package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
)

const copySize = 128 << 10 // bytes between two looks at the progress

// get brings a file's blob into the cache and links it in the snapshot.
func (h *Hub) get(ctx context.Context, m Model, commit string, f remote, t *tracker) (err error) {
	blob, path := h.blobPath(m, f.etag), inSnapshot(h.snapshotDir(m, commit), f.name)
	release, err := acquire(ctx, h.lockPath(m, f.etag), func() {
		h.warn("%s: it is being fetched already; waiting for that", what(m, f.name))
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	if hasSize(blob, f.size) {
		t.found(f.size)
	} else if err := h.download(ctx, m, commit, f, blob, t); err != nil {
		return err
	}
	if err := h.link(blob, path); err != nil {
		return fmt.Errorf("%s: %w", what(m, f.name), err)
	}
	return nil
}

// download makes a blob of what the hub sends. What there is of it is kept when
// it fails, for the next time, unless the checksum is wrong.
func (h *Hub) download(ctx context.Context, m Model, commit string, f remote, blob string, t *tracker) (err error) {
	if err := os.MkdirAll(filepath.Dir(blob), 0o755); err != nil {
		return err
	}
	incomplete := blob + ".incomplete"
	p, err := openPartial(ctx, incomplete, f, t)
	if err != nil {
		return err
	}
	closed := false
	defer func() {
		if !closed {
			err = errors.Join(err, p.file.Close())
		}
	}()
	if err := h.fill(ctx, m, commit, f, p); err != nil {
		return err
	}
	if err := p.check(); err != nil && p.pieced {
		h.warn("%s: %v; it came in pieces, so it is fetched again as a whole", what(m, f.name), err)
		if err := errors.Join(p.restart(), h.fill(ctx, m, commit, f, p)); err != nil {
			return err
		}
	}
	wrong := p.check()
	if wrong == nil {
		wrong = noSpace(p.file.Sync(), filepath.Dir(blob))
	} else {
		wrong = fmt.Errorf("%s: %w; it was deleted: %s; pull again, and if that does not help, the hub's file is damaged", what(m, f.name), wrong, incomplete)
	}
	closed = true
	if err := p.file.Close(); err != nil || wrong != nil {
		t.found(-p.size)
		return errors.Join(wrong, err, os.Remove(incomplete))
	}
	return os.Rename(incomplete, blob)
}

// fill asks for what a partial file lacks until it has all.
func (h *Hub) fill(ctx context.Context, m Model, commit string, f remote, p *partial) error {
	return h.retry(ctx, tries, func() (int64, error) {
		before := p.size
		p.pieced = p.pieced || before > 0
		if before == f.size {
			return 0, nil
		}
		err := h.fillOnce(ctx, m, commit, f, p)
		return p.size - before, err
	})
}

func (h *Hub) fillOnce(ctx context.Context, m Model, commit string, f remote, p *partial) error {
	r, err := h.request(ctx, http.MethodGet, h.fileAddress(m, commit, f.name), p.size, m, f.name)
	if err != nil {
		return err
	}
	defer r.close()
	// differs is a body that is not the rest of this file. That may be one
	// server of many, so it is asked again, for all of it.
	differs := func(format string, args ...any) error {
		if err := p.restart(); err != nil {
			return err
		}
		return &transient{fmt.Errorf("%s: %w: %s", what(m, f.name), ErrUnreachable, fmt.Sprintf(format, args...)), 0}
	}
	if err := unchanged(r, f); err != nil {
		return fmt.Errorf("%s: %w", what(m, f.name), err)
	}
	switch r.StatusCode {
	case http.StatusPartialContent:
		if first, total, ok := contentRange(r.Header.Get("Content-Range")); !ok || first != p.size || total >= 0 && total != f.size {
			return differs("the server sends the range %q, and %d- of %d bytes were asked for", r.Header.Get("Content-Range"), p.size, f.size)
		}
	case http.StatusOK:
		if r.ContentLength >= 0 && r.ContentLength != f.size {
			return differs("the server sends %d bytes, and the hub lists %d", r.ContentLength, f.size)
		}
		// All of it comes, asked for or not.
		if p.size > 0 {
			if err := p.restart(); err != nil {
				return err
			}
		}
	default:
		return differs("the server answers %s", r.Status)
	}
	_, err = io.CopyBuffer(p, io.LimitReader(r.Body, f.size-p.size), make([]byte, copySize))
	switch {
	case err != nil:
		return err
	case p.size < f.size:
		return &transient{fmt.Errorf("%s: %w: the server ends after %d of %d bytes", what(m, f.name), ErrUnreachable, p.size, f.size), 0}
	}
	if n, _ := io.ReadFull(r.Body, make([]byte, 1)); n > 0 {
		return differs("the server sends more than the %d bytes that the hub lists", f.size)
	}
	return nil
}

// unchanged compares the etag by which the hub sends a request on with the
// listing's. The Etag of whoever sends the contents may be anything.
func unchanged(r *reply, f remote) error {
	for resp := r.Response; resp != nil; resp = resp.Request.Response {
		if resp.Header.Get(headerLinkedEtag) == "" {
			continue
		}
		if etag := etagOf(resp); etag != f.etag {
			return fmt.Errorf("%w: the file's etag is now %s, and was listed as %s; it has changed, so pull again", ErrChecksum, etag, f.etag)
		}
	}
	return nil
}

var rangeForm = regexp.MustCompile(`^bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)$`)

// contentRange reads a Content-Range. total is -1 if it does not say.
func contentRange(s string) (first, total int64, ok bool) {
	match := rangeForm.FindStringSubmatch(s)
	if match == nil {
		return 0, 0, false
	}
	first, err := strconv.ParseInt(match[1], 10, 64)
	if err != nil {
		return 0, 0, false
	}
	if total, err = strconv.ParseInt(match[2], 10, 64); err != nil {
		total = -1 // an asterisk
	}
	return first, total, true
}
