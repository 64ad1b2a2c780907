// Package hostile is for tests with files that nobody means well: it holds what
// opens them to bounds on memory, time and the length of errors.
package hostile

import (
	"fmt"
	"io"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"testing"
	"time"
)

const (
	// freeBytes and timesFile bound what opening a file may allocate altogether.
	freeBytes = 64 << 20
	timesFile = 8
	// patience is how long opening may take: it tells what does not end, not what
	// is slow.
	patience = 20 * time.Second
	// errorBytes is the longest message that a person can be shown.
	errorBytes = 4096
)

// Bounded calls open, which reads a file of so many bytes, and returns its error.
// It fails the test if open panics, does not end, or allocates out of proportion
// to the file.
func Bounded(t testing.TB, fileBytes int64, open func() error) error {
	t.Helper()
	type outcome struct {
		err   error
		panic string
	}
	before := allocated()
	done := make(chan outcome, 1)
	go func() {
		var o outcome
		defer func() {
			if p := recover(); p != nil {
				o.panic = fmt.Sprintf("%v\n%s", p, debug.Stack())
			}
			done <- o
		}()
		o.err = open()
	}()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case o := <-done:
		if o.panic != "" {
			t.Fatalf("panic: %s", o.panic)
		}
		if used, most := allocated()-before, uint64(freeBytes+timesFile*fileBytes); used > most {
			t.Errorf("opening %d bytes allocated %d MiB, want at most %d (error: %.200v)", fileBytes, used>>20, most>>20, o.err)
		}
		if o.err != nil && len(o.err.Error()) > errorBytes {
			t.Errorf("an error of %d bytes: %.200s", len(o.err.Error()), o.err)
		}
		return o.err
	case <-timeout.C:
		t.Fatalf("it has not ended after %v", patience)
		return nil
	}
}

// Opened is for Bounded and Refused: it opens a path, and closes it if it could.
func Opened[C io.Closer](open func(path string) (C, error), path string) func() error {
	return func() error {
		c, err := open(path)
		if err != nil {
			return err
		}
		return c.Close()
	}
}

// Refused checks that open fails within the bounds, with an error that has each
// of some parts.
func Refused(t testing.TB, fileBytes int64, open func() error, parts ...string) {
	t.Helper()
	err := Bounded(t, fileBytes, open)
	if err == nil {
		t.Fatal("it was opened")
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error is\n  %v\nand lacks\n  %s", err, part)
		}
	}
}

// allocated returns the bytes allocated so far by the whole process.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
