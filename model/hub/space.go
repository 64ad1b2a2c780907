package hub

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"headinfer/kernels"
)

// fits compares what is still to be fetched with what the cache's disk has left.
func (h *Hub) fits(m Model, need int64) error {
	free, known := h.free(nearest(h.Cache))
	if !known || need <= free {
		return nil
	}
	return fmt.Errorf("%s: %w: %s are still to be fetched, and %s has %s left; free some, or set HF_HUB_CACHE to a folder on another disk",
		m, ErrNoSpace, kernels.FormatBytes(need), h.Cache, kernels.FormatBytes(free))
}

// nearest returns the folder itself or the first above it that is there.
func nearest(dir string) string {
	for {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

// noSpace adds advice to an error of a full disk.
func noSpace(err error, dir string) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, diskFull) {
		return fmt.Errorf("%w in %s: %w; free some, or set HF_HUB_CACHE to a folder on another disk", ErrNoSpace, dir, err)
	}
	return err
}
