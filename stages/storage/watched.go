package storage

import (
	"context"
	"io"
)

// watched reads a stream that cannot be told to stop waiting, such as a
// terminal: a read returns when the context ends, and what it waited for is
// left to the end of the program.
type watched struct {
	ctx  context.Context
	r    io.Reader
	ask  chan int // how many bytes to read, at most
	told chan outcome
	rest []byte
	err  error
	busy bool // a read that nobody waited for is still under way
}

type outcome struct {
	data []byte
	err  error
}

const watchedBlock = 64 << 10

func newWatched(ctx context.Context, r io.Reader) *watched {
	w := &watched{ctx: ctx, r: r, ask: make(chan int), told: make(chan outcome, 1)}
	go w.serve()
	return w
}

// serve reads when asked to, each time into memory of its own.
func (w *watched) serve() {
	for n := range w.ask {
		data := make([]byte, n)
		got, err := w.r.Read(data)
		w.told <- outcome{data[:got], err}
	}
}

func (w *watched) Read(p []byte) (int, error) {
	for len(w.rest) == 0 {
		if w.err != nil {
			return 0, w.err
		}
		if !w.busy {
			w.ask <- min(max(len(p), 1), watchedBlock)
			w.busy = true
		}
		select {
		case o := <-w.told:
			w.busy = false
			w.rest, w.err = o.data, o.err
		case <-w.ctx.Done():
			return 0, context.Cause(w.ctx)
		}
	}
	n := copy(p, w.rest)
	w.rest = w.rest[n:]
	return n, nil
}

func (w *watched) Close() error {
	close(w.ask)
	return nil
}
