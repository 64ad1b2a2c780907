package hub

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Pull brings what a model needs into the cache, as its revision is now, and
// returns where it lies: the snapshot's folder, or the GGUF file. What the cache
// has is not fetched again. Offline, the model has to be there.
//
// The error matches one of this package's, or the cause of ctx's end; what was
// fetched until then is used by the next pull.
func (h *Hub) Pull(ctx context.Context, m Model) (path string, err error) {
	if h.Offline {
		return h.offline(m)
	}
	l, err := h.list(ctx, m, tries)
	if err != nil {
		return "", err
	}
	return h.fetch(ctx, m, l)
}

// Find returns where a model lies, as Pull does, and fetches it first if need
// be. Nothing is asked of the hub if the revision is a commit that the cache
// has. If the hub cannot be reached, what the cache has of a branch or tag is
// used, with a warning.
func (h *Hub) Find(ctx context.Context, m Model) (path string, err error) {
	if h.Offline {
		return h.offline(m)
	}
	commit, most := h.commitOf(m), tries
	dir := h.snapshotDir(m, commit)
	cached := commit != "" && lacking(dir, m) == ""
	// Every tokenizer that needs this file has it, but other programs fetch it
	// only when they read the tokenizer.
	if cached && isCommit(m.Revision) && (m.File != "" || absent(dir, "tokenizer_config.json") == "") {
		return result(dir, m), nil
	}
	if cached {
		most = 1
	}
	l, err := h.list(ctx, m, most)
	if cached && errors.Is(err, ErrUnreachable) && ctx.Err() == nil {
		h.warn("%v; using commit %s from the cache", err, commit)
		return result(dir, m), nil
	}
	if err != nil {
		return "", err
	}
	return h.fetch(ctx, m, l)
}

// offline finds a model in the cache.
func (h *Hub) offline(m Model) (string, error) {
	const advice = "pull the model without HF_HUB_OFFLINE"
	commit := h.commitOf(m)
	if commit == "" {
		return "", fmt.Errorf("%s: %w: %s does not say which commit it is; %s", m, ErrOffline, h.refPath(m), advice)
	}
	dir := h.snapshotDir(m, commit)
	if name := lacking(dir, m); name != "" {
		return "", fmt.Errorf("%s: %w: %s is not in %s; %s", m, ErrOffline, name, dir, advice)
	}
	return result(dir, m), nil
}

// fetch brings the files of a listing that are needed into the cache.
func (h *Hub) fetch(ctx context.Context, m Model, l *listing) (string, error) {
	dir := h.snapshotDir(m, l.commit)
	t := &tracker{tell: h.Progress}
	small, err := l.small(m)
	if err != nil {
		return "", err
	}
	if err := h.getAll(ctx, m, l.commit, small, t); err != nil {
		return "", err
	}
	weights, err := l.weights(m, dir)
	if err != nil {
		return "", err
	}
	if err := h.getAll(ctx, m, l.commit, weights, t); err != nil {
		return "", err
	}
	if err := h.setCommit(m, l.commit); err != nil {
		// The model is there; only finding it offline by this name is not.
		h.warn("%s: noting its commit %s: %v", m, l.commit, err)
	}
	return result(dir, m), nil
}

// getAll brings files into the cache, some at a time, after a look at the room
// that they need.
func (h *Hub) getAll(ctx context.Context, m Model, commit string, files []remote, t *tracker) error {
	var missing []remote
	var need int64
	for _, f := range files {
		f, err := h.describe(ctx, m, commit, f)
		if err != nil {
			return err
		}
		t.expect(f.size)
		if hasSize(inSnapshot(h.snapshotDir(m, commit), f.name), f.size) {
			t.found(f.size)
			t.done()
			continue
		}
		missing = append(missing, f)
		if !hasSize(h.blobPath(m, f.etag), f.size) {
			need += f.size - min(f.size, sizeAt(h.blobPath(m, f.etag)+".incomplete"))
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if err := h.fits(m, need); err != nil {
		return err
	}
	// The first failure ends the others: what they have is kept.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan remote)
	var workers sync.WaitGroup
	for range min(parallel, len(missing)) {
		workers.Go(func() {
			for f := range next {
				if err := h.get(ctx, m, commit, f, t); err != nil {
					cancel(err)
					return
				}
				t.done()
			}
		})
	}
feed:
	for _, f := range missing {
		select {
		case next <- f:
		case <-ctx.Done():
			break feed
		}
	}
	close(next)
	workers.Wait()
	return context.Cause(ctx)
}
