package hub

import (
	"os"
	"sync"
	"time"
)

// tellEvery is how often a pull that only grows is told about.
const tellEvery = 100 * time.Millisecond

// Progress is how far a pull is. The weights are counted only when the small
// files, which name them, are there.
type Progress struct {
	Files, FilesDone int
	Bytes, BytesDone int64 // with what the cache had
	Fetched          int64 // what came over the network, also if it was thrown away
}

// tracker counts a pull's progress.
type tracker struct {
	tell func(Progress)
	mu   sync.Mutex
	told time.Time
	Progress
}

// change changes the figures, and tells if the last time is at least pause ago.
func (t *tracker) change(pause time.Duration, f func(p *Progress)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f(&t.Progress)
	if t.tell == nil {
		return
	}
	if now := time.Now(); now.Sub(t.told) >= pause {
		t.told = now
		t.tell(t.Progress)
	}
}

// expect adds a file that is needed.
func (t *tracker) expect(bytes int64) {
	t.change(0, func(p *Progress) { p.Files, p.Bytes = p.Files+1, p.Bytes+bytes })
}

// found counts bytes that the cache has, or, negative, that were thrown away.
func (t *tracker) found(bytes int64) { t.change(tellEvery, func(p *Progress) { p.BytesDone += bytes }) }

// fetched counts bytes that came.
func (t *tracker) fetched(bytes int64) {
	t.change(tellEvery, func(p *Progress) { p.Fetched, p.BytesDone = p.Fetched+bytes, p.BytesDone+bytes })
}

// done counts a file that is in the snapshot.
func (t *tracker) done() { t.change(0, func(p *Progress) { p.FilesDone++ }) }

// sizeAt returns a file's size, 0 if it is not there.
func sizeAt(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}
