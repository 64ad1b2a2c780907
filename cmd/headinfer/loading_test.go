package main

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

func TestLoadingShown(t *testing.T) {
	var log bytes.Buffer
	l := newLoading(io.Discard, zerolog.New(&log))
	l.show(5e8, 9e8) // too small to be shown
	if l.now.Load() != nil {
		t.Error("a small model is shown")
	}
	l.show(1<<30, 16<<30)
	if log.Len() > 0 {
		t.Errorf("at once, the log says %s", &log)
	}
	l.last = l.last.Add(-loadingLogEvery)
	l.show(2<<30, 16<<30)
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `"done":"2 GiB","of":"16 GiB","message":"loading the model"`) {
		t.Errorf("the log says %s", got)
	}
	l.stop()

	// On a terminal there is a bar, which is not full before the end.
	var screen bytes.Buffer
	l = newLoading(nil, zerolog.Nop())
	l.out = &screen
	l.show(4<<30, 16<<30)
	l.show(16<<30, 16<<30)
	l.stop()
	if l.bar == nil {
		t.Error("there was no bar")
	}
	s := loadingState{4 << 30, 16 << 30, 2 * time.Second}
	if got := s.amount() + s.rate(); got != "loading the model  4 GiB of 16 GiB  2 GiB/s  6s left" {
		t.Errorf("the bar says %q", got)
	}
	if got := (loadingState{1 << 20, 16 << 30, time.Second / 4}).rate(); got != "" {
		t.Errorf("after a moment, the bar says %q", got)
	}
}
